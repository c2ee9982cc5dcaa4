"""Measures of resamples are those of the repeated samples; the bootstrap covers, and does not depend on batches."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from guideplug.metrics import bootstrap as bootstrap_module
from guideplug.metrics import (
    paired_bootstrap,
    resampled_coverage,
    resampled_energy_distance,
    resampled_frechet_distance,
    resampled_median,
)

TRUE = torch.randn(30, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def energy(samples: Tensor) -> float:
    return float(2 * torch.cdist(samples, TRUE).mean() - torch.pdist(samples).mean() - torch.pdist(TRUE).mean())


def frechet(samples: Tensor) -> float:
    """By the matrix square root of the textbook."""
    from scipy.linalg import sqrtm

    one, two = np.cov(samples.numpy().T), np.cov(TRUE.numpy().T)
    mean = samples.mean(0) - TRUE.mean(0)
    return float(mean @ mean) + float(np.trace(one + two - 2 * sqrtm(one @ two).real))


def coverage(samples: Tensor) -> float:
    return float((torch.cdist(TRUE, samples) < 1.0).any(1).double().mean())


def median(samples: Tensor) -> float:
    return float(np.median(samples[:, 0].numpy()))


MEASURES: dict[str, tuple[Callable[[Tensor], float], Callable[[Tensor], Callable[[Tensor], Tensor]]]] = {
    "energy": (energy, lambda samples: resampled_energy_distance(samples, TRUE)),
    "frechet": (frechet, lambda samples: resampled_frechet_distance(samples, TRUE)),
    "coverage": (coverage, lambda samples: resampled_coverage(torch.cdist(TRUE, samples) < 1.0)),
    "median": (median, lambda samples: resampled_median(samples[:, 0])),
}


@pytest.mark.parametrize("name", MEASURES)
@given(seed=st.integers(0, 999), count=st.integers(8, 25))
@settings(max_examples=25, deadline=None)
def test_a_measure_of_weights_is_that_of_the_repeated_samples(name: str, seed: int, count: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    samples = torch.randn(count, 3, generator=generator, dtype=torch.float64)
    rows = [torch.arange(count), torch.randint(count, (count,), generator=generator)]
    weights = torch.stack([torch.bincount(row, minlength=count).double() for row in rows])
    plain, resampled = MEASURES[name]
    expected = [plain(samples[row]) for row in rows]
    assert resampled(samples)(weights).tolist() == pytest.approx(expected, rel=1e-5, abs=1e-6)


def means(values: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda weights: (weights @ values / weights.sum(1))[None]


def test_the_interval_of_a_mean_covers_at_its_rate() -> None:
    generator = torch.Generator().manual_seed(0)
    covered, trials = 0, 400
    for trial in range(trials):
        values = torch.randn(200, generator=generator, dtype=torch.float64)
        (interval,) = paired_bootstrap(means(values), 200, seed=trial, resamples=400)
        assert interval is not None
        covered += interval.low <= 0 <= interval.high
    assert 0.92 <= covered / trials <= 0.975


def test_the_same_seed_gives_the_same_interval_whatever_the_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    values = torch.randn(50, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    first = paired_bootstrap(means(values), 50, seed=3)
    assert first == paired_bootstrap(means(values), 50, seed=3)
    assert first != paired_bootstrap(means(values), 50, seed=4)
    monkeypatch.setattr(bootstrap_module, "MOST_WEIGHTS", 50 * 7)
    (again,), (once,) = paired_bootstrap(means(values), 50, seed=3), first
    assert again is not None
    assert once is not None
    assert (again.low, again.high) == pytest.approx((once.low, once.high), rel=1e-12)


def test_an_end_at_zero_leaves_zero_in() -> None:
    """Shares of few differences: 2 T - T*_q is 0 but for rounding."""
    for moved in range(1, 6):
        values = torch.zeros(449, dtype=torch.float64)
        values[:moved] = 1.0
        (interval,) = paired_bootstrap(lambda weights: (0.9 + means(values)(weights)) - 0.9, 449, seed=moved)  # noqa: B023
        assert interval is not None
        assert min(abs(interval.low), abs(interval.high)) == 0 or min(abs(interval.low), abs(interval.high)) > 1e-6


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_has_no_interval(value: float) -> None:
    values = torch.ones(20, dtype=torch.float64)
    values[3] = value
    torn, whole = paired_bootstrap(
        lambda weights: torch.stack([(values * weights.clamp(min=1e-9)).sum(1), weights.sum(1)]), 20, resamples=100
    )
    assert torn is None
    assert whole is not None
    assert (whole.low, whole.high) == (20, 20)
