"""Metrics of samples that should be of a known labelled mixture.

With a density in closed form, what samples are worth is their log density, and their class the one that their exact
densities make most probable. Distances are taken to fresh true samples (`guideplug_mixture.reference`).

Cost: no calls of a denoiser.
"""

from typing import Any, cast, final

import torch
from attrs import frozen
from torch import Tensor

from guideplug import (
    Arm,
    Context,
    Metric,
    PerSample,
    Resampler,
    Source,
    Weighted,
    energy_distance,
    resampled_energy_distance,
    sliced_wasserstein,
)
from guideplug_mixture.reference import density_of, levels, reference

__all__ = ["METRICS"]

NUM_PAIRS = 1024
"""Samples of a class and side whose every pair counts."""
INSIDE = 0.98
FLOOR = -50.0
"""log p below this counts as this in the mean, so that a single stray does not decide it."""


def _log_density(arm: Arm, context: Context) -> Tensor:
    return context.once(f"log p of {arm.name}", lambda: density_of(context).log_prob(arm.samples.double()))


def _classes(arm: Arm, context: Context) -> Tensor:
    """The most probable class of each sample."""
    task = cast(Any, context.task)
    return context.once(f"classes of {arm.name}", lambda: cast(Tensor, task.group_of(arm.samples)))


def _classes_of_true(context: Context) -> Tensor:
    """The most probable class of each of the true samples."""
    return cast(Tensor, cast(Any, context.task).group_of(reference(context)[0]))


def _true_shares(context: Context) -> Tensor:
    return torch.tensor(cast(Any, context.task).class_shares, dtype=torch.float64)


def _shares(weights: Tensor, parts: Tensor, count: int, more: float = 0.0) -> Tensor:
    """The shares (R, count) of samples in each part, by weights (R, N), with ``more`` added to each count."""
    counts = weights.new_zeros(len(weights), count).index_add_(1, parts, weights) + more
    return counts / counts.sum(1, keepdim=True)


@final
@frozen
class MeanLogDensity(PerSample):
    """The mean log density of samples; higher than the truth for narrower samples."""

    name = "mean-log-density"
    better = "higher"
    aspect = "fidelity"
    formula = "mean over samples of max(log p(x), -50)"

    def each(self, arm: Arm, context: Context) -> Tensor:
        return _log_density(arm, context).clamp(min=FLOOR)


@final
@frozen
class Inside(PerSample):
    """The share of samples in the region of nearly all true samples."""

    name = "inside"
    better = "higher"
    aspect = "fidelity"
    formula = "share of samples in the smallest region that holds 98 % of the data, the outermost line of figures"

    def each(self, arm: Arm, context: Context) -> Tensor:
        (threshold,) = levels(density_of(context), (INSIDE,))
        return (_log_density(arm, context) >= threshold).double()


@final
@frozen
class ClassAccuracy(PerSample):
    """The share of samples most likely of their class; below 1 for true samples, because classes overlap."""

    name = "class-accuracy"
    better = "higher"
    aspect = "fidelity"
    formula = "share of samples whose most probable class, by the exact densities, is their condition"

    def each(self, arm: Arm, context: Context) -> Tensor | None:
        if arm.labels is None:
            return None
        return (_classes(arm, context) == arm.labels).double()


@final
@frozen
class ClassShares(Weighted):
    """The divergence of the classes' shares of samples from the true ones."""

    name = "class-shares"
    better = "lower"
    aspect = "coverage"
    formula = "total variation between the shares of the samples' most probable classes and those of true samples"

    def resampler(self, arm: Arm, context: Context) -> Resampler:
        count = len(_true_shares(context))
        true = context.once("classes", lambda: _classes_of_true(context))
        real = torch.bincount(true, minlength=count).double() / len(true)
        classes = _classes(arm, context)
        return lambda weights: (_shares(weights, classes, count) - real).abs().sum(1) / 2


@final
@frozen
class FirstShare(PerSample):
    """The share of samples of class 0, for guidance that shifts a distribution."""

    name = "class-0-share"
    better = "truth"
    aspect = "coverage"
    formula = "share of samples whose most probable class, by the exact densities, is class 0"

    def each(self, arm: Arm, context: Context) -> Tensor:
        return (_classes(arm, context) == 0).double()


