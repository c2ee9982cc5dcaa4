"""The metrics of rows whose density nobody knows: samples beside rows that were held out.

Distances are Euclidean over columns in standard deviations of the training rows. Samples are compared with the held-out
rows, which no network has seen; these, as the arm "truth", with as many training rows: what as many perfect samples
would get. At most the first 4,096 rows of each side are compared where every pair counts.

Cost: no calls of a denoiser; exact distances. Optimal transport by POT (Flamary et al. 2021, https://pythonot.github.io).
"""

from collections.abc import Callable
from typing import TypeVar, cast, final

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
    resampled_coverage,
    resampled_energy_distance,
    resampled_median,
)
from guideplug_points.table import Table

__all__ = ["METRICS", "NUM_ROWS", "HasTable", "balls"]

NUM_ROWS = 4096
"""Rows of a side whose every pair counts."""
NEIGHBOURS = 5
CHUNK = 1 << 22
"""Distances held at once."""

PRECISION = Source(
    "T. Kynkäänniemi, T. Karras, S. Laine, J. Lehtinen, T. Aila",
    2019,
    "Improved Precision and Recall Metric for Assessing Generative Models",
    "https://arxiv.org/abs/1904.06991",
)
DENSITY = Source(
    "M. F. Naeem, S. J. Oh, Y. Uh, Y. Choi, J. Yoo",
    2020,
    "Reliable Fidelity and Diversity Metrics for Generative Models",
    "https://arxiv.org/abs/2002.09797",
)

T = TypeVar("T")


class HasTable:
    """What a task has whose samples are rows of a table."""

    table: Table


def _once(context: Context, key: str, make: Callable[[], T]) -> T:
    if key not in context.cache:
        context.cache[key] = make()
    return cast(T, context.cache[key])


def _table(context: Context) -> Table:
    return cast(HasTable, context.task).table


def _standard(arm: Arm, context: Context) -> Tensor:
    """An arm's samples (N, D), in standard deviations."""
    rows = arm.samples.numpy()
    return _once(context, f"rows of {arm.name}", lambda: torch.from_numpy(_table(context).standard(rows)))


def _reference(arm: Arm, context: Context) -> Tensor:
    """The rows (M, D) that an arm is compared with, in standard deviations."""
    table, truth = _table(context), arm.name == "truth"
    return _once(
        context,
        "training rows" if truth else "held-out rows",
        lambda: torch.from_numpy(table.standard(table.second() if truth else table.heldout)),
    )


def _distances(a: Tensor, b: Tensor) -> Tensor:
    """Euclidean distances (N, M), by differences: a copy is at exactly 0."""
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")


