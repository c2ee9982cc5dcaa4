"""Oracles and laws of the metrics."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.linalg import sqrtm

from guideplug_digits.metrics import (
    class_accuracy,
    frechet_distance,
    nearest_neighbour_distance,
    precision_recall_density_coverage,
)

seeds = st.integers(0, 2**32 - 1)


def normal(seed: int, *shape: int) -> NDArray[np.float64]:
    return np.random.default_rng(seed).standard_normal(shape)


def with_moments(
    points: NDArray[np.float64], mean: NDArray[np.float64], root: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Points whose sample mean is exactly `mean` and whose sample covariance is exactly root · rootᵀ."""
    centred = points - points.mean(axis=0)
    white = centred @ np.linalg.inv(np.linalg.cholesky(np.cov(centred.T))).T
    moved: NDArray[np.float64] = mean + white @ root.T
    return moved


@settings(max_examples=25, deadline=None)
@given(seeds)
def test_frechet_of_gaussians_with_commuting_covariances(seed: int) -> None:
    scale_a, scale_b = np.abs(normal(seed, 2, 4)) + 0.1
    mean_a, mean_b = normal(seed + 1, 2, 4)
    a = with_moments(normal(seed + 2, 50, 4), mean_a, np.diag(scale_a))
    b = with_moments(normal(seed + 3, 70, 4), mean_b, np.diag(scale_b))
    closed_form = np.square(mean_a - mean_b).sum() + np.square(scale_a - scale_b).sum()
    assert frechet_distance(a, b) == pytest.approx(closed_form, rel=1e-8)


@settings(max_examples=25, deadline=None)
@given(seeds)
def test_frechet_agrees_with_the_textbook_formula(seed: int) -> None:
    a, b = normal(seed, 60, 5) @ normal(seed + 1, 5, 5), normal(seed + 2, 40, 5) @ normal(seed + 3, 5, 5) + 1
    cov_a, cov_b = np.cov(a.T), np.cov(b.T)
    difference = a.mean(axis=0) - b.mean(axis=0)
    textbook = difference @ difference + np.trace(cov_a + cov_b - 2 * np.real(sqrtm(cov_a @ cov_b)))
    assert frechet_distance(a, b) == pytest.approx(textbook, rel=1e-6, abs=1e-6)


@settings(max_examples=25, deadline=None)
@given(seeds)
def test_frechet_laws(seed: int) -> None:
    a, b = normal(seed, 30, 4), 2 * normal(seed + 1, 20, 4) + 1
    rotation = np.linalg.qr(normal(seed + 2, 4, 4))[0]
    order = np.random.default_rng(seed).permutation(30)
    value = frechet_distance(a, b)
    assert value > 0
    assert frechet_distance(b, a) == pytest.approx(value, rel=1e-9)
    assert frechet_distance(a[order], b) == pytest.approx(value, rel=1e-9)
    assert frechet_distance(3 * a @ rotation + 5, 3 * b @ rotation + 5) == pytest.approx(9 * value, rel=1e-7)
    assert frechet_distance(a, a[order]) == pytest.approx(0, abs=1e-9)


def test_frechet_survives_singular_covariances() -> None:
    few = normal(0, 5, 64)  # rank 4
    assert frechet_distance(few, few) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(few, few + 0.5) == pytest.approx(64 * 0.25)
    assert frechet_distance(np.ones((9, 3)), np.zeros((9, 3))) == pytest.approx(3)


def test_equal_sets_are_fully_precise_and_covered() -> None:
    points = normal(0, 200, 3)
    result = precision_recall_density_coverage(points, points, k=5)
    assert (result.precision, result.recall, result.coverage) == (1, 1, 1)
    assert result.density == pytest.approx(6 / 5)  # every ball holds its own centre and its k neighbours


def test_disjoint_sets_score_nothing() -> None:
    points = normal(0, 200, 3)
    assert precision_recall_density_coverage(points, points + 100) == (0, 0, 0, 0)


def test_a_collapsed_set_is_precise_but_covers_nothing() -> None:
    real = normal(0, 200, 2)
    collapsed = real[:1] + 1e-9 * normal(1, 200, 2)
    result = precision_recall_density_coverage(real, collapsed)
    assert result.precision == 1
    assert result.density > 0.5
    assert result.recall <= 1 / 200
    assert result.coverage < 0.15


