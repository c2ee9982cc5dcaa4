"""Gaussians that are given by moments, as of reference statistics, and their Fréchet distance by eigenvalues.

    d^2 = |m - m'|^2 + tr S + tr S' - 2 |R R'^T|_*       S = R^T R,  S' = R'^T R'

|.|_*, the sum of singular values, is tr (S^1/2 S' S^1/2)^1/2. R is the Cholesky factor where S is far from singular.
Elsewhere it holds the axes of S, each times the root of its eigenvalue; eigenvalues below D times the rounding of the
largest are 0, so that a singular covariance, as of fewer points than columns, adds no roots of rounding. Source of the
distance: `guideplug.metrics.frechet`, whose `frechet_distance` is the same number from the points. Cost: O(D^3) per
covariance and per pair; for D = 2048 about half a minute of a core.
"""

from functools import cached_property
from typing import final

import attrs
import torch
from torch import Tensor

from guideplug.metrics.moments import Moments

__all__ = ["Gaussian"]

FAR = 1e3
"""How far above rounding the squared pivots of a covariance are that is far from singular; a fifth of the time."""


def _exact(part: Tensor) -> Tensor:
    return part.detach().cpu().double()


@final
@attrs.frozen(eq=False)
class Gaussian:
    """Mean and covariance of features. In float64, on the CPU.

    Args:
        mean: (D,).
        covariance: (D, D), symmetric and positive semi-definite.

    Raises:
        ValueError: shapes that do not fit, or a value that is not finite.
    """

    mean: Tensor = attrs.field(converter=_exact)
    covariance: Tensor = attrs.field(converter=_exact)

    def __attrs_post_init__(self) -> None:
        width = self.mean.numel()
        if self.mean.ndim != 1 or not width or tuple(self.covariance.shape) != (width, width):
            shapes = f"{tuple(self.mean.shape)} and {tuple(self.covariance.shape)}"
            raise ValueError(f"mean and covariance have shapes {shapes}: give (D,) and (D, D)")
        if not bool(self.mean.isfinite().all() and self.covariance.isfinite().all()):
            raise ValueError("mean or covariance has a value that is not finite")

    @classmethod
    def of(cls, moments: Moments) -> "Gaussian":
        """The Gaussian of points' mean and sample covariance.

        Raises:
            ValueError: there are fewer than 2 points.
        """
        return cls(moments.mean, moments.covariance)

    @cached_property
    def root(self) -> Tensor:
        """R, (r, D) of full rank r, with R^T R = the covariance."""
        covariance = (self.covariance + self.covariance.mT) / 2
        rounding = len(covariance) * torch.finfo(covariance.dtype).eps
        factor, failed = torch.linalg.cholesky_ex(covariance)
        if not failed and bool(factor.diagonal().min() ** 2 > FAR * rounding * covariance.trace()):
            return torch.as_tensor(factor.mT)
        values, axes = torch.linalg.eigh(covariance)
        kept = values > rounding * values[-1].clamp(min=0)
        root: Tensor = values[kept].sqrt()[:, None] * axes.mT[kept]
        return root

    def frechet(self, other: "Gaussian") -> float:
        """d^2, the squared Fréchet distance to another Gaussian, at least 0.

        Raises:
            ValueError: the other has another number of features.
        """
        if len(self.mean) != len(other.mean):
            raise ValueError(f"Gaussians of {len(self.mean)} and of {len(other.mean)} features have no distance")
        cross = torch.linalg.svdvals(self.root @ other.root.mT).sum()
        spread = self.covariance.trace() + other.covariance.trace() - 2 * cross
        return max(0.0, float((self.mean - other.mean).square().sum() + spread))
