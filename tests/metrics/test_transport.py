"""Transport beside scipy's assignment of rows, and along sorted lines."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from guideplug.metrics import sliced_wasserstein, wasserstein

torch.set_num_threads(1)


def points(seed: int, rows: int, width: int) -> Tensor:
    return torch.randn(rows, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), rows=st.integers(1, 40), width=st.integers(1, 4))
def test_exact_transport_is_the_best_assignment(seed: int, rows: int, width: int) -> None:
    a, b = points(seed, rows, width), 2 * points(seed + 1, rows, width) + 1
    costs = np.square(a.numpy()[:, None] - b.numpy()[None]).sum(2)
    best = costs[linear_sum_assignment(costs)].mean() ** 0.5
    assert wasserstein(a, b) == pytest.approx(best, rel=1e-9)


def test_of_unequal_sets_each_point_has_its_share() -> None:
    a, b = points(0, 6, 2), points(1, 4, 2)
    assert wasserstein(a, b) == pytest.approx(wasserstein(a.repeat(2, 1), b.repeat(3, 1)), rel=1e-9)  # 12 and 12


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), rows=st.integers(1, 40))
def test_along_a_line_the_sliced_distance_is_that_of_sorted_numbers(seed: int, rows: int) -> None:
    a, b = points(seed, rows, 1), 2 * points(seed + 1, rows, 1) + 1
    expected = float((a.sort(0).values - b.sort(0).values).square().mean().sqrt())
    assert sliced_wasserstein(a, b) == pytest.approx(expected, rel=1e-9)
    assert wasserstein(a, b) == pytest.approx(expected, rel=1e-9)


@pytest.mark.slow
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**31), width=st.integers(2, 5))
def test_the_sliced_distance_of_a_shift_is_its_mean_over_directions(seed: int, width: int) -> None:
    """E (u . v)^2 = |v|^2 / D over unit vectors u."""
    a = points(seed, 20, width)
    shift = torch.full((width,), 2.0, dtype=torch.float64)
    distance = sliced_wasserstein(a, a + shift, projections=20_000, seed=seed)
    assert distance == pytest.approx(float(shift.norm()) / width**0.5, rel=0.05)
    assert distance <= wasserstein(a, a + shift) == pytest.approx(float(shift.norm()), rel=1e-6)


def test_the_seed_decides_the_directions() -> None:
    a, b = points(0, 20, 3), points(1, 20, 3)
    assert sliced_wasserstein(a, b, seed=4) == sliced_wasserstein(a, b, seed=4)
    assert sliced_wasserstein(a, b, seed=4) != sliced_wasserstein(a, b, seed=5)
    with pytest.raises(ValueError, match="projections is 0: give at least 1"):
        sliced_wasserstein(a, b, projections=0)


FIRST = """
import torch
from guideplug.metrics import {name}
from guideplug.rng import undrawn

torch.set_num_threads(1)
points = torch.zeros(3, 2, dtype=torch.float64)
with undrawn(AssertionError):
    {name}(points, points)
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["wasserstein", "sliced_wasserstein"])
def test_the_library_draws_nothing_while_it_is_imported(name: str) -> None:
    done = subprocess.run([sys.executable, "-c", FIRST.format(name=name)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