def test_half_of_the_modes_is_half_covered() -> None:
    left, right = normal(0, 100, 2), normal(1, 100, 2) + 100
    result = precision_recall_density_coverage(np.concatenate([left, right]), left)
    assert result.precision == 1
    assert result.recall == 0.5
    assert result.coverage == 0.5
    swapped = precision_recall_density_coverage(left, np.concatenate([left, right]))
    assert swapped.precision == 0.5
    assert swapped.recall == 1
    assert swapped.coverage == 1


@settings(max_examples=20, deadline=None)
@given(seeds, st.integers(1, 6))
def test_precision_recall_density_coverage_agree_with_the_definition(seed: int, k: int) -> None:
    real, generated = normal(seed, 12, 2), normal(seed + 1, 9, 2) + 0.5

    def radius(points: NDArray[np.float64], index: int) -> float:
        return float(sorted(np.linalg.norm(points - points[index], axis=1))[k])

    inside = np.array([[np.linalg.norm(x - y) <= radius(real, i) for y in generated] for i, x in enumerate(real)])
    found = np.array([[np.linalg.norm(x - y) <= radius(generated, j) for j, y in enumerate(generated)] for x in real])
    expected = (inside.any(0).mean(), found.any(1).mean(), inside.sum() / k / len(generated), inside.any(1).mean())
    assert precision_recall_density_coverage(real, generated, k) == pytest.approx(expected)


@settings(max_examples=20, deadline=None)
@given(seeds)
def test_the_order_of_images_does_not_matter(seed: int) -> None:
    real, generated = normal(seed, 40, 3), normal(seed + 1, 30, 3)
    random = np.random.default_rng(seed)
    shuffled = random.permutation(real), random.permutation(generated)
    expected = precision_recall_density_coverage(real, generated)
    assert precision_recall_density_coverage(*shuffled) == pytest.approx(expected)
    swapped = precision_recall_density_coverage(generated, real)
    assert (swapped.precision, swapped.recall) == pytest.approx((expected.recall, expected.precision))
    assert nearest_neighbour_distance(*shuffled) == pytest.approx(nearest_neighbour_distance(real, generated))
    order = random.permutation(40)
    labels = random.integers(0, 3, 40)
    assert class_accuracy(real[order], labels[order]) == class_accuracy(real, labels)


def test_class_accuracy_counts() -> None:
    probabilities = np.array([[0.9, 0.1, 0], [0.2, 0.3, 0.5], [0.1, 0.8, 0.1], [0, 0, 1]])
    assert class_accuracy(probabilities, np.array([0, 2, 0, 1])) == 0.5
    assert class_accuracy(probabilities, probabilities.argmax(axis=1)) == 1


def test_nearest_neighbour_distance_of_copies_is_zero_and_of_shifts_is_known() -> None:
    train = 10 * normal(0, 50, 1, 8, 8)
    assert nearest_neighbour_distance(train[::-1], train) == 0
    assert nearest_neighbour_distance(train[:7] + 0.25, train) == pytest.approx(0.25 * 8)
    shifts = np.array([0.0, 0.0, 1.0, 9.0, 9.0]).reshape(5, 1, 1, 1)
    assert nearest_neighbour_distance(train[:5] + shifts * 0.1, train) == pytest.approx(0.1 * 8)  # the median


def test_nearest_neighbours_agree_across_blocks() -> None:
    generated, train = normal(0, 1500, 4), normal(1, 30, 4)
    slow = np.median([np.linalg.norm(train - image, axis=1).min() for image in generated])
    assert nearest_neighbour_distance(generated, train) == pytest.approx(slow)


def test_bad_arrays_are_refused() -> None:
    good = normal(0, 20, 3)
    with pytest.raises(ValueError, match="features_a holds a value that is not finite"):
        frechet_distance(np.where(good > 1, np.nan, good), good)
    with pytest.raises(ValueError, match="equally many columns, got 3 and 2"):
        frechet_distance(good, good[:, :2])
    with pytest.raises(ValueError, match="generated must be a matrix of at least 6 rows"):
        precision_recall_density_coverage(good, good[:5])
    with pytest.raises(ValueError, match="k must be at least 1"):
        precision_recall_density_coverage(good, good, k=0)
    with pytest.raises(ValueError, match="labels must be in 0"):
        class_accuracy(good, np.full(20, 3))
    with pytest.raises(ValueError, match="labels must be 20 integers"):
        class_accuracy(good, np.zeros(20))
