"""Noise levels: the sampler's grid and the training distributions."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from guideplug.noise import LogNormal, LogUniform, sigma_grid
from guideplug.testing import check_strategy

laws = settings(deadline=None, max_examples=60, derandomize=True)
RANGES = st.tuples(st.floats(1e-3, 1), st.floats(1.5, 200))


@laws
@given(st.integers(1, 64), RANGES, st.floats(0.5, 10))
def test_grids_fall_from_the_highest_level_to_the_lowest_and_to_zero(num_steps, ends, rho):
    low, high = ends
    grid = sigma_grid(num_steps, low, high, rho)
    assert len(grid) == num_steps + 1
    assert all(type(level) is float for level in grid)
    assert grid[0] == high
    assert grid[-1] == 0
    assert num_steps == 1 or grid[-2] == low
    assert all(a > b for a, b in itertools.pairwise(grid))


@laws
@given(st.integers(2, 64), RANGES, st.floats(0.5, 10))
def test_grids_are_even_in_the_root_of_the_level(num_steps, ends, rho):
    """Equation 5, as steps: sigma^(1/rho) falls by the same amount each time."""
    roots = [level ** (1 / rho) for level in sigma_grid(num_steps, *ends, rho)[:-1]]
    fall = (roots[0] - roots[-1]) / (num_steps - 1)
    for i, root in enumerate(roots):
        assert root == pytest.approx(roots[0] - i * fall, rel=1e-9)


def test_rho_one_is_an_even_grid_and_a_larger_rho_has_shorter_steps_near_zero():
    assert sigma_grid(5, 1.0, 5.0, 1.0) == pytest.approx([5, 4, 3, 2, 1, 0])
    middles = [sigma_grid(3, 0.01, 10.0, rho)[1] for rho in (1.0, 3.0, 7.0, 20.0)]
    assert middles == sorted(middles, reverse=True)


def test_one_step_goes_from_the_highest_level_to_zero():
    assert sigma_grid(1, 0.002, 80.0) == [80.0, 0.0]


def test_the_published_grid():
    """Karras et al. 2022: 18 steps from 80 to 0.002 with rho 7."""
    grid = sigma_grid(18, 0.002, 80)
    assert grid[1] == pytest.approx((80 ** (1 / 7) + (0.002 ** (1 / 7) - 80 ** (1 / 7)) / 17) ** 7)
    assert grid[1] == pytest.approx(57.586, abs=1e-3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 0.002, 80.0), "num_steps is 0"),
        ((-3, 0.002, 80.0), "num_steps is -3"),
        ((8, 0.0, 80.0), "give 0 < sigma_min < sigma_max"),
        ((8, -1.0, 80.0), "give 0 < sigma_min < sigma_max"),
        ((8, 80.0, 0.002), "give 0 < sigma_min < sigma_max"),
        ((8, 1.0, 1.0), "give 0 < sigma_min < sigma_max"),
        ((8, 0.002, math.inf), "give 0 < sigma_min < sigma_max"),
        ((8, math.nan, 80.0), "give 0 < sigma_min < sigma_max"),
        ((8, 0.002, math.nan), "give 0 < sigma_min < sigma_max"),
        ((8, 0.002, 80.0, 0.0), "rho is 0"),
        ((8, 0.002, 80.0, -7.0), "rho is -7"),
        ((8, 0.002, 80.0, math.nan), "rho is nan"),
    ],
)
def test_grids_that_are_none_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        sigma_grid(*arguments)


N = 100_000


def draws(distribution, count=N, seed=0):
    return distribution.draw(count, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("mean", "std"), [(-1.2, 1.2), (-2.3, 1.5), (0.0, 0.1)])
def test_log_normal_levels_have_their_moments(mean, std):
    log = draws(LogNormal(mean, std)).double().log()
    assert float(log.mean()) == pytest.approx(mean, abs=4.5 * std / math.sqrt(N))
    assert float(log.std()) == pytest.approx(std, abs=4.5 * std / math.sqrt(2 * N))
    third = ((log - mean) / std).pow(3).mean()
    assert abs(float(third)) < 4.5 * math.sqrt(15 / N)


@pytest.mark.parametrize(("low", "high"), [(0.002, 80.0), (0.5, 2.0)])
def test_log_uniform_levels_have_their_moments(low, high):
    levels = draws(LogUniform(low, high)).double()
    assert low * (1 - 1e-6) <= float(levels.min()) < low * 1.01
    assert high * 0.99 < float(levels.max()) <= high * (1 + 1e-6)
    share = (levels.log() - math.log(low)) / math.log(high / low)
    for power in (1, 2, 3):
        assert float(share.pow(power).mean()) == pytest.approx(1 / (power + 1), abs=4.5 * 0.3 / math.sqrt(N))


@pytest.mark.parametrize("distribution", [LogNormal(), LogUniform()])
def test_levels_are_drawn_from_their_generator_alone(distribution):
    state = torch.random.get_rng_state()
    one, again, other = draws(distribution, 8), draws(distribution, 8), draws(distribution, 8, seed=1)
    assert one.shape == (8,)
    assert one.dtype == torch.float32
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert torch.equal(state, torch.random.get_rng_state())


@pytest.mark.parametrize("distribution", [LogNormal(-2.3, 1.5), LogUniform(0.1, 5.0)])
def test_noise_distributions_are_strategies(distribution):
    check_strategy(distribution)


@pytest.mark.parametrize(
    "make",
    [
        lambda: LogNormal(std=0.0),
        lambda: LogNormal(std=-1.0),
        lambda: LogNormal(mean=math.nan),
        lambda: LogNormal(mean=math.inf),
        lambda: LogUniform(low=0.0),
        lambda: LogUniform(low=2.0, high=1.0),
        lambda: LogUniform(low=1.0, high=1.0),
        lambda: LogUniform(high=math.inf),
    ],
)
def test_options_that_are_no_distribution_are_refused(make):
    with pytest.raises(ValueError, match=r"std|mean|low|high"):
        make()
