"""Metrics of samples beside real ones, for tasks of any data: what is compared is a subclass's to say.

A task has one class for its data, and each of its metrics is that class and one of these:

    class OfRows(BallMetric):
        def balls(self, arm, context): ...

    @final
    @frozen
    class Precision(OfRows, BallPrecision):
        formula = "share of samples within the 5th-neighbour ball of at least one held-out row"
"""

import abc

from torch import Tensor

from guideplug.config import Source
from guideplug.metrics.manifold import NeighbourBalls
from guideplug.metrics.resampled import resampled_coverage, resampled_median
from guideplug.task import Arm, Context, Metric, PerSample, Resampler, Weighted

__all__ = ["BallCoverage", "BallDensity", "BallMetric", "BallPrecision", "BallRecall", "NearestTraining"]

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


class BallMetric(Metric):
    """A metric of the balls that reach from each sample, and each real one, to a near neighbour of its own set."""

    better = "higher"

    @abc.abstractmethod
    def balls(self, arm: Arm, context: Context) -> NeighbourBalls | None:
        """The balls of an arm's samples, or of the first ones, and of real samples; None for too few of either."""


class BallPrecision(BallMetric, PerSample):
    """The share of samples in a ball of a real one."""

    name = "precision"
    source = PRECISION
    aspect = "fidelity"

    def each(self, arm: Arm, context: Context) -> Tensor | None:
        balls = self.balls(arm, context)
        return None if balls is None else balls.precise


class BallDensity(BallMetric, PerSample):
    """The number of real samples' balls that a sample is in, beside the number that it would be in if it were real."""

    name = "density"
    source = DENSITY
    aspect = "fidelity"

    def each(self, arm: Arm, context: Context) -> Tensor | None:
        balls = self.balls(arm, context)
        return None if balls is None else balls.densities


class BallRecall(BallMetric):
    """The share of real samples in a ball of a sample."""

    name = "recall"
    source = PRECISION
    aspect = "coverage"

    def measure(self, arm: Arm, context: Context) -> float | None:
        balls = self.balls(arm, context)
        return None if balls is None else float(balls.recalled.mean())


class BallCoverage(BallMetric, Weighted):
    """The share of real samples whose ball holds a sample."""

    name = "coverage"
    source = DENSITY
    aspect = "coverage"

    def resampler(self, arm: Arm, context: Context) -> Resampler | None:
        balls = self.balls(arm, context)
        if balls is None:
            return None
        coverage, first = resampled_coverage(balls.of_true), slice(balls.of_true.shape[1])
        return lambda weights: coverage(weights[:, first])


class NearestTraining(Weighted):
    """Memorisation: samples much nearer to training examples than unseen real ones are would be copies."""

    source = Source(
        "C. Meehan, K. Chaudhuri, S. Dasgupta",
        2020,
        "A Non-Parametric Test to Detect Data-Copying in Generative Models",
        "https://arxiv.org/abs/2004.05675",
    )
    better = "truth"
    aspect = "memorisation"

    @abc.abstractmethod
    def distances(self, arm: Arm, context: Context) -> Tensor:
        """The distance of each sample to the nearest training example, (N,)."""

    def resampler(self, arm: Arm, context: Context) -> Resampler:
        return resampled_median(self.distances(arm, context))
