"""The metrics of the digits, as guideplug's.

Samples are compared with the reference images, which no network has seen; so are other real images, "truth": what as
many perfect samples would get. Features are the 64 last hidden activations of a
classifier trained on the training half (`guideplug_digits.features`).
"""

from typing import final

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
    PerSample,
    Resampler,
    frechet_distance,
    nearest_neighbours,
    neighbour_balls,
    resampled_frechet_distance,
)
from guideplug_digits.features import digit_classifier
from guideplug_digits.images import load_split

__all__ = ["METRICS"]

NEIGHBOURS = 5


def _features(arm: Arm, context: Context) -> Tensor:
    return context.once(f"features of {arm.name}", lambda: digit_classifier().features(arm.samples))


def _reference(context: Context) -> Tensor:
    """Features of the real images that every arm is compared with."""
    return context.once("reference", lambda: digit_classifier().features(load_split().reference.images))


class OfDigits(BallMetric):
    """A metric of the balls of features."""

    fewest = NEIGHBOURS + 1

    def balls(self, arm: Arm, context: Context) -> NeighbourBalls | None:
        if len(arm.samples) <= NEIGHBOURS:
            return None
        return context.once(
            f"balls of {arm.name}",
            lambda: neighbour_balls(_features(arm, context).double(), _reference(context).double(), NEIGHBOURS),
        )


@final
@frozen
class FrechetDistance(Metric):
    """Distance between Gaussians fitted to features of samples and of real images."""

    name = "Fréchet distance"
    better = "lower"
    aspect = "both"
    fewest = 2
    formula = "|m - m'|^2 + tr(S + S' - 2 (S S')^(1/2)) over 64 features; biased upwards for few samples"

    def measure(self, arm: Arm, context: Context) -> float | None:
        if len(arm.samples) < 2:
            return None
        return frechet_distance(_features(arm, context), _reference(context))

    def resampler(self, arm: Arm, context: Context) -> Resampler | None:
        if len(arm.samples) < 2:
            return None
        return resampled_frechet_distance(_features(arm, context), _reference(context))


@final
@frozen
class Precision(OfDigits, BallPrecision):
    """The share of samples that look real."""

    formula = "share of samples within the 5th-neighbour ball of at least one real image, in the feature space"


@final
@frozen
class Recall(OfDigits, BallRecall):
    """The share of real images that samples reach."""

    formula = "share of real images within the 5th-neighbour ball of at least one sample, in the feature space"


@final
@frozen
class Density(OfDigits, BallDensity):
    """The density of samples among real images; may exceed 1."""

    formula = "mean over samples of the number of 5th-neighbour balls of real images they are in, divided by 5"


@final
@frozen
class Coverage(OfDigits, BallCoverage):
    """The share of real images that have a sample near."""

    formula = "share of real images whose 5th-neighbour ball holds at least one sample"


@final
@frozen
class ClassAccuracy(PerSample):
    """The share of samples that a classifier assigns to their class."""

    name = "class accuracy"
    better = "higher"
    aspect = "fidelity"
    formula = "share of samples whose most probable class, by a classifier of real digits, is their condition"

    def each(self, arm: Arm, context: Context) -> Tensor | None:
        if arm.labels is None:
            return None
        probabilities = digit_classifier().probabilities(arm.samples)
        if arm.labels.min() < 0 or arm.labels.max() >= probabilities.shape[1]:
            span = f"{arm.labels.min()} … {arm.labels.max()}"
            raise ValueError(f"labels must be in 0 … {probabilities.shape[1] - 1}, got {span}")
        return (probabilities.argmax(1) == arm.labels).double()


@final
@frozen
class NearestTrainingImage(NearestTraining):
    """Memorisation: samples much nearer to training images than unseen real ones are would be copies."""

    name = "nearest training image"
    formula = "median over samples of the Euclidean distance in pixels to the nearest training image"

    def distances(self, arm: Arm, context: Context) -> Tensor:
        train = load_split().train.images.flatten(1).double()
        return nearest_neighbours(arm.samples.flatten(1).double(), train).distances[:, 0]


METRICS: tuple[Metric, ...] = (
    Precision(),
    Density(),
    ClassAccuracy(),
    Recall(),
    Coverage(),
    FrechetDistance(),
    NearestTrainingImage(),
)
