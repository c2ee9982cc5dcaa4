"""Nearest neighbours beside numpy's, copies, and sets larger than a block."""

import numpy as np
import pytest
import torch

from guideplug.metrics import nearest_neighbours, neighbours

torch.set_num_threads(1)


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("block", [1, 7 * 30, 1 << 22])
def test_neighbours_are_those_of_the_definition_whatever_the_blocks(
    k: int, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(neighbours, "MOST_DISTANCES", block)
    generator = torch.Generator().manual_seed(k)
    samples, true = torch.randn(50, 4, generator=generator).double(), torch.randn(30, 4, generator=generator).double()
    distances = np.linalg.norm(samples.numpy()[:, None] - true.numpy()[None], axis=2)
    nearest = nearest_neighbours(samples, true, k)
    assert nearest.indices.tolist() == np.argsort(distances, axis=1)[:, :k].tolist()
    assert nearest.distances.numpy() == pytest.approx(np.sort(distances, axis=1)[:, :k], rel=1e-12)


def test_copies_are_at_exactly_zero_and_shifts_at_theirs() -> None:
    true = 10 * torch.randn(50, 64, generator=torch.Generator().manual_seed(0))
    assert nearest_neighbours(true.flip(0), true).distances.eq(0).all()  # by a matrix product some are at 1e-3
    assert nearest_neighbours(true[:7] + 0.25, true).distances.tolist() == [[pytest.approx(0.25 * 8, rel=1e-5)]] * 7


@pytest.mark.parametrize("shift", [0.0, 1e4])
@pytest.mark.parametrize("apart", [1.0, 1e-3, 1e-6])
def test_wide_points_have_the_distances_of_float64(shift: float, apart: float) -> None:
    """By a matrix product in float32 those of near points, or of points far from 0, would have no digits."""
    generator = torch.Generator().manual_seed(0)
    true = torch.randn(700, 300, generator=generator) + shift
    samples = torch.cat([true[:600] + apart * torch.randn(600, 300, generator=generator), true[:20]])
    exact = torch.cdist(samples.double(), true.double(), compute_mode="donot_use_mm_for_euclid_dist")
    found = neighbours.pairwise_distances(samples, true)
    assert found.dtype == torch.float32
    assert torch.allclose(found.double(), exact, rtol=1e-6, atol=0)
    assert found[600:].diagonal().eq(0).all()
