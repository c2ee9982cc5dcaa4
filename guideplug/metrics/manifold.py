"""Precision, recall, density and coverage: fidelity and diversity by balls around the points of each set.

B(x) is the closed ball around x that reaches to the k-th nearest neighbour of x in its own set, itself not counted.
With true points y_1 .. y_M and samples x_1 .. x_N:

    precision = 1/N  sum_n [x_n in B(y_m) for some m]        share of samples inside at least one true ball
    recall    = 1/M  sum_m [y_m in B(x_n) for some n]        share of true points inside at least one sample's ball
    density   = 1/kN sum_n sum_m [x_n in B(y_m)]             may exceed 1
    coverage  = 1/M  sum_m [x_n in B(y_m) for some n]        share of true balls with at least one sample inside

Sources: T. Kynkäänniemi, T. Karras, S. Laine, J. Lehtinen and T. Aila 2019, "Improved Precision and Recall Metric for
Assessing Generative Models", arXiv:1904.06991, equations 1 and 2 (precision, recall); M. F. Naeem, S. J. Oh, Y. Uh,
Y. Choi and J. Yoo 2020, "Reliable Fidelity and Diversity Metrics for Generative Models", arXiv:2002.09797, section 3
(density, coverage). All depend on N and M: compare at equal counts, and with what as many true points get. Cost:
O((N + M)^2 D) time, and N M + N^2 + M^2 numbers of memory.
"""

from typing import NamedTuple

import attrs
from torch import Tensor

from guideplug.metrics.neighbours import pairwise_distances
from guideplug.metrics.point_sets import check_pair

__all__ = [
    "DensityCoverage",
    "NeighbourBalls",
    "PrecisionRecall",
    "density_coverage",
    "neighbour_balls",
    "precision_recall",
]


class PrecisionRecall(NamedTuple):
    """Shares between 0 and 1; 1 is what equal distributions tend to."""

    precision: float
    recall: float


class DensityCoverage(NamedTuple):
    """Density, at least 0, and coverage, between 0 and 1; 1 is what equal distributions tend to."""

    density: float
    coverage: float


@attrs.frozen(eq=False)
class NeighbourBalls:
    """Which points of one set are in which balls of the other: what the four measures count.

    Args:
        of_true: whether sample n is in the ball of true point m, bool (M, N).
        of_samples: whether true point m is in the ball of sample n, bool (M, N).
        k: the neighbour that balls reach to.
    """

    of_true: Tensor
    of_samples: Tensor
    k: int

    @property
    def precise(self) -> Tensor:
        """Of each sample, 1 where it is in some true ball, else 0: float64 (N,), whose mean is precision."""
        return self.of_true.any(0).double()

    @property
    def densities(self) -> Tensor:
        """Of each sample, the number of true balls that it is in, divided by k: float64 (N,), of mean density."""
        return self.of_true.double().sum(0) / self.k

    @property
    def recalled(self) -> Tensor:
        """Of each true point, 1 where it is in some sample's ball, else 0: float64 (M,), whose mean is recall."""
        return self.of_samples.any(1).double()

    @property
    def covered(self) -> Tensor:
        """Of each true point, 1 where its ball holds some sample, else 0: float64 (M,), whose mean is coverage."""
        return self.of_true.any(1).double()


def neighbour_balls(samples: Tensor, true: Tensor, k: int = 5) -> NeighbourBalls:
    """Which samples are in which true points' balls, and the other way about.

    Args:
        samples: (N, D), N > k; features of images, as a rule.
        true: (M, D), M > k, of the same dtype and device.
        k: which neighbour a ball reaches to, itself not counted.

    Raises:
        TypeError: no tensors.
        ValueError: other shapes, dtypes or devices, k below 1, k rows or fewer, or a value that is not finite.
    """
    if k < 1:
        raise ValueError(f"k is {k}: give at least 1")
    check_pair(samples, true, k + 1)
    distances = pairwise_distances(true, samples)  # (M, N)
    return NeighbourBalls(distances <= _radius(true, k)[:, None], distances <= _radius(samples, k)[None, :], k)


def precision_recall(samples: Tensor, true: Tensor, k: int = 5) -> PrecisionRecall:
    """Improved precision and recall (Kynkäänniemi et al. 2019); arguments and errors as `neighbour_balls`."""
    balls = neighbour_balls(samples, true, k)
    return PrecisionRecall(float(balls.precise.mean()), float(balls.recalled.mean()))


def density_coverage(samples: Tensor, true: Tensor, k: int = 5) -> DensityCoverage:
    """Density and coverage (Naeem et al. 2020); arguments and errors as `neighbour_balls`."""
    balls = neighbour_balls(samples, true, k)
    return DensityCoverage(float(balls.densities.mean()), float(balls.covered.mean()))


def _radius(points: Tensor, k: int) -> Tensor:
    """The distance (N,) of each point to its k-th nearest neighbour, itself not counted."""
    return pairwise_distances(points, points).kthvalue(k + 1, dim=1).values
