"""The kernel distance of features: a maximum mean discrepancy without bias; KID with those of Inception.

    d = 1/(n (n - 1)) sum_{i != j} [k(x_i, x_j) + k(y_i, y_j)] - 2/n^2 sum_{i, j} k(x_i, y_j)
    k(x, y) = (x.y / D + 1)^3

averaged over subsets of n samples x and n true points y, each drawn without replacement. Source: M. Bińkowski,
D. J. Sutherland, M. Arbel and A. Gretton 2018, "Demystifying MMD GANs", arXiv:1801.01401, section 4, whose 100 subsets
of 1,000 are the defaults. A subset's sums are u^T K v with the kernels K of all points and 0 or 1 in u and v, so K is
computed once where there are not many more points than in a subset. Cost: O(N M D), or O(n^2 D) per subset.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from guideplug.metrics.point_sets import check_pair

__all__ = ["KernelDistance", "kernel_distance"]

ROWS = 512
"""Rows of kernels held at once."""


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
    x, y = samples.detach(), true.detach()
    drawn = [[torch.randperm(len(points), generator=generator)[:size] for points in (x, y)] for _ in range(subsets)]
    if len(x) * len(y) <= subsets * size**2:
        chosen = [torch.zeros(subsets, len(points), dtype=torch.float64) for points in (x, y)]
        for number, rows in enumerate(drawn):
            for one, taken in zip(chosen, rows, strict=True):
                one[number, taken] = 1
        values = _discrepancies(x, y, *(one.to(x.device) for one in chosen))
    else:
        whole = torch.ones(1, size, dtype=torch.float64, device=x.device)
        values = torch.cat([_discrepancies(x[i.to(x.device)], y[j.to(x.device)], whole, whole) for i, j in drawn])
    return KernelDistance(float(values.mean()), float(values.std(correction=0)))


def _discrepancies(x: Tensor, y: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """The discrepancies (S,) of subsets of x (N, D) and y (M, D) that are 1 in u (S, N) and v (S, M)."""
    count, x, y = u[0].sum(), x.double(), y.double()
    within = _sums(x, x, u, u) - u @ _of_itself(x) + _sums(y, y, v, v) - v @ _of_itself(y)
    return within / (count * (count - 1)) - 2 * _sums(x, y, u, v) / count**2


def _sums(x: Tensor, y: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """u^T K v of each subset, (S,), for the kernels K of x and y, in blocks of rows."""
    parts = zip(torch.split(x, ROWS), torch.split(u, ROWS, dim=1), strict=True)
    total = torch.zeros(len(u), dtype=x.dtype, device=x.device)
    for rows, chosen in parts:
        total += (chosen @ _kernel(rows @ y.mT, x.shape[1]) * v).sum(1)
    return total


def _of_itself(x: Tensor) -> Tensor:
    """k(x_i, x_i) of each point, (N,)."""
    return _kernel(x.square().sum(1), x.shape[1])


def _kernel(products: Tensor, width: int) -> Tensor:
    return (products / width + 1) ** 3
