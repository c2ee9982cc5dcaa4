"""Metrics of the tree, most of them exact because the density is known.

Two thresholds on log p of the clean tree are in use, and must not be mixed: the outline of the paper's figures,
log p >= -1.597 (98.8 % of true samples), and AJEST's classification score, log p >= -2.12 (99.4 %).

Sources: arXiv:2406.02507 (average loss, L2, outline); arXiv:2509.15267 and its released code (outer loss, mandala,
classification).
"""

import abc
from typing import Any, cast, final

import torch
from attrs import frozen
from torch import Tensor

from guideplug import (
    Arm,
    Context,
    Denoiser,
    LogNormal,
    Metric,
    PerSample,
    Resampler,
    SampleStreams,
    Task,
    Weighted,
    energy_distance,
    resampled_energy_distance,
    sliced_wasserstein,
    wasserstein,
)
from guideplug_tree.mixture import TreeMixture, tree_mixture

__all__ = ["CLASSIFICATION", "METRICS", "OUTLINE"]

OUTLINE = -1.597
"""The threshold on log p of the outline in the figures: -sqrt(max log p - log p) >= -2.12 for class A."""
CLASSIFICATION = -2.12
"""AJEST's threshold on log p itself."""
NUM_LOSS_POINTS = 16384
NUM_TRANSPORT_POINTS = 2048
NUM_REFERENCE_POINTS = 16384
FLOOR = -50.0
"""log p below this counts as this in the mean, so that a single stray does not decide it."""
NOISE = LogNormal(-2.3, 1.5)
OUTER_DEPTH = 5
GRID, CELL, ORIGIN = 101, 0.03, (0.0030, 0.0325)


def _mixture(context: Context) -> TreeMixture:
    return cast(TreeMixture, cast(Any, context.task).mixture)


def _reference(context: Context) -> Tensor:
    """True points other than those of the arm "truth"."""

    def draw() -> Tensor:
        streams = SampleStreams(context.seed, range(NUM_REFERENCE_POINTS))
        uniform, normal = streams.uniform((), "reference component"), streams.normal((2,), "reference point")
        return _mixture(context).sample_from(uniform, normal)

    return context.once("reference", draw)


def _log_density(arm: Arm, context: Context) -> Tensor:
    return context.once(f"log p of {arm.name}", lambda: _mixture(context).log_prob(arm.samples))


@torch.no_grad()
def _score_loss(denoiser: Denoiser, context: Context, key: str, data: TreeMixture) -> float | None:
    """Mean over fresh (x, sigma) of sigma^2 times the mean over dimensions of the squared score error.

    None for a guided denoiser with a weight that depends on where a step goes: it has no value at a level alone.
    """

    def draw() -> tuple[Tensor, Tensor, Tensor]:
        streams = SampleStreams(context.seed, range(NUM_LOSS_POINTS))
        sigma = (NOISE.mean + NOISE.std * streams.normal((), f"{key} level")).exp()
        clean = data.sample_from(streams.uniform((), f"{key} component"), streams.normal((2,), f"{key} point"))
        x = clean + sigma[:, None] * streams.normal((2,), f"{key} noise")
        return x, sigma, data.denoise(x, sigma)

    x, sigma, target = context.once(key, draw)
    device = next(iter(denoiser.parameters()), x).device
    try:
        error = denoiser(x.to(device), sigma.to(device)).cpu() - target
    except ValueError:
        return None
    return float((error.square().mean(1) / sigma**2).mean())


def _plain(task: Task) -> bool:
    return not getattr(task, "labels", False)


@final
@frozen
class AverageLoss(Metric):
    """The error of the denoiser's score over the training distribution."""

    name = "average loss"
    better = "lower"
    aspect = "accuracy"
    formula = "E over x ~ p(x; s), log s ~ N(-2.3, 1.5^2) of s^2 mean_d (score(x; s) - true score)_d^2; 16,384 draws"

    def measure(self, arm: Arm, context: Context) -> float | None:
        if arm.denoiser is None or not _plain(context.task):
            return None
        return _score_loss(arm.denoiser, context, "average loss", _mixture(context))


