"""Nearest neighbours: Euclidean distances, and the nearest rows of another set.

    |a - b| = (sum_d (a_d - b_d)^2)^1/2

The median distance of samples to the nearest training example tells memorisation: much below that of unseen examples,
samples are copies. Source: C. Meehan, K. Chaudhuri and S. Dasgupta 2020, "A Non-Parametric Test to Detect Data-Copying
in Generative Models", arXiv:2004.05675, reduced to one number. Cost: O(N M D) time; distances are held in blocks.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from guideplug.metrics.point_sets import check_pair

__all__ = ["Neighbours", "nearest_neighbours", "pairwise_distances"]

MOST_DISTANCES = 1 << 22
"""Distances held at once."""
WIDE = 256
"""The least number of columns for which a matrix product is quicker enough."""
BLOCK = 512
CLOSE = 1e-6
"""Squared distances below this part of the squared lengths are computed by differences: above it, the rounding of
float64 is 1e-9 of them."""


class Neighbours(NamedTuple):
    """The nearest rows of another set, nearest first: their distances and their numbers, both (N, k)."""

    distances: Tensor
    indices: Tensor


def nearest_neighbours(samples: Tensor, true: Tensor, k: int = 1) -> Neighbours:
    """The k nearest true rows of each sample.

    Args:
        samples: (N, D), N >= 1.
        true: (M, D), M >= k, of the same dtype and device.
        k: how many neighbours.

    Returns:
        Distances, in the units of the points, and indices int64 into ``true``, both (N, k). A copy is at exactly 0.

    Raises:
        TypeError: no tensors.
        ValueError: other shapes, dtypes or devices, k below 1, fewer than k true rows, or a value that is not finite.
    """
    check_pair(samples, true)
    if not 1 <= k <= len(true):
        raise ValueError(f"k is {k}: give at least 1, and at most the {len(true)} rows of true")
    blocks = torch.split(samples, max(MOST_DISTANCES // len(true), 1))
    nearest = [pairwise_distances(block, true).topk(k, largest=False) for block in blocks]
    return Neighbours(torch.cat([one.values for one in nearest]), torch.cat([one.indices for one in nearest]))


def pairwise_distances(samples: Tensor, true: Tensor) -> Tensor:
    """Euclidean distances (N, M) of points (N, D) and (M, D): a copy is at exactly 0. No gradients.

    By differences; of `WIDE` points in float32 by |a|^2 + |b|^2 - 2 a b in float64, which is ten times as quick, with
    those by differences where it would lose digits that float32 has.
    """
    x, y = samples.detach(), true.detach()
    if x.dtype != torch.float32 or x.shape[1] < WIDE:
        return torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")
    distances = x.new_empty(len(x), len(y))
    centre = y.double().mean(0)  # the distances of points far from 0 would have fewer digits
    near = y.double() - centre
    lengths = near.square().sum(1)
    for rows, out in zip(torch.split(x, BLOCK), torch.split(distances, BLOCK), strict=True):
        centred = rows.double() - centre
        sums = centred.square().sum(1)[:, None] + lengths
        squares = torch.addmm(sums, centred, near.mT, alpha=-2)
        out.copy_(squares.clamp(min=0).sqrt())
        close, which = (squares < CLOSE * sums).nonzero(as_tuple=True)
        for some, others in zip(torch.split(close, BLOCK), torch.split(which, BLOCK), strict=True):
            out[some, others] = (rows[some].double() - y[others].double()).square().sum(1).sqrt().float()
    return distances
