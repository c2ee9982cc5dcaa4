"""Fitting: against closed forms, by its draws alone, with rewards, and what is refused before it begins."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast, final

import pytest
import torch
from attrs import evolve, frozen
from torch import Tensor, nn

import guideplug_learned.fit as fitting
from guideplug import (
    Examples,
    GuideplugError,
    Guider,
    Leaf,
    Recipe,
    Reward,
    SampleStreams,
    Space,
    Start,
    Task,
    TrainingStreams,
    WeightInput,
    noised,
    option,
    tally,
)
from guideplug.config import Reader, parse
from guideplug.registry.registry import Registry
from guideplug.testing import GaussianDenoiser
from guideplug_learned import Fit, LearnedError, WeightNetwork
from guideplug_learned.consistency import paired, particles
from guideplug_learned.levels import sigma_at

torch.set_num_threads(1)

SPACE = Space((2,), sigma_data=0.5, sigma_min=0.02, sigma_max=5.0)
AUTOGUIDANCE = Reader(Registry.installed()).expression("autoguidance", Guider)
CFG = Reader(Registry.installed()).expression("cfg", Guider)


@final
@frozen
class Blob(Task):
    """A Gaussian, with a label or not."""

    name = "blob"
    mean: float = option(0.1, help="mean of the data")
    std: float = option(0.5, help="standard deviation of the data")
    labels: bool = option(False, help="whether there are labels")
    kind: str = option("labels", help="of the condition, where there is one")

    @property
    def space(self) -> Space:
        return SPACE

    @property
    def exact(self) -> GaussianDenoiser:
        return GaussianDenoiser(self.mean, self.std, conditioning="labels" if self.labels else "none")

    def draw(self, sigma: Tensor, streams: TrainingStreams) -> Examples:
        generator = streams.generator("data")
        labels = torch.randint(3, (len(sigma),), generator=generator) if self.labels else None
        noise = torch.randn(len(sigma), 2, generator=generator)
        condition: Any = labels
        if self.kind == "embedding":
            condition = torch.randn(len(sigma), 4, generator=generator)
        elif self.kind == "masked":
            condition = {"text": torch.zeros(len(sigma), 1, 4), "text_mask": torch.ones(len(sigma), 1).bool()}
        return noised(self.exact.mean_of(labels, noise) + self.std * noise, sigma, streams, condition)

    def start(self, streams: SampleStreams, sigma: float) -> Start:
        raise NotImplementedError

    def recipe(self, role: str, main: Recipe | None) -> Recipe | None:
        return None

    def sampler(self) -> str:
        return "heun"

    def truth(self, count: int, sampler: Any, seed: int) -> Any:
        raise NotImplementedError

    def metrics(self) -> Any:
        return []

    def figure(self, arms: Any, path: Path) -> None:
        raise NotImplementedError


@final
@frozen
class Closed(Recipe):
    """A closed-form denoiser."""

    name = "closed"
    stored = False
    mean: float = option(0.1, help="mean")
    std: float = option(0.5, help="standard deviation")
    labels: bool = option(False, help="whether there are labels")

    def build(self) -> Leaf:
        return GaussianDenoiser(self.mean, self.std, conditioning="labels" if self.labels else "none")

    def make(self, module: nn.Module, builder: Any) -> Mapping[str, Any]:
        return {}


class Shop:
    """A builder without a store."""

    def __init__(self) -> None:
        self.made: dict[Recipe, nn.Module] = {}
        self.steps: list[tuple[int, int]] = []

    def obtain(self, recipe: Recipe) -> nn.Module:
        return self.made.setdefault(recipe, recipe.build())

    def checkpoint(self, work: Any) -> bool:
        return False

    def progress(self, step: int, total: int, loss: float | None = None) -> None:
        self.steps.append((step, total))


def fitted(fit: Fit, shop: Shop | None = None) -> tuple[WeightNetwork, Mapping[str, Any]]:
    module = cast(WeightNetwork, fit.build())
    return module, fit.make(module, cast(Any, shop or Shop()))


def small(base: Closed, guide: Closed, task: Blob | None = None, **options: Any) -> Fit:
    chosen = {"iterations": 400, "batch": 256, "width": 32, "lr": 0.01, **options}
    return Fit(of=base, task=task or Blob(), guider=AUTOGUIDANCE, models={"weak": guide}, **chosen)


def at(module: WeightNetwork, t: float, s: float, label: int | None = None) -> float:
    condition = None if label is None else torch.tensor([label])
    with torch.no_grad():
        return float(module(WeightInput(t, s, SPACE, condition)))


PAIRS = [(0.9, 0.6), (0.6, 0.3), (0.5, 0.1), (0.8, 0.2)]
"""Positions on the grid."""


def levels(pair: tuple[float, float]) -> tuple[float, float]:
    t, s = sigma_at(torch.tensor(pair, dtype=torch.float64), SPACE).tolist()
    return t, s


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


@pytest.mark.parametrize(("beta", "diversity"), [(1.0, 1.0), (2.0, 0.0), (0.5, 1.0), (1.5, 0.5)])
def test_a_constant_weight_is_found_where_it_is_best(beta: float, diversity: float) -> None:
    """The base is off by .3, the guide by .9: 1.5 times their mean is exact, omega .5, at every level."""
    module, facts = fitted(small(Closed(0.4), Closed(1.0), beta=beta, diversity=diversity))
    assert [at(module, *levels(pair)) for pair in PAIRS] == pytest.approx([0.5] * 4, abs=0.06)
    assert facts["omega"] == pytest.approx(0.5, abs=0.06)


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


# Rewards


def write(folder: Path, code: str) -> str:
    file = folder / "reward.py"
    file.write_text(f"import torch\n\ndef score(x, condition):\n    {code}\n")
    return f"{file}:score"


def test_a_reward_moves_the_weight_and_its_weight_0_does_not(tmp_path: Path) -> None:
    """The direction is along +x, so a reward for large x asks for a larger weight."""
    place = write(tmp_path, "return 3 * x.sum(1)")
    fit = small(Closed(0.4), Closed(0.0), Blob(0.5), iterations=150)
    plain, _ = fitted(fit)
    more, _ = fitted(evolve(fit, reward=place))
    same, _ = fitted(evolve(fit, reward=place, reward_weight=0.0))
    pair = levels((0.8, 0.5))
    assert at(more, *pair) > at(plain, *pair) + 0.3
    assert at(same, *pair) == pytest.approx(at(plain, *pair), abs=1e-5)


def test_the_reward_term_is_minus_its_mean_on_guided_clean_predictions(tmp_path: Path) -> None:
    place = write(tmp_path, "return (x * x).sum(1) * (1 + condition)")
    task = Blob(labels=True)
    options: dict[str, Any] = {"of": Closed(0.4, labels=True), "task": task, "guider": CFG, "batch": 8, "particles": 2}
    fit = Fit(**options, reward=place, reward_weight=0.7)
    plain = Fit(**options)
    module, base = cast(WeightNetwork, fit.build()), GaussianDenoiser(0.4, conditioning="labels")
    pair = paired(base, base.unconditional())
    with_, omega = fit._loss(module, base, pair, fitting.Scores(place), 5)
    without, _ = plain._loss(module, base, pair, None, 5)
    streams = TrainingStreams(0, 5)
    examples = task.draw(torch.zeros(8), streams)
    sigma, toward = fitting.draw_levels(8, SPACE, 0.1, streams.generator("levels"))
    noise, _ = torch.randn(2, 8, 2, 2, generator=streams.generator("particles"))
    total = 0.0
    for i in range(8):
        label = cast(Tensor, examples.condition)[i : i + 1]
        assert float(omega[i]) == pytest.approx(at(module, float(sigma[i]), float(toward[i]), int(label)), abs=1e-5)
        for j in range(2):
            x = examples.x[i : i + 1] + sigma[i] * noise[i, j]
            guided = (base + float(omega[i]) * (base - base.unconditional()))(x, float(sigma[i]), label)
            total += float((guided**2).sum() * (1 + label)) / 16
    assert float(with_.detach()) == pytest.approx(float(without.detach()) - 0.7 * total, rel=1e-3)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("return x.sum(1) * torch.nan", "is not finite for 8 of 8 samples"),
        ("return torch.where(torch.arange(len(x)) == 0, torch.inf, x.sum(1))", "is not finite for 1 of 8 samples"),
        ("return x", "returned shape (8, 2) of float32 for 8 samples"),
        ("return x.mean()", "returned shape () of float32 for 8 samples"),
        ("return (x.sum(1) > 0)", "returned shape (8,) of bool for 8 samples"),
        ("return 1.0", "returned a float for 8 samples"),
        ("return x.sum(1).detach()", "has no gradient"),
        ("raise KeyError('no\\nsuch')", "raised KeyError"),
    ],
)
def test_a_reward_that_cannot_be_used_is_refused_in_one_line(code: str, said: str, tmp_path: Path) -> None:
    place = write(tmp_path, code)
    with pytest.raises(LearnedError) as caught:
        small(Closed(), Closed(0.3), reward=place).check()
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("nothing", "reward is 'nothing': write module:function or FILE.py:function"),
        ("no_such_module:f", "reward no_such_module:f cannot be imported: ModuleNotFoundError"),
        ("math:no_such", "has no function 'no_such'"),
    ],
)
def test_a_reward_that_is_not_there_is_refused(place: str, said: str) -> None:
    with pytest.raises((GuideplugError, ValueError)) as caught:
        small(Closed(), Closed(0.3), reward=place).check()
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@final
@frozen
class Coordinate(Reward):
    """The first coordinate, or something that is wrong with it."""

    name = "coordinate"
    scale: float = option(1.0, help="factor")
    wrong: str = option("", help="what is wrong")

    def score(self, x0: Tensor, condition: Any) -> Tensor:
        scores = self.scale * x0[:, 0]
        return {"nan": scores * math.nan, "shape": x0, "gradient": scores.detach()}.get(self.wrong, scores)


class Catalog:
    """The installed strategies, and one reward."""

    def __init__(self) -> None:
        self.registry = Registry.installed()

    def find(self, kind: str, name: str) -> Any:
        return Coordinate if (kind, name) == ("reward", "coordinate") else self.registry.find(kind, name)

    def names(self, kind: str) -> list[str]:
        return [*self.registry.names(kind), *(["coordinate"] if kind == "reward" else [])]


def test_a_reward_by_its_name_is_that_of_a_plugin(tmp_path: Path) -> None:
    fit = small(Closed(0.4), Closed(0.0), Blob(0.5), iterations=150)
    reader = Reader(Catalog())
    read = reader.replaced(fit, "reward", "coordinate(scale=6)", "fit")
    assert read == evolve(fit, reward=Coordinate(scale=6.0))
    place = write(tmp_path, "return 6 * x[:, 0]")
    own = reader.replaced(fit, "reward", place, "fit")
    assert own.reward == place
    assert reader.replaced(own, "reward", "none", "fit") == fit
    (plain, _), (more, _), (same, _) = fitted(fit), fitted(read), fitted(own)
    pair = levels((0.8, 0.5))
    assert at(more, *pair) > at(plain, *pair) + 0.3
    assert at(more, *pair) == at(same, *pair)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("nan", "reward coordinate(wrong='nan') is not finite for 8 of 8 samples"),
        ("shape", "reward coordinate(wrong=shape) returned shape (8, 2) of float32 for 8 samples"),
        ("gradient", "reward coordinate(wrong=gradient) has no gradient"),
    ],
)
def test_a_reward_of_a_plugin_is_held_to_the_same(wrong: str, said: str) -> None:
    with pytest.raises(LearnedError) as caught:
        small(Closed(), Closed(0.3), reward=Coordinate(wrong=wrong)).check()
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("coordinat", "write module:function or FILE.py:function, or the name of a reward that a plugin offers"),
        ("coordinat(scale=2)", "expected a text, and no reward is called 'coordinat'"),
    ],
)
def test_a_reward_that_no_plugin_offers_is_refused_in_one_line(text: str, said: str) -> None:
    with pytest.raises(GuideplugError) as caught:
        Reader(Catalog()).replaced(small(Closed(), Closed(0.3)), "reward", parse(text), "fit")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_rewards_code_is_part_of_the_identity(tmp_path: Path) -> None:
    fit = small(Closed(), Closed(0.3), reward=write(tmp_path, "return x.sum(1)"))
    before = fit.content()
    assert before != evolve(fit, reward=None).content()
    other = tmp_path / "other"
    other.mkdir()
    assert before != evolve(fit, reward=write(other, "return x.sum(1) + 1")).content()


def test_a_reward_that_fails_later_ends_the_fit_in_one_line(tmp_path: Path) -> None:
    place = write(tmp_path, "return x.sum(1) * (torch.nan if len(x) > 8 else 1.0)")
    fit = small(Closed(), Closed(0.3), reward=place, iterations=40)
    fit.check()
    with pytest.raises(GuideplugError, match=r"diverged by step 32: the loss is nan.*reward") as caught:
        fitted(fit)
    assert "\n" not in str(caught.value)


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
