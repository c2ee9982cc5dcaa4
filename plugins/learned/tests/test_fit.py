"""Fitting: against closed forms, by its draws alone, and what is refused before it begins."""

import math
from collections.abc import Mapping
from typing import Any, cast, final

import pytest
import torch
from attrs import evolve, frozen
from fits import AUTOGUIDANCE, CFG, Blob, Closed, Shop, at, fitted, levels, small
from torch import nn

import guideplug_learned.fit as fitting
from guideplug import (
    Guider,
    Leaf,
    Recipe,
    TrainingStreams,
    tally,
)
from guideplug.config import Reader
from guideplug.registry.registry import Registry
from guideplug.testing import GaussianDenoiser
from guideplug_learned import Fit, LearnedError, WeightNetwork
from guideplug_learned.consistency import paired, particles

torch.set_num_threads(1)


PAIRS = [(0.9, 0.6), (0.6, 0.3), (0.5, 0.1), (0.8, 0.2)]
"""Positions on the grid."""


def by_squares(task: Blob, base: Closed, guide: Closed, t: float, s: float) -> float:
    """max(0, -E<v, u - x_s> / E|v|^2) by the moments of the Gaussian, a coordinate at a time; all coordinates alike."""

    def line(closed: Closed) -> tuple[float, float]:
        total = closed.std**2 + t**2
        return closed.std**2 / total, closed.mean * t**2 / total

    (slope, shift), (other, offset) = line(base), line(guide)
    p, q = slope - other, shift - offset  # the direction is p x + q
    a, b = slope + s / t * (1 - slope), (1 - s / t) * shift  # u = a x + b
    mean, square = task.mean, task.mean**2 + task.std**2  # of x0
    noisy = square + t**2  # E x_t^2
    along = (1 - s / t) * (p * a * noisy + p * b * mean - p * square + q * (a * mean + b - mean))
    size = (1 - s / t) ** 2 * (p**2 * noisy + 2 * p * q * mean + q**2)
    return max(0.0, -along / size)


@pytest.mark.proof
@pytest.mark.parametrize(
    ("base", "guide"),
    [(Closed(std=0.8), Closed(std=1.3)), (Closed(mean=0.4), Closed(mean=1.3, std=0.7))],
    ids=["too wide", "off centre"],
)
def test_by_squares_the_closed_form_is_found(base: Closed, guide: Closed) -> None:
    module, _ = fitted(small(base, guide, beta=2.0, diversity=0.0, iterations=1200))
    wanted = [by_squares(Blob(), base, guide, *levels(pair)) for pair in PAIRS]
    found = [at(module, *levels(pair)) for pair in PAIRS]
    assert max(wanted) > 0.3
    assert max(wanted) - min(wanted) > 0.15  # it is a function
    assert found == pytest.approx(wanted, abs=0.1 * max(wanted) + 0.05)


def test_the_closed_form_of_the_test_is_that_of_the_particles() -> None:
    """-E<v, u - x_s> / E|v|^2 by drawing, and the minimum of the loss itself."""
    task, base, guide = Blob(), Closed(std=0.8), Closed(std=1.3)
    t, s = levels((0.8, 0.5))
    count = 40000
    clean = task.draw(torch.zeros(count), TrainingStreams(0, 0)).x
    noise, other = torch.randn(2, count, 2, 2, generator=torch.Generator().manual_seed(0))
    pair = paired(base.build(), guide.build())
    found = particles(pair, clean, None, torch.full((count,), t), torch.full((count,), s), noise, other)
    drawn = -float((found.v * (found.u - found.noisy)).sum() / found.v.square().sum())
    wanted = by_squares(task, base, guide, t, s)
    assert drawn == pytest.approx(wanted, abs=0.02)
    omega = torch.full((count,), wanted, requires_grad=True)
    (slope,) = torch.autograd.grad(found.loss(omega, 2.0, 0.0), omega)
    (off,) = torch.autograd.grad(found.loss(omega + 1.0, 2.0, 0.0), omega)
    assert abs(float(slope.sum())) < 0.03 * abs(float(off.sum()))


@pytest.mark.slow
@pytest.mark.parametrize(("beta", "diversity"), [(1.0, 1.0), (2.0, 0.0), (0.5, 1.0), (1.5, 0.5)])
def test_a_constant_weight_is_found_where_it_is_best(beta: float, diversity: float) -> None:
    """The base is off by .3, the guide by .9: 1.5 times their mean is exact, omega .5, at every level."""
    module, facts = fitted(small(Closed(0.4), Closed(1.0), beta=beta, diversity=diversity))
    assert [at(module, *levels(pair)) for pair in PAIRS] == pytest.approx([0.5] * 4, abs=0.06)
    assert facts["omega"] == pytest.approx(0.5, abs=0.06)


@pytest.mark.slow
def test_a_weight_for_each_label() -> None:
    """Labels move the means apart by different amounts, and what is best is a function of them."""
    task = Blob(labels=True)

    @final
    @frozen
    class Half(Recipe):
        """The denoiser that goes only a part of the way that a label asks for."""

        name = "half"
        stored = False

        def build(self) -> Leaf:
            found = GaussianDenoiser(0.1, conditioning="labels")
            found.directions[0] *= 0.5
            found.directions[1] *= 0.8
            return found

        def make(self, module: nn.Module, builder: Any) -> Mapping[str, Any]:
            return {}

    fit = Fit(of=Half(), task=task, guider=CFG, iterations=800, width=32, lr=0.01, beta=1.0)
    module, _ = fitted(fit)
    assert module.classes == 3
    for label, wanted in ((0, 1.0), (1, 0.25)):  # base + omega (base - null) is the exact one
        assert [at(module, *levels(pair), label) for pair in PAIRS] == pytest.approx([wanted] * 4, abs=0.15)