@final
@frozen
class OuterLoss(Metric):
    """The same on the twigs, whose own mixture is the target; a perfect model of the tree scores 0.187."""

    name = "outer loss"
    better = "lower"
    aspect = "accuracy"
    formula = "as average loss, with x from branches of depth 5 and 6 only and the score of that mixture as the target"

    def measure(self, arm: Arm, context: Context) -> float | None:
        if arm.denoiser is None or not _plain(context.task):
            return None
        classes = cast(Any, {"A": "A", "B": "B", "both": "AB"}[cast(Any, context.task).classes])
        return _score_loss(arm.denoiser, context, "outer loss", tree_mixture(classes, OUTER_DEPTH))


@final
@frozen
class L2(PerSample):
    """The distance of each sample from that of the exact score for the same noise."""

    name = "L2"
    better = "lower"
    aspect = "accuracy"
    formula = "mean Euclidean distance between the samples and the exact score's end points from the same noise"

    def each(self, arm: Arm, context: Context) -> Tensor | None:
        exact = context.references["exact"]
        if arm.start is None or exact.start is None or not torch.equal(arm.start, exact.start):
            return None
        distances: Tensor = (arm.samples - exact.samples).norm(dim=1)
        return distances


@final
@frozen
class Classification(PerSample):
    """AJEST's share of samples that belong to the tree."""

    name = "classification"
    better = "higher"
    aspect = "fidelity"
    formula = "share of samples with log p(x) >= -2.12"

    def each(self, arm: Arm, context: Context) -> Tensor:
        return (_log_density(arm, context) >= CLASSIFICATION).float()


@final
@frozen
class InsideOutline(PerSample):
    """The share of samples inside the outline that the figures draw."""

    name = "inside outline"
    better = "higher"
    aspect = "fidelity"
    formula = "share of samples with log p(x) >= -1.597"

    def each(self, arm: Arm, context: Context) -> Tensor:
        return (_log_density(arm, context) >= OUTLINE).float()


@final
@frozen
class Mandala(Metric):
    """AJEST's share of visited cells that lie on the tree; depends on the number of samples."""

    name = "mandala"
    better = "higher"
    aspect = "fidelity"
    formula = (
        "on a grid of 101 x 101 cells of side .03 around the root: cells hit by a sample with log p >= -2.12, "
        "over all cells that are hit"
    )

    def measure(self, arm: Arm, context: Context) -> float | None:
        corner = torch.tensor(ORIGIN) - GRID * CELL / 2
        cells = ((arm.samples - corner) / CELL).floor().long()
        within = ((cells >= 0) & (cells < GRID)).all(1)
        number = cells[:, 0] * GRID + cells[:, 1]
        inside = _log_density(arm, context) >= CLASSIFICATION
        hit = torch.unique(number[within])
        good = torch.unique(number[within & inside])
        return len(good) / len(hit) if len(hit) else 0.0


@final
@frozen
class MeanLogDensity(PerSample):
    """The mean log density of samples; higher than the truth for narrower samples."""

    name = "mean log density"
    better = "higher"
    aspect = "fidelity"
    formula = "mean over samples of max(log p(x), -50)"

    def each(self, arm: Arm, context: Context) -> Tensor:
        return _log_density(arm, context).clamp(min=FLOOR)


@final
@frozen
class OutlierShare(PerSample):
    """Samples less likely than almost every true one; true samples score 0.01."""

    name = "outlier share"
    better = "lower"
    aspect = "fidelity"
    formula = "share of samples with log p(x) below the 1 % quantile of log p over true samples"

    def each(self, arm: Arm, context: Context) -> Tensor:
        quantile = context.once(
            "quantile", lambda: float(_mixture(context).log_prob(_reference(context)).quantile(0.01))
        )
        return (_log_density(arm, context) < quantile).float()


