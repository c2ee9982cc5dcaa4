"""The kernel distance of features: a maximum mean discrepancy without bias; KID with those of Inception.

    d = 1/(n (n - 1)) sum_{i != j} [k(x_i, x_j) + k(y_i, y_j)] - 2/n^2 sum_{i, j} k(x_i, y_j)
    k(x, y) = (x.y / D + 1)^3

averaged over subsets of n samples x and n true points y, each drawn without replacement. Source: M. Bińkowski,
D. J. Sutherland, M. Arbel and A. Gretton 2018, "Demystifying MMD GANs", arXiv:1801.01401, section 4, whose 100 subsets
of 1,000 are the defaults. Cost: O(n^2 D) per subset.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from guideplug.metrics.point_sets import check_pair

__all__ = ["KernelDistance", "kernel_distance"]


class KernelDistance(NamedTuple):
    """The mean over subsets, 0 in expectation for equal distributions and also below, and their standard deviation."""

    mean: float
    deviation: float


def kernel_distance(
    samples: Tensor, true: Tensor, *, subsets: int = 100, size: int = 1000, seed: int = 0
) -> KernelDistance:
    """The kernel distance of two sets of features.

    Args:
        samples: (N, D), N >= 2.
        true: (M, D), M >= 2, of the same dtype and device.
        subsets: how many, at least 1.
        size: points of each, at least 2; at most all of the smaller set.
        seed: of the subsets.

    Raises:
        TypeError: no tensors.
        ValueError: other shapes, dtypes or devices, fewer rows, a value that is not finite, or no subsets.
    """
    check_pair(samples, true, 2)
    if subsets < 1 or size < 2:
        raise ValueError(f"subsets are {subsets}, of size {size}: give at least 1, of at least 2")
    generator = torch.Generator().manual_seed(seed)
    size = min(size, len(samples), len(true))

    def drawn(points: Tensor) -> Tensor:
        rows = torch.randperm(len(points), generator=generator)[:size].to(points.device)
        return points.detach()[rows].double()

    values = torch.stack([_discrepancy(drawn(samples), drawn(true)) for _ in range(subsets)])
    return KernelDistance(float(values.mean()), float(values.std(correction=0)))


def _discrepancy(x: Tensor, y: Tensor) -> Tensor:
    count = len(x)
    within = _kernel(x, x).fill_diagonal_(0).sum() + _kernel(y, y).fill_diagonal_(0).sum()
    return within / (count * (count - 1)) - 2 * _kernel(x, y).mean()


def _kernel(x: Tensor, y: Tensor) -> Tensor:
    return (x @ y.mT / x.shape[1] + 1) ** 3
