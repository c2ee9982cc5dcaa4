"""Mean and covariance of any number of points, in one pass, in float64.

Kept are the count n, the mean m and the sum of squared deviations C = sum_i (x_i - m)(x_i - m)^T. A further batch, or
the points of another process, are merged by

    d = m' - m,    m += d n' / (n + n'),    C += C' + d d^T n n' / (n + n')

Source: T. F. Chan, G. H. Golub and R. J. LeVeque 1983, "Algorithms for Computing the Sample Variance: Analysis and
Recommendations", doi:10.1080/00031305.1983.10483115, equation 2.1. Sums of x x^T, from which n m m^T is subtracted at
the end, lose as many digits as (m / deviation)^2 has; here none are lost. Cost: O(N D^2) time, D^2 numbers of memory.
"""

from typing import Self, final

import attrs
import torch
from torch import Tensor

from guideplug.metrics.point_sets import check_points

__all__ = ["Moments"]


@final
@attrs.frozen(eq=False)
class Moments:
    """Count, mean and squared deviations of points; a value, to which `add` and `merge` give another.

    Args:
        count: points so far.
        mean: (D,), float64.
        deviations: sum of (x - m)(x - m)^T, (D, D), float64.
    """

    count: int
    mean: Tensor
    deviations: Tensor

    @classmethod
    def of(cls, points: Tensor) -> Self:
        """The moments of points (N, D), N >= 1.

        Raises:
            TypeError: no tensor.
            ValueError: another shape or dtype, or a value that is not finite.
        """
        check_points(points, "points")
        rows = points.detach().cpu().double()
        mean = rows.mean(0)
        centred = rows - mean
        return cls(len(rows), mean, centred.mT @ centred)

    def add(self, points: Tensor) -> Self:
        """These points and further ones (N, D).

        Raises:
            TypeError: as `of`.
            ValueError: as `of`, or another D.
        """
        return self.merge(type(self).of(points))

    def merge(self, other: Self) -> Self:
        """The points of both, such as those of another process.

        Raises:
            ValueError: another D.
        """
        if self.mean.shape != other.mean.shape:
            raise ValueError(f"points of {len(self.mean)} and of {len(other.mean)} columns have no common moments")
        count = self.count + other.count
        step = other.mean - self.mean
        between = torch.outer(step, step) * (self.count * other.count / count)
        return type(self)(count, self.mean + step * (other.count / count), self.deviations + other.deviations + between)

    @property
    def covariance(self) -> Tensor:
        """The sample covariance C / (n - 1), (D, D).

        Raises:
            ValueError: there are fewer than 2 points.
        """
        if self.count < 2:
            raise ValueError(f"{self.count} point has no covariance: give at least 2")
        return self.deviations / (self.count - 1)
