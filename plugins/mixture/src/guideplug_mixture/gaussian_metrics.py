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

from guideplug import Arm, Context, Metric, Source
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


def moments(samples: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (2,) and covariance (2, 2) of samples (N, 2), float64, without bias."""
    return samples.double().mean(0), torch.cov(samples.double().T)


def bures_wasserstein(mean: Tensor, covariance: Tensor, other_mean: Tensor, other: Tensor) -> float:
    """The 2-Wasserstein distance between two Gaussians, from means (2,) and covariances (2, 2), float64."""
    root = _root(other)
    squared = (mean - other_mean).square().sum() + (covariance + other - 2 * _root(root @ covariance @ root)).trace()
    return float(squared.clamp(min=0).sqrt())


def _root(matrix: Tensor) -> Tensor:
    """The positive square root of a symmetric matrix."""
    values, axes = torch.linalg.eigh((matrix + matrix.mT) / 2)
    root: Tensor = (axes * values.clamp(min=0).sqrt()) @ axes.mT
    return root


@final
@frozen
class MeanError(Metric):
    """How far the samples' mean is from the true one."""

    name = "mean-error"
    better = "lower"
    aspect = "fidelity"
    formula = "Euclidean distance between the samples' mean and the true mean"

    def measure(self, arm: Arm, context: Context) -> float | None:
        return float((moments(arm.samples)[0] - density_of(context).mean()).norm())


@final
@frozen
class LogDet(Metric):
    """The collapse of variance: below 0 the samples are narrower than the truth."""

    name = "log-det"
    better = "truth"
    aspect = "coverage"
    formula = "log det of the samples' covariance minus log det of the true one"

    def measure(self, arm: Arm, context: Context) -> float | None:
        if len(arm.samples) < 3:
            return None
        return float(moments(arm.samples)[1].logdet() - density_of(context).covariance().logdet())


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
class GaussianW2(Metric):
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

    def measure(self, arm: Arm, context: Context) -> float | None:
        if len(arm.samples) < 3:
            return None
        density = density_of(context)
        return bures_wasserstein(*moments(arm.samples), density.mean(), density.covariance())


METRICS: tuple[Metric, ...] = (MeanError(), LogDet(), Wasserstein(), GaussianW2())