@final
@frozen
class ComponentKL(Weighted):
    """The divergence of the components' shares of samples from the true ones."""

    name = "component-kl"
    better = "lower"
    aspect = "coverage"
    formula = (
        "KL(true || samples) between the shares of samples that each component is most responsible for, "
        "half a count added to each"
    )

    def resampler(self, arm: Arm, context: Context) -> Resampler:
        density = density_of(context)
        count = len(density.weights)

        def components(points: Tensor) -> Tensor:
            return density.responsibilities(points.double()).argmax(1)

        true = context.once("true components", lambda: components(reference(context)[0]))
        own = context.once(f"components of {arm.name}", lambda: components(arm.samples))
        real = _shares(torch.ones(1, len(true), dtype=torch.float64), true, count, 0.5)
        return lambda weights: (real * (real.log() - _shares(weights, own, count, 0.5).log())).sum(1)


@final
@frozen
class MMD(Metric):
    """Maximum mean discrepancy of each class with the kernel -|x - y|; unbiased, so it may fall below 0."""

    name = "mmd"
    source = Source(
        "G. J. Székely, M. L. Rizzo",
        2013,
        "Energy Statistics: A Class of Statistics Based on Distances",
        "https://doi.org/10.1016/j.jspi.2013.03.018",
    )
    better = "lower"
    aspect = "both"
    formula = (
        "mean over the classes asked for (without labels, all as one) of 2 E|x - y| - E|x - x'| - E|y - y'| between "
        "the first 1,024 samples and 1,024 true ones of the class; unbiased"
    )

    def measure(self, arm: Arm, context: Context) -> float | None:
        distances = [energy_distance(arm.samples[rows], true) for rows, true in self._pairs(arm, context)]
        return sum(distances) / len(distances) if distances else None

    def resampler(self, arm: Arm, context: Context) -> Resampler | None:
        pairs = self._pairs(arm, context)
        if not pairs:
            return None
        parts = [(rows, resampled_energy_distance(arm.samples[rows], true)) for rows, true in pairs]
        return lambda weights: torch.stack([distance(weights[:, rows]) for rows, distance in parts]).mean(0)

    def _pairs(self, arm: Arm, context: Context) -> list[tuple[Tensor, Tensor]]:
        """Of each class that was asked for the samples' numbers, and true samples."""
        points, labels = reference(context)
        if arm.labels is None:
            pairs = [(torch.arange(len(arm.samples)), points)]
        else:
            classes = range(len(_true_shares(context)))
            pairs = [((arm.labels == label).nonzero()[:, 0], points[labels == label]) for label in classes]
        return [(rows[:NUM_PAIRS], true[:NUM_PAIRS]) for rows, true in pairs if min(len(rows), len(true)) > 1]


@final
@frozen
class ClassMMD(Metric):
    """The same of each class as it is found, so that the classes' shares do not count; unbiased too."""

    name = "class-mmd"
    source = MMD.source
    better = "lower"
    aspect = "both"
    formula = (
        "mean over the most probable classes of mmd's distance between the first 1,024 samples of which it is the most "
        "probable class and 1,024 such true ones"
    )

    def measure(self, arm: Arm, context: Context) -> float | None:
        found, real = _classes(arm, context), context.once("classes", lambda: _classes_of_true(context))
        points, _ = reference(context)
        pairs = [(arm.samples[found == label], points[real == label]) for label in range(len(_true_shares(context)))]
        if min(min(len(a), len(b)) for a, b in pairs) < 2:
            return None
        return sum(energy_distance(a[:NUM_PAIRS], b[:NUM_PAIRS]) for a, b in pairs) / len(pairs)


@final
@frozen
class SlicedW2(Metric):
    """Distance between the distributions along random lines: fidelity and coverage in one number."""

    name = "sliced-w2"
    source = Source(
        "N. Bonneel, J. Rabin, G. Peyré, H. Pfister",
        2015,
        "Sliced and Radon Wasserstein Barycenters of Measures",
        "https://doi.org/10.1007/s10851-014-0506-3",
    )
    better = "lower"
    aspect = "both"
    formula = (
        "sliced 2-Wasserstein distance of at most 16,384 samples to as many true ones, all classes together, "
        "128 projections"
    )

    def measure(self, arm: Arm, context: Context) -> float | None:
        true = reference(context)[0][: len(arm.samples)].double()
        return sliced_wasserstein(arm.samples[: len(true)].double(), true, seed=context.seed)


METRICS: tuple[Metric, ...] = (
    MeanLogDensity(),
    Inside(),
    ClassAccuracy(),
    ClassShares(),
    FirstShare(),
    ComponentKL(),
    MMD(),
    ClassMMD(),
    SlicedW2(),
)