class _OccupancyKL(Weighted):
    """How unlike the truth an arm's samples are spread over parts of the tree."""

    better = "lower"
    aspect = "coverage"

    @abc.abstractmethod
    def part(self, mixture: TreeMixture) -> Tensor:
        """The part that each component belongs to, int64 (M,), numbered from 0."""

    def resampler(self, arm: Arm, context: Context) -> Resampler:
        part = self.part(_mixture(context))
        num_parts = int(part.max()) + 1
        true = (
            torch.bincount(part[_components("the reference", _reference(context), context)], minlength=num_parts)
        ) + 0.5
        true = true.double() / true.double().sum()
        parts = part[_components(arm.name, arm.samples, context)]  # (N,)

        def divergence(weights: Tensor) -> Tensor:
            counts = weights.new_zeros(len(weights), num_parts).index_add_(1, parts, weights) + 0.5
            return (true * (true.log() - (counts / counts.sum(1, keepdim=True)).log())).sum(1)

        return divergence


def _components(name: str, samples: Tensor, context: Context) -> Tensor:
    """The component most responsible for each sample, (N,)."""
    return context.once(f"components of {name}", lambda: _mixture(context).assign(samples))


@final
@frozen
class BranchKL(_OccupancyKL):
    """The divergence of the branches' shares of samples from the true ones; true samples score counting noise."""

    name = "branch KL"
    formula = (
        "KL(true || arm) between the shares of samples whose most responsible component is on each branch, "
        "half a count added to each"
    )

    def part(self, mixture: TreeMixture) -> Tensor:
        return mixture.component_branches


@final
@frozen
class ComponentKL(_OccupancyKL):
    """The divergence of the components' shares of samples from the true ones: finer than branches, and noisier."""

    name = "component KL"
    formula = (
        "KL(true || arm) between the shares of samples that each component is most responsible for, "
        "half a count added to each"
    )

    def part(self, mixture: TreeMixture) -> Tensor:
        return torch.arange(mixture.num_components)


@final
@frozen
class SlicedWasserstein(Metric):
    """Distance to the true distribution along random lines: fidelity and coverage in one number."""

    name = "sliced W2"
    better = "lower"
    aspect = "both"
    formula = "sliced 2-Wasserstein distance of at most 16,384 samples to true ones (POT), 128 projections"

    def measure(self, arm: Arm, context: Context) -> float | None:
        true = _reference(context)[: len(arm.samples)].double()
        return sliced_wasserstein(arm.samples[: len(true)].double(), true, seed=context.seed)


@final
@frozen
class Wasserstein(Metric):
    """Distance to the true distribution by exact optimal transport, of the first 2,048 samples."""

    name = "W2"
    better = "lower"
    aspect = "both"
    formula = "2-Wasserstein distance between the first 2,048 samples and 2,048 true ones, by exact transport (POT)"

    def measure(self, arm: Arm, context: Context) -> float | None:
        samples = arm.samples[:NUM_TRANSPORT_POINTS].double()
        return wasserstein(samples, _reference(context)[: len(samples)].double())


@final
@frozen
class EnergyDistance(Metric):
    """Maximum mean discrepancy with the energy kernel -|x - y|, of the first 4,096 samples."""

    name = "energy MMD"
    better = "lower"
    aspect = "both"
    formula = "2 E|x - y| - E|x - x'| - E|y - y'| between the first 4,096 samples and as many true ones, unbiased"

    def measure(self, arm: Arm, context: Context) -> float | None:
        count = min(2 * NUM_TRANSPORT_POINTS, len(arm.samples))
        if count < 2:
            return None
        return energy_distance(arm.samples[:count].double(), _reference(context)[:count].double())

    def resampler(self, arm: Arm, context: Context) -> Resampler | None:
        count = min(2 * NUM_TRANSPORT_POINTS, len(arm.samples))
        if count < 2:
            return None
        distance = resampled_energy_distance(arm.samples[:count], _reference(context)[:count])
        return lambda weights: distance(weights[:, :count])


METRICS: tuple[Metric, ...] = (
    Classification(),
    InsideOutline(),
    Mandala(),
    MeanLogDensity(),
    OutlierShare(),
    BranchKL(),
    ComponentKL(),
    SlicedWasserstein(),
    Wasserstein(),
    EnergyDistance(),
    AverageLoss(),
    OuterLoss(),
    L2(),
)
