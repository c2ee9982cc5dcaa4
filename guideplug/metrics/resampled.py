"""Measures of resamples: functions of how often each of an arm's samples counts, for `Metric.resampler`.

Each takes what it needs of the samples once, and gives a function of weights, float64 (R, N), a row per resample, to
the measure of each, float64 (R,): that of an arm in which sample i stands weights[r, i] times.
"""

import torch
from torch import Tensor

from guideplug.task import Resampler

__all__ = [
    "resampled_coverage",
    "resampled_energy_distance",
    "resampled_frechet_distance",
    "resampled_median",
]


def resampled_energy_distance(samples: Tensor, true: Tensor) -> Resampler:
    """2 E|x - y| - E|x - x'| - E|y - y'|, pairs of a sample with itself left out.

    Székely and Rizzo 2013, doi:10.1016/j.jspi.2013.03.018. A resample costs N^2 multiplications, in float32.

    Args:
        samples: (N, D), N > 1.
        true: (M, D), M > 1, which are not resampled.
    """
    across = torch.cdist(samples.double(), true.double()).mean(1)  # (N,)
    within = torch.cdist(samples.double(), samples.double())
    middle = within.mean()
    centred = (within - middle).float()  # small numbers, for which float32 is enough
    of_true = torch.pdist(true.double()).mean()

    def distance(weights: Tensor) -> Tensor:
        count = weights.sum(1)
        pairs = ((weights.float() @ centred).double() * weights).sum(1) + middle * count.square()
        return 2 * (weights @ across) / count - pairs / (count * (count - 1)) - of_true

    return distance


def resampled_frechet_distance(samples: Tensor, true: Tensor) -> Resampler:
    """|m - m'|^2 + tr(S + S' - 2 (S'^1/2 S S'^1/2)^1/2) of means and covariances.

    Dowson and Landau 1982, doi:10.1016/0047-259X(82)90077-X. A resample costs N D^2 + 10 D^3 or so multiplications.

    Args:
        samples: features (N, D), N > 1.
        true: features (M, D), M > 1, which are not resampled.
    """
    centre = true.double().mean(0)
    rows, others = samples.double() - centre, true.double() - centre
    values, axes = torch.linalg.eigh(others.T @ others / (len(others) - 1))
    root = (axes * values.clamp(min=0).sqrt()) @ axes.T
    trace = values.sum()

    def distance(weights: Tensor) -> Tensor:
        count = weights.sum(1)
        means = weights @ rows / count[:, None]  # (R, D)
        second = torch.stack([(row[:, None] * rows).T @ rows for row in weights])
        outer = means[:, :, None] * means[:, None, :]
        covariances = (second - count[:, None, None] * outer) / (count - 1)[:, None, None]
        cross = torch.linalg.eigvalsh(root @ covariances @ root).clamp(min=0).sqrt().sum(1)
        distances: Tensor = means.square().sum(1) + covariances.diagonal(dim1=1, dim2=2).sum(1) + trace - 2 * cross
        return distances

    return distance


def resampled_coverage(inside: Tensor) -> Resampler:
    """The share of real samples' balls that hold at least one sample.

    Args:
        inside: bool (M, N), whether sample n is in the ball of real sample m.
    """
    reach = inside.T.float()  # (N, M)
    return lambda weights: ((weights > 0).float() @ reach > 0).double().mean(1)


def resampled_median(values: Tensor) -> Resampler:
    """The median, of an even number the mean of the middle two.

    Args:
        values: of each sample, (N,).
    """
    ordered, order = values.double().sort()

    def median(weights: Tensor) -> Tensor:
        reached = weights[:, order].cumsum(1)  # how many are at or below each value
        count = reached[:, -1:]
        low = torch.searchsorted(reached, (count / 2).ceil())[:, 0]
        high = torch.searchsorted(reached, (count / 2).floor() + 1)[:, 0]
        return (ordered[low] + ordered[high]) / 2

    return median
