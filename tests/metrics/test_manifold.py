"""Precision, recall, density and coverage beside their definitions, and at sets that are wrong in a known way."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from guideplug.metrics import density_coverage, neighbour_balls, precision_recall

torch.set_num_threads(1)


def normal(seed: int, rows: int, width: int) -> Tensor:
    return torch.randn(rows, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31), k=st.integers(1, 6))
def test_the_four_measures_are_those_of_the_definition(seed: int, k: int) -> None:
    true, samples = normal(seed, 12, 2), normal(seed + 1, 9, 2) + 0.5

    def radius(rows: Tensor, index: int) -> float:
        return sorted(float((rows[index] - other).norm()) for number, other in enumerate(rows) if number != index)[
            k - 1
        ]

    in_true = [[float((x - y).norm()) <= radius(true, m) for x in samples] for m, y in enumerate(true)]  # (M, N)
    in_samples = [[float((x - y).norm()) <= radius(samples, n) for n, x in enumerate(samples)] for y in true]
    balls = neighbour_balls(samples, true, k)
    assert balls.of_true.tolist() == in_true
    assert balls.of_samples.tolist() == in_samples
    columns = list(zip(*in_true, strict=True))
    assert balls.precise.tolist() == [float(any(column)) for column in columns]
    assert balls.densities.tolist() == pytest.approx([sum(column) / k for column in columns])
    assert balls.recalled.tolist() == [float(any(row)) for row in in_samples]
    assert balls.covered.tolist() == [float(any(row)) for row in in_true]
    precision, recall = sum(map(any, columns)) / 9, sum(map(any, in_samples)) / 12
    assert precision_recall(samples, true, k) == pytest.approx((precision, recall))
    density, coverage = sum(map(sum, in_true)) / k / 9, sum(map(any, in_true)) / 12
    assert density_coverage(samples, true, k) == pytest.approx((density, coverage))


def test_a_collapsed_set_is_precise_but_covers_nothing() -> None:
    true = normal(0, 200, 2)
    collapsed = true[:1] + 1e-9 * normal(1, 200, 2)
    precision, recall = precision_recall(collapsed, true)
    density, coverage = density_coverage(collapsed, true)
    assert precision == 1
    assert recall <= 1 / 200
    assert density > 0.5
    assert coverage < 0.15


def test_half_of_the_modes_is_half_covered() -> None:
    left, right = normal(0, 100, 2), normal(1, 100, 2) + 100
    both = torch.cat([left, right])
    assert precision_recall(left, both) == (1, 0.5)
    assert density_coverage(left, both).coverage == 0.5
    assert precision_recall(both, left) == (0.5, 1)
    assert density_coverage(both, left).coverage == 1


def test_a_copy_at_the_edge_of_a_ball_is_inside() -> None:
    """Balls are closed, and a distance is the same number on both sides of the comparison."""
    true = normal(0, 40, 5)
    assert neighbour_balls(true, true, 3).of_true.sum(1).tolist() == [4] * 40
