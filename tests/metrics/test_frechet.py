"""The Fréchet distance beside the textbook's matrix square root, scipy's and POT's, and closed forms."""

import numpy as np
import ot
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.linalg import sqrtm

from guideplug.metrics import frechet_distance, gaussian_wasserstein

torch.set_num_threads(1)
seeds = st.integers(0, 2**32 - 1)


def normal(seed: int, *shape: int) -> NDArray[np.float64]:
    return np.random.default_rng(seed).standard_normal(shape)


def distance(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    return frechet_distance(torch.from_numpy(a), torch.from_numpy(b))


def with_moments(
    points: NDArray[np.float64], mean: NDArray[np.float64], root: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Points whose sample mean is exactly ``mean`` and whose sample covariance is exactly root root^T."""
    centred = points - points.mean(axis=0)
    white = centred @ np.linalg.inv(np.linalg.cholesky(np.cov(centred.T))).T
    moved: NDArray[np.float64] = mean + white @ root.T
    return moved


@settings(max_examples=25, deadline=None)
@given(seeds)
def test_gaussians_with_commuting_covariances(seed: int) -> None:
    scale_a, scale_b = np.abs(normal(seed, 2, 4)) + 0.1
    mean_a, mean_b = normal(seed + 1, 2, 4)
    a = with_moments(normal(seed + 2, 50, 4), mean_a, np.diag(scale_a))
    b = with_moments(normal(seed + 3, 70, 4), mean_b, np.diag(scale_b))
    closed_form = np.square(mean_a - mean_b).sum() + np.square(scale_a - scale_b).sum()
    assert distance(a, b) == pytest.approx(closed_form, rel=1e-8)


@settings(max_examples=25, deadline=None)
@given(seeds)
def test_it_is_the_textbook_formula(seed: int) -> None:
    a, b = normal(seed, 60, 5) @ normal(seed + 1, 5, 5), normal(seed + 2, 40, 5) @ normal(seed + 3, 5, 5) + 1
    covariance_a, covariance_b = np.cov(a.T), np.cov(b.T)
    gap = a.mean(axis=0) - b.mean(axis=0)
    textbook = gap @ gap + np.trace(covariance_a + covariance_b - 2 * np.real(sqrtm(covariance_a @ covariance_b)))
    assert distance(a, b) == pytest.approx(textbook, rel=1e-6, abs=1e-6)
    moments = (torch.from_numpy(part) for part in (a.mean(0), covariance_a, b.mean(0), covariance_b))
    assert float(gaussian_wasserstein(*moments)) ** 2 == pytest.approx(textbook, rel=1e-6, abs=1e-6)


@settings(max_examples=25, deadline=None)
@given(seeds)
def test_turns_do_not_matter(seed: int) -> None:
    a, b = normal(seed, 30, 4), 2 * normal(seed + 1, 20, 4) + 1
    turn = np.linalg.qr(normal(seed + 2, 4, 4))[0]
    assert distance(a @ turn, b @ turn) == pytest.approx(distance(a, b), rel=1e-7)


def test_singular_covariances() -> None:
    few = normal(0, 5, 64)  # rank 4
    assert distance(few, few) == pytest.approx(0, abs=1e-9)
    assert distance(few, few + 0.5) == pytest.approx(64 * 0.25)
    assert distance(np.ones((9, 3)), np.zeros((9, 3))) == pytest.approx(3)


def test_the_distance_of_given_moments_is_pots_and_takes_batches() -> None:
    random = np.random.default_rng(0)
    batch = []
    for _ in range(5):
        a, b = random.normal(size=(2, 2, 2))
        covariances = a @ a.T + 0.1 * np.eye(2), b @ b.T + 0.1 * np.eye(2)
        means = random.normal(size=(2, 2))
        batch.append([torch.from_numpy(part) for part in (means[0], covariances[0], means[1], covariances[1])])
        expected = float(ot.gaussian.bures_wasserstein_distance(*means, *covariances))
        assert float(gaussian_wasserstein(*batch[-1])) == pytest.approx(expected, rel=1e-6)
    together = gaussian_wasserstein(*(torch.stack(part) for part in zip(*batch, strict=True)))
    assert together.tolist() == pytest.approx([float(gaussian_wasserstein(*one)) for one in batch])
    one, zero = torch.tensor([[2.0, 1.0], [1.0, 2.0]]).double(), torch.zeros(2).double()
    assert float(gaussian_wasserstein(zero, one, zero, one)) == pytest.approx(0, abs=1e-6)
    assert float(gaussian_wasserstein(torch.tensor([3.0, 4.0]).double(), one, zero, one)) == pytest.approx(5)
    assert float(gaussian_wasserstein(zero, 4 * one, zero, one)) == pytest.approx(2)  # scaled by 2: sqrt(trace)