@pytest.mark.slow
def test_shared_noise_collapses_to_0(monkeypatch: pytest.MonkeyPatch) -> None:
    """With an exact base, by squares of single particles. Not so with independent noise."""
    task = Blob(std=0.5)
    fit = small(Closed(std=0.5), Closed(std=1.0), task, beta=2.0, diversity=0.0, particles=1, batch=1024)
    independent, _ = fitted(fit)
    apart = by_squares(task, Closed(std=0.5), Closed(std=1.0), *levels((0.6, 0.3)))
    assert apart > 0.2
    assert at(independent, *levels((0.6, 0.3))) == pytest.approx(apart, abs=0.1)
    drawn = fitting.particles
    monkeypatch.setattr(fitting, "particles", lambda *all_: drawn(*all_[:5], all_[5], all_[5]))
    shared, facts = fitted(fit)
    assert max(at(shared, *levels(pair)) for pair in PAIRS) < 0.05
    assert facts["omega"] < 0.05


def test_a_fit_is_decided_by_its_seed_alone() -> None:
    fit = small(Closed(std=0.8), Closed(std=1.3), iterations=20)
    state = torch.random.get_rng_state()
    first, facts = fitted(fit)
    torch.manual_seed(17)
    second, again = fitted(fit)
    torch.random.set_rng_state(state)
    assert all(
        torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    )
    assert facts["last_loss"] == again["last_loss"]
    other, _ = fitted(evolve(fit, seed=1))
    assert not torch.equal(first.last, other.last)
    untrained = cast(WeightNetwork, evolve(fit, seed=1).build())
    base, weak = (Closed(std=std).build() for std in (0.8, 1.3))
    losses = {
        float(one._loss(untrained, base, paired(base, weak), None, 0)[0].detach()) for one in (fit, evolve(fit, seed=1))
    }
    assert len(losses) == 2  # the draws differ too
    assert not torch.equal(untrained.first, cast(WeightNetwork, fit.build()).first)


def test_no_draw_is_from_a_global_generator_and_the_base_stays_frozen() -> None:
    fit, shop = small(Closed(std=0.8), Closed(std=1.3), iterations=3), Shop()
    state = torch.random.get_rng_state()
    with tally() as counts:
        fitted(fit, shop)
    assert torch.equal(state, torch.random.get_rng_state())
    for recipe in (Closed(std=0.8), Closed(std=1.3)):
        network = cast(Leaf, shop.made[recipe])
        assert (counts[network].calls, counts[network].outputs) == (3, 3 * 256 * 4)
    assert shop.steps == [(0, 3), (1, 3), (2, 3), (3, 3)]


# What is refused


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"beta": 0.0}, "beta is 0.0: it must be positive"),
        ({"beta": 2.1}, "beta is 2.1: it must be between 0 and 2"),
        ({"beta": math.nan}, "beta is nan"),
        ({"diversity": -0.1}, "diversity is -0.1: it must be between 0 and 1"),
        ({"diversity": 1.1}, "diversity is 1.1"),
        ({"particles": 0}, "particles is 0: it must be at least 1"),
        ({"particles": 1}, "particles is 1: distances among them need two"),
        ({"gap": 0.0}, "gap is 0.0"),
        ({"gap": 1.0}, "gap is 1.0"),
        ({"iterations": 0}, "iterations is 0"),
        ({"batch": 0}, "batch is 0"),
        ({"lr": 0.0}, "lr is 0.0"),
        ({"reward_weight": -1.0}, "reward_weight is -1.0"),
        ({"guider": evolve(cast(Any, AUTOGUIDANCE), weight=3.0)}, "has weight 3.0"),
        ({"guider": Reader(Registry.installed()).expression("sims", Guider)}, "has no option weight"),
    ],
)
def test_bad_options_are_refused_in_one_line(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=r"is|has") as caught:
        Fit(**{"of": Closed(), "task": Blob(), "guider": AUTOGUIDANCE, **options})
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "said"), [("embedding", "this one is float32 of shape (B, 4)"), ("masked", "a dict of text, text_mask")]
)
def test_conditions_that_are_no_labels_are_refused(kind: str, said: str) -> None:
    with pytest.raises(LearnedError) as caught:
        small(Closed(), Closed(0.3), Blob(kind=kind)).check()
    assert said in str(caught.value)


def test_a_missing_network_is_named() -> None:
    with pytest.raises(LearnedError, match="guider 'autoguidance' needs a network for its role 'weak'"):
        Fit(of=Closed(), task=Blob(), guider=AUTOGUIDANCE).check()


def test_the_networks_of_the_run_are_taken_where_none_is_named() -> None:
    fit = Fit(of=Closed(), task=Blob(), guider=AUTOGUIDANCE)
    roles = {"weak": Closed(0.3), "other": Closed(0.5)}
    assert cast(Fit, fit.with_roles(roles)).models == {"weak": Closed(0.3)}
    assert fit.with_roles({"other": Closed(0.5)}) == fit
    named = evolve(fit, models={"weak": Closed(0.9)})
    assert named.with_roles(roles) == named
    cfg = evolve(fit, guider=CFG)
    assert cfg.with_roles(roles) == cfg
    assert cast(Fit, cfg.with_roles({"unconditional": Closed(0.7)})).models == {"unconditional": Closed(0.7)}
