"""Guidance in an interval: the laws, its ends, what is called, what is refused."""

import pytest
import torch

from guideplug import Guider, Sampler, sigma_grid
from guideplug.config import Reader
from guideplug.denoise import tally
from guideplug.errors import GuideplugError
from guideplug.registry.registry import Registry
from guideplug.sample import planned_evaluations
from guideplug.testing import GaussianDenoiser, check_guider
from guideplug_interval import Interval


def read(text):
    return Reader(Registry.installed()).expression(text, Guider)


AUTOGUIDANCE = read("autoguidance(weight=3)")
BASE, MODELS = GaussianDenoiser(0.1), {"weak": GaussianDenoiser(0.4)}
X = torch.randn(4, 2, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("interval", [(0.1, 1.0), (0.0, 0.5), (0.5, float("inf"))])
def test_laws(interval):
    check_guider(lambda: Interval(AUTOGUIDANCE, *interval))


@pytest.mark.parametrize(
    ("sigma", "inside"), [(0.2, False), (0.2000001, True), (0.5, True), (1.0, True), (1.0000001, False), (0.0, False)]
)
def test_low_is_outside_and_high_inside(sigma, inside):
    """arXiv:2404.07724: guidance for sigma_low < sigma <= sigma_high."""
    guided = Interval(AUTOGUIDANCE, 0.2, 1.0).guide(BASE, MODELS)
    with tally() as counts:
        value = guided(X, sigma)
    expected = AUTOGUIDANCE.guide(BASE, MODELS) if inside else BASE
    assert torch.equal(value, expected(X, sigma))
    assert (MODELS["weak"] in counts.counts) is inside


def test_a_tensor_of_levels_gates_row_by_row():
    guided = Interval(AUTOGUIDANCE, 0.2, 1.0).guide(BASE, MODELS)
    sigma = torch.tensor([0.1, 0.5, 1.0, 3.0])
    whole = AUTOGUIDANCE.guide(BASE, MODELS)(X, sigma)
    expected = torch.where(torch.tensor([False, True, True, False])[:, None], whole, BASE(X, sigma))
    torch.testing.assert_close(guided(X, sigma), expected)


def test_nested_intervals_intersect():
    nested = Interval(Interval(AUTOGUIDANCE, 0.1, 1.0), 0.5, 3.0).guide(BASE, MODELS)
    both = Interval(AUTOGUIDANCE, 0.5, 1.0).guide(BASE, MODELS)
    for sigma in (0.05, 0.3, 0.5, 0.7, 1.0, 2.0, 5.0):
        with tally() as counts:
            value = nested(X, sigma)
        with tally() as expected:
            assert torch.equal(value, both(X, sigma))
        assert counts.counts == expected.counts


def test_two_intervals_that_meet_are_the_guider_whole():
    whole = read("blend([interval(autoguidance, high=0.5), interval(autoguidance, low=0.5)])").guide(BASE, MODELS)
    for sigma in (0.1, 0.5, 2.0):
        assert torch.equal(whole(X, sigma), read("autoguidance").guide(BASE, MODELS)(X, sigma))


def test_it_needs_what_its_guider_needs():
    class Task:
        def recipe(self, role, main):
            return role, main

    assert Interval(AUTOGUIDANCE, 0.2).needs(Task(), "main") == {"weak": ("weak", "main")}
    assert Interval(read("cfg"), 0.2).may_use() == ["unconditional"]


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("interval(cfg, low=1, high=0.2)", "low 1 and high 0.2: give 0 <= low < high"),
        ("interval(cfg, low=0.2, high=0.2)", "give 0 <= low < high"),
        ("interval(cfg, low=-1)", "give 0 <= low < high"),
        ("interval(cfg, low=0)", "the interval is every level: give low, high or both"),
        ("interval([cfg], low=0.2)", "expected a guider"),
        ("interval(cfg, low=low)", "expected a number"),
    ],
)
def test_bad_intervals_are_refused_in_one_line(expression, said):
    with pytest.raises(GuideplugError) as caught:
        read(expression)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("low", [float("nan"), float("inf")])
def test_levels_are_numbers(low):
    with pytest.raises(ValueError, match="low"):
        Interval(AUTOGUIDANCE, low)


LEVELS = sigma_grid(32, 0.002, 80.0)


@pytest.mark.parametrize(("first", "last", "low", "high"), [(17, 22, 0.28, 1.61), (13, 19, 0.84, 5.0)])
def test_per_step_it_is_the_released_codes_interval_of_step_numbers(first, last, low, high):
    """arXiv:2404.07724's edm_sampler: guided where first <= i <= last, in both evaluations of Heun's step i."""
    guided = Interval(AUTOGUIDANCE, low, high, per="step").guide(BASE, MODELS)
    sampler, x = Reader(Registry.installed()).expression("heun(num_steps=32)", Sampler), 80 * X
    planned = planned_evaluations(sampler, guided, x)
    seen = [(one.sigma, MODELS["weak"] in one.counts) for one in planned]
    numbers = [i for i in range(32) for _ in range(2 if i < 31 else 1)]
    assert seen == [(LEVELS[i] if k % 2 == 0 else LEVELS[i + 1], first <= i <= last) for k, i in enumerate(numbers)]
    with tally() as counts:
        end = sampler.sample(guided, x)
    assert counts[MODELS["weak"]].calls == 2 * (last - first + 1)

    x = x.clone()
    for i in range(32):  # by hand
        point = AUTOGUIDANCE.guide(BASE, MODELS) if first <= i <= last else BASE
        sigma, after = LEVELS[i], LEVELS[i + 1]
        slope = (x - point(x, sigma)) / sigma
        ahead = x + (after - sigma) * slope
        x = x + (after - sigma) * 0.5 * (slope + (ahead - point(ahead, after)) / after) if after else ahead
    torch.testing.assert_close(end, x)


def test_per_step_outside_of_a_sampler_each_level_stands_for_itself():
    one, other = (Interval(AUTOGUIDANCE, 0.2, 1.0, per).guide(BASE, MODELS) for per in ("step", "evaluation"))
    sigma = torch.tensor([0.1, 0.5, 1.0, 3.0])
    assert torch.equal(one(X, sigma), other(X, sigma))
    assert torch.equal(one(X, 0.5), other(X, 0.5))


def test_per_step_a_sampler_has_to_say_its_steps():
    guided = Interval(AUTOGUIDANCE, 0.2, 1.0, "step").guide(BASE, MODELS)
    with pytest.raises(ValueError, match=r"which step an evaluation belongs to.*step=\(start, end\).*per='evaluation'"):
        guided(X, 0.5, toward=0.3)
    assert torch.equal(guided(X, 0.15, toward=0.1, step=(0.5, 0.15)), AUTOGUIDANCE.guide(BASE, MODELS)(X, 0.15))
    assert torch.equal(guided(X, 0.5, toward=0.1, step=(1.5, 0.5)), BASE(X, 0.5))
