"""Metrics of rows with an unknown density: samples against held-out rows.

Distances are Euclidean over columns in standard deviations of the training rows. Samples are compared with the held-out
rows, which no network has seen; these, as the arm "truth", with as many training rows: what as many perfect samples
would get. At most the first 4,096 rows of each side are compared where every pair counts.

Cost: no calls of a denoiser; exact distances.
"""

from typing import cast, final

import torch
from attrs import frozen
from torch import Tensor

from guideplug import (
    Arm,
    BallCoverage,
    BallDensity,
    BallMetric,
    BallPrecision,
    BallRecall,
    Context,
    Metric,
    NearestTraining,
    NeighbourBalls,
    Neighbours,
    PerSample,
    Resampler,
    Source,
    energy_distance,
    nearest_neighbours,
    neighbour_balls,
    resampled_energy_distance,
    sliced_wasserstein,
)
from guideplug_points.table import Table

__all__ = ["METRICS", "NUM_ROWS", "HasTable"]

NUM_ROWS = 4096
"""Rows of a side whose every pair counts."""
NEIGHBOURS = 5


class HasTable:
    """The interface of tasks with rows of a table as samples."""

    table: Table


def _table(context: Context) -> Table:
    return cast(HasTable, context.task).table


def _standard(arm: Arm, context: Context) -> Tensor:
    """An arm's samples (N, D), in standard deviations."""
    rows = arm.samples.numpy()
    return context.once(f"rows of {arm.name}", lambda: torch.from_numpy(_table(context).standard(rows)))


def _reference(arm: Arm, context: Context) -> Tensor:
    """The rows (M, D) that an arm is compared with, in standard deviations."""
    table, truth = _table(context), arm.name == "truth"
    return context.once(
        "training rows" if truth else "held-out rows",
        lambda: torch.from_numpy(table.standard(table.second() if truth else table.heldout)),
    )


def _nearest(arm: Arm, context: Context) -> Neighbours:
    """The 5 nearest training rows of each sample, or fewer."""

    def nearest() -> Neighbours:
        table = _table(context)
        train = torch.from_numpy(table.standard(table.train))
        return nearest_neighbours(_standard(arm, context), train, min(NEIGHBOURS, len(train)))

    return context.once(f"nearest of {arm.name}", nearest)


class OfRows(BallMetric):
    """A metric of the balls of the first rows."""

    fewest = NEIGHBOURS + 1

    def balls(self, arm: Arm, context: Context) -> NeighbourBalls | None:
        real, samples = _reference(arm, context)[:NUM_ROWS], _standard(arm, context)[:NUM_ROWS]
        if min(len(real), len(samples)) <= NEIGHBOURS:
            return None
        return context.once(f"balls of {arm.name}", lambda: neighbour_balls(samples, real, NEIGHBOURS))


@final
@frozen
class Precision(OfRows, BallPrecision):
    """The share of samples in the region of the rows."""

    formula = "share of samples within the 5th-neighbour ball of at least one held-out row"


@final
@frozen
class Density(OfRows, BallDensity):
    """The density of samples among rows; may exceed 1."""

    formula = "mean over samples of the number of 5th-neighbour balls of held-out rows they are in, divided by 5"


@final
@frozen
class Recall(OfRows, BallRecall):
    """The share of rows that samples reach."""

    formula = "share of held-out rows within the 5th-neighbour ball of at least one sample"


@final
@frozen
class Coverage(OfRows, BallCoverage):
    """The share of rows that have a sample near."""

    formula = "share of held-out rows whose 5th-neighbour ball holds at least one sample"


@final
@frozen
class ClassAccuracy(PerSample):
    """The share of a sample's neighbours in its class."""

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
        voters = torch.from_numpy(table.train_labels)[_nearest(arm, context).indices]  # (N, 5), nearest first
        votes = torch.zeros(len(voters), len(table.classes))
        votes.scatter_add_(1, voters, torch.ones(voters.shape))
        votes.scatter_add_(1, voters[:, :1], torch.full((len(voters), 1), 0.5))  # a tie goes to the nearest
        return (votes.argmax(1) == arm.labels).double()


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
        return sliced_wasserstein(_standard(arm, context), _reference(arm, context), seed=context.seed)


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
    fewest = 2
    formula = "2 E|x - y| - E|x - x'| - E|y - y'| between samples and held-out rows, in standard deviations; unbiased"

    def measure(self, arm: Arm, context: Context) -> float | None:
        samples, real = _standard(arm, context)[:NUM_ROWS], _reference(arm, context)[:NUM_ROWS]
        if min(len(samples), len(real)) < 2:
            return None
        return energy_distance(samples, real, compute_mode="donot_use_mm_for_euclid_dist")

    def resampler(self, arm: Arm, context: Context) -> Resampler | None:
        samples, real = _standard(arm, context)[:NUM_ROWS], _reference(arm, context)[:NUM_ROWS]
        if min(len(samples), len(real)) < 2:
            return None
        distance = resampled_energy_distance(samples, real)
        return lambda weights: distance(weights[:, :NUM_ROWS])


@final
@frozen
class NearestTrainingRow(NearestTraining):
    """Memorisation: samples much nearer to training rows than unseen rows are would be copies."""

    name = "nearest training row"
    formula = "median over samples of the distance to the nearest training row, in standard deviations"

    def distances(self, arm: Arm, context: Context) -> Tensor:
        return _nearest(arm, context).distances[:, 0]


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
