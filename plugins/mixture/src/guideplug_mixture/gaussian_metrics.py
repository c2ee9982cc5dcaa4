"""Metrics of samples that should be of one known Gaussian.

The 2-Wasserstein distance between Gaussians N(m, S) and N(0, C) is in closed form (Dowson and Landau 1982):

    W2^2 = |m|^2 + tr(S + C - 2 (C^1/2 S C^1/2)^1/2)

``wasserstein`` is the distance between sets of samples, by exact transport with POT (Flamary et al. 2021,
https://pythonot.github.io): it sees more than two moments, and never falls to 0. Cost: no calls of a denoiser.
"""

import math
from typing import final

import torch
from attrs import frozen
from torch import Tensor

from guideplug import Arm, Context, Metric, Resampler, Source, Weighted
from guideplug_mixture.reference import density_of, reference

__all__ = ["METRICS", "NUM_TRANSPORT", "bures_wasserstein", "moments"]

NUM_TRANSPORT = 2048
"""Samples of a side that exact transport is solved for: 0.3 s, and 2.6 s for twice as many."""

MAD = Source(
    "S. Alemohammad, A. I. Humayun, S. Agarwal, J. Collomosse, R. Baraniuk",
    2024,
    "Self-Improving Diffusion Models with Synthetic Data",
    "https://arxiv.org/abs/2408.16333",
)


def moments(samples: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Means (R, 2) and covariances (R, 2, 2) of samples (N, 2) that count as weights (R, N) say, without bias."""
    count = weights.sum(1)
    mean = weights @ samples.double() / count[:, None]
    centred = samples.double() - mean[:, None]  # (R, N, 2)
    covariance = (weights[:, :, None] * centred).mT @ centred / (count - 1)[:, None, None]
    return mean, covariance


def bures_wasserstein(mean: Tensor, covariance: Tensor, other_mean: Tensor, other: Tensor) -> Tensor:
    """The 2-Wasserstein distance between Gaussians, from means (*, 2) and covariances (*, 2, 2), float64."""
    root = _root(other)
    cross = _root(root @ covariance @ root).diagonal(dim1=-2, dim2=-1).sum(-1)
    spread = covariance.diagonal(dim1=-2, dim2=-1).sum(-1) + other.diagonal(dim1=-2, dim2=-1).sum(-1) - 2 * cross
    return ((mean - other_mean).square().sum(-1) + spread).clamp(min=0).sqrt()


def _root(matrix: Tensor) -> Tensor:
    """The positive square root of a symmetric matrix."""
    values, axes = torch.linalg.eigh((matrix + matrix.mT) / 2)
    root: Tensor = (axes * values.clamp(min=0).sqrt()[..., None, :]) @ axes.mT
    return root


@final
@frozen
class MeanError(Weighted):
    """How far the samples' mean is from the true one."""

    name = "mean-error"
    better = "lower"
    aspect = "fidelity"
    formula = "Euclidean distance between the samples' mean and the true mean"

    def resampler(self, arm: Arm, context: Context) -> Resampler:
        mean = density_of(context).mean()
        return lambda weights: (moments(arm.samples, weights)[0] - mean).norm(dim=-1)


@final
@frozen
class LogDet(Weighted):
    """The collapse of variance: below 0 the samples are narrower than the truth."""

    name = "log-det"
    better = "truth"
    aspect = "coverage"
    formula = "log det of the samples' covariance minus log det of the true one"

    def resampler(self, arm: Arm, context: Context) -> Resampler | None:
        if len(arm.samples) < 3:
            return None
        true = density_of(context).covariance().logdet()
        return lambda weights: moments(arm.samples, weights)[1].logdet() - true


@final
@frozen
class Wasserstein(Metric):
    """The distance between samples and true samples by exact transport."""

    name = "wasserstein"
    source = MAD
    better = "lower"
    aspect = "both"
    formula = "2-Wasserstein distance between the first 2,048 samples and as many fresh true ones, by exact transport"

    def measure(self, arm: Arm, context: Context) -> float | None:
        import ot  # most of a second to import, and only metrics need it

        found = arm.samples[:NUM_TRANSPORT].double().numpy()
        real = reference(context)[0][: len(found)].double().numpy()
        return math.sqrt(ot.emd2([], [], ot.dist(found, real), numItermax=1_000_000))


@final
@frozen
class GaussianW2(Weighted):
    """The distance between the Gaussian of the samples' moments and the true one, without the noise of pairing."""

    name = "gaussian-w2"
    source = Source(
        "D. C. Dowson, B. V. Landau",
        1982,
        "The Fréchet Distance between Multivariate Normal Distributions",
        "https://doi.org/10.1016/0047-259X(82)90077-X",
    )
    better = "lower"
    aspect = "both"
    formula = "2-Wasserstein distance between N(mean, covariance of the samples) and the true Gaussian, in closed form"

    def resampler(self, arm: Arm, context: Context) -> Resampler | None:
        if len(arm.samples) < 3:
            return None
        mean, covariance = density_of(context).mean(), density_of(context).covariance()
        return lambda weights: bures_wasserstein(*moments(arm.samples, weights), mean, covariance)


METRICS: tuple[Metric, ...] = (MeanError(), LogDet(), Wasserstein(), GaussianW2())
