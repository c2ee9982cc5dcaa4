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