def _nearest(arm: Arm, context: Context) -> tuple[Tensor, Tensor]:
    """Distances and numbers of the nearest training rows of each sample, both (N, 5 or fewer)."""

    def find() -> tuple[Tensor, Tensor]:
        table = _table(context)
        train = torch.from_numpy(table.standard(table.train))
        parts = torch.split(_standard(arm, context), max(CHUNK // len(train), 1))
        found = [_distances(part, train).topk(min(NEIGHBOURS, len(train)), largest=False) for part in parts]
        return torch.cat([part.values for part in found]), torch.cat([part.indices for part in found])

    return _once(context, f"nearest of {arm.name}", find)


def balls(real: Tensor, generated: Tensor, k: int = NEIGHBOURS) -> tuple[Tensor, Tensor]:
    """Whether each generated row is in each real row's ball, and each real one in each generated one's.

    A row's ball reaches to its k-th nearest neighbour in its own set, itself not counted.

    Args:
        real: rows (N, D), N > k.
        generated: rows (M, D), M > k.
        k: which neighbour.

    Returns:
        Two matrices, bool (N, M).
    """
    distances = _distances(real, generated)  # (N, M)
    return distances <= _radius(real, k)[:, None], distances <= _radius(generated, k)[None, :]


def _radius(rows: Tensor, k: int) -> Tensor:
    """The distance (N,) of each row to its k-th nearest neighbour."""
    return _distances(rows, rows).kthvalue(k + 1, dim=1).values


def _balls(arm: Arm, context: Context) -> tuple[Tensor, Tensor] | None:
    """The `balls` of the first rows; None for too few."""
    real, samples = _reference(arm, context)[:NUM_ROWS], _standard(arm, context)[:NUM_ROWS]
    if min(len(real), len(samples)) <= NEIGHBOURS:
        return None
    return _once(context, f"balls of {arm.name}", lambda: balls(real, samples))


@final
@frozen
class Precision(PerSample):
    """The share of samples that are where rows are."""

    name = "precision"
    source = PRECISION
    better = "higher"
    aspect = "fidelity"
    formula = "share of samples within the 5th-neighbour ball of at least one held-out row"

    def each(self, arm: Arm, context: Context) -> Tensor | None:
        pair = _balls(arm, context)
        return None if pair is None else pair[0].any(0).double()


@final
@frozen
class Density(PerSample):
    """How densely samples sit among rows; may exceed 1."""

    name = "density"
    source = DENSITY
    better = "higher"
    aspect = "fidelity"
    formula = "mean over samples of the number of 5th-neighbour balls of held-out rows they are in, divided by 5"

    def each(self, arm: Arm, context: Context) -> Tensor | None:
        pair = _balls(arm, context)
        return None if pair is None else pair[0].double().sum(0) / NEIGHBOURS


@final
@frozen
class ClassAccuracy(PerSample):
    """How often the neighbours of a sample are of the class that was asked for."""

    name = "class accuracy"
    source = Source(
        "T. Cover, P. Hart", 1967, "Nearest Neighbor Pattern Classification", "https://doi.org/10.1109/TIT.1967.1053964"
    )
    better = "higher"
    aspect = "fidelity"
    formula = "share of samples whose condition is the class of most of their 5 nearest training rows"

    def each(self, arm: Arm, context: Context) -> Tensor | None:
        table = _table(context)
        if not table.classes or arm.labels is None:
            return None
        voters = torch.from_numpy(table.train_labels)[_nearest(arm, context)[1]]  # (N, 5), nearest first
        votes = torch.zeros(len(voters), len(table.classes))
        votes.scatter_add_(1, voters, torch.ones(voters.shape))
        votes.scatter_add_(1, voters[:, :1], torch.full((len(voters), 1), 0.5))  # a tie goes to the nearest
        return (votes.argmax(1) == arm.labels).double()


@final
@frozen
class Recall(Metric):
    """The share of rows that samples reach."""

    name = "recall"
    source = PRECISION
    better = "higher"
    aspect = "coverage"
    formula = "share of held-out rows within the 5th-neighbour ball of at least one sample"

    def measure(self, arm: Arm, context: Context) -> float | None:
        pair = _balls(arm, context)
        return None if pair is None else float(pair[1].any(1).double().mean())


@final
@frozen
class Coverage(Weighted):
    """The share of rows that have a sample near."""

    name = "coverage"
    source = DENSITY
    better = "higher"
    aspect = "coverage"
    formula = "share of held-out rows whose 5th-neighbour ball holds at least one sample"

    def resampler(self, arm: Arm, context: Context) -> Resampler | None:
        pair = _balls(arm, context)
        if pair is None:
            return None
        coverage = resampled_coverage(pair[0])
        return lambda weights: coverage(weights[:, :NUM_ROWS])


@final
@frozen
class SlicedWasserstein(Metric):
    """Distance between the distributions along random lines: fidelity and coverage in one number."""

    name = "sliced W2"
    source = Source(
        "N. Bonneel, J. Rabin, G. Peyré, H. Pfister",
        2015,
        "Sliced and Radon Wasserstein Barycenters of Measures",
        "https://doi.org/10.1007/s10851-014-0506-3",
    )
    better = "lower"
    aspect = "both"
    formula = "sliced 2-Wasserstein distance to the held-out rows (POT), 128 projections, in standard deviations"

    def measure(self, arm: Arm, context: Context) -> float | None:
        import ot  # most of a second to import, and only metrics need it

        found, real = _standard(arm, context).numpy(), _reference(arm, context).numpy()
        return float(ot.sliced_wasserstein_distance(found, real, n_projections=128, seed=context.seed))


@final
@frozen
class EnergyDistance(Metric):
    """Maximum mean discrepancy with the kernel -|x - y|; unbiased, so it may fall below 0."""

    name = "energy distance"
    source = Source(
        "G. J. Székely, M. L. Rizzo",
        2013,
        "Energy Statistics: A Class of Statistics Based on Distances",
        "https://doi.org/10.1016/j.jspi.2013.03.018",
    )
    better = "lower"
    aspect = "both"
    formula = "2 E|x - y| - E|x - x'| - E|y - y'| between samples and held-out rows, in standard deviations; unbiased"

    def measure(self, arm: Arm, context: Context) -> float | None:
        found, real = _standard(arm, context)[:NUM_ROWS], _reference(arm, context)[:NUM_ROWS]
        if min(len(found), len(real)) < 2:
            return None
        return float(2 * _distances(found, real).mean() - torch.pdist(found).mean() - torch.pdist(real).mean())

    def resampler(self, arm: Arm, context: Context) -> Resampler | None:
        samples, real = _standard(arm, context)[:NUM_ROWS], _reference(arm, context)[:NUM_ROWS]
        if min(len(samples), len(real)) < 2:
            return None
        distance = resampled_energy_distance(samples, real)
        return lambda weights: distance(weights[:, :NUM_ROWS])


@final
@frozen
class NearestTrainingRow(Weighted):
    """Memorisation: samples much nearer to training rows than unseen rows are would be copies."""

    name = "nearest training row"
    source = Source(
        "C. Meehan, K. Chaudhuri, S. Dasgupta",
        2020,
        "A Non-Parametric Test to Detect Data-Copying in Generative Models",
        "https://arxiv.org/abs/2004.05675",
    )
    better = "truth"
    aspect = "memorisation"
    formula = "median over samples of the distance to the nearest training row, in standard deviations"

    def resampler(self, arm: Arm, context: Context) -> Resampler:
        return resampled_median(_nearest(arm, context)[0][:, 0])


METRICS: tuple[Metric, ...] = (
    Precision(),
    Density(),
    ClassAccuracy(),
    Recall(),
    Coverage(),
    SlicedWasserstein(),
    EnergyDistance(),
    NearestTrainingRow(),
)
