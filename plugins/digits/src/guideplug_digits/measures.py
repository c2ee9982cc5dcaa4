"""The metrics of the digits, as guideplug's.

Samples are compared with the reference images, which no network has seen; so are other real images, "truth": what as
many perfect samples would get. Features are the 64 last hidden activations of a
classifier trained on the training half (`guideplug_digits.features`).
"""

from typing import ClassVar, final

import numpy as np
from attrs import frozen
from numpy.typing import NDArray
from torch import Tensor

from guideplug import Arm, Context, Metric, Source
from guideplug_digits.features import digit_classifier
from guideplug_digits.images import load_split
from guideplug_digits.metrics import (
    PrecisionRecallDensityCoverage,
    class_accuracy,
    frechet_distance,
    nearest_neighbour_distance,
    precision_recall_density_coverage,
)

__all__ = ["METRICS"]

NEIGHBOURS = 5
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


def _features(arm: Arm, context: Context) -> NDArray[np.float32]:
    key = f"features of {arm.name}"
    if key not in context.cache:
        context.cache[key] = digit_classifier().features(arm.samples).numpy()
    found: NDArray[np.float32] = context.cache[key]
    return found


def _reference(context: Context) -> NDArray[np.float32]:
    """Features of the real images that every arm is compared with."""
    if "reference" not in context.cache:
        context.cache["reference"] = digit_classifier().features(load_split().reference.images).numpy()
    found: NDArray[np.float32] = context.cache["reference"]
    return found


def _neighbours(arm: Arm, context: Context) -> PrecisionRecallDensityCoverage | None:
    key = f"neighbours of {arm.name}"
    if key not in context.cache:
        enough = len(arm.samples) > NEIGHBOURS
        features = _features(arm, context) if enough else None
        reference = _reference(context)
        context.cache[key] = (
            None if features is None else precision_recall_density_coverage(reference, features, NEIGHBOURS)
        )
    found: PrecisionRecallDensityCoverage | None = context.cache[key]
    return found


@final
@frozen
class FrechetDistance(Metric):
    """Distance between Gaussians fitted to features of samples and of real images."""

    name = "Fréchet distance"
    better = "lower"
    aspect = "both"
    formula = "|m - m'|^2 + tr(S + S' - 2 (S S')^(1/2)) over 64 features; biased upwards for few samples"

    def measure(self, arm: Arm, context: Context) -> float | None:
        if len(arm.samples) < 2:
            return None
        return frechet_distance(_features(arm, context), _reference(context))


class _OfNeighbours(Metric):
    """One of the four numbers that balls around nearest neighbours give."""

    number: ClassVar[str]

    def measure(self, arm: Arm, context: Context) -> float | None:
        found = _neighbours(arm, context)
        return None if found is None else float(getattr(found, self.number))


@final
@frozen
class Precision(_OfNeighbours):
    """The share of samples that look real."""

    name = number = "precision"
    source = PRECISION
    better = "higher"
    aspect = "fidelity"
    formula = "share of samples within the 5th-neighbour ball of at least one real image, in the feature space"


@final
@frozen
class Recall(_OfNeighbours):
    """The share of real images that samples reach."""

    name = number = "recall"
    source = PRECISION
    better = "higher"
    aspect = "coverage"
    formula = "share of real images within the 5th-neighbour ball of at least one sample, in the feature space"


@final
@frozen
class Density(_OfNeighbours):
    """How densely samples sit among real images; may exceed 1."""

    name = number = "density"
    source = DENSITY
    better = "higher"
    aspect = "fidelity"
    formula = "mean over samples of the number of 5th-neighbour balls of real images they are in, divided by 5"


@final
@frozen
class Coverage(_OfNeighbours):
    """The share of real images that have a sample near."""

    name = number = "coverage"
    source = DENSITY
    better = "higher"
    aspect = "coverage"
    formula = "share of real images whose 5th-neighbour ball holds at least one sample"


@final
@frozen
class ClassAccuracy(Metric):
    """How often a classifier sees in a sample the class that was asked for."""

    name = "class accuracy"
    better = "higher"
    aspect = "fidelity"
    formula = "share of samples whose most probable class, by a classifier of real digits, is their condition"

    def measure(self, arm: Arm, context: Context) -> float | None:
        if not isinstance(arm.condition, Tensor):
            return None
        return class_accuracy(digit_classifier().probabilities(arm.samples).numpy(), arm.condition.numpy())


@final
@frozen
class NearestTrainingImage(Metric):
    """Memorisation: samples much nearer to training images than unseen real ones are would be copies."""

    name = "nearest training image"
    better = "truth"
    aspect = "memorisation"
    formula = "median over samples of the Euclidean distance in pixels to the nearest training image"

    def measure(self, arm: Arm, context: Context) -> float | None:
        train = load_split().train.images.flatten(1).numpy()
        return nearest_neighbour_distance(arm.samples.flatten(1).numpy(), train)


METRICS: tuple[Metric, ...] = (
    Precision(),
    Density(),
    ClassAccuracy(),
    Recall(),
    Coverage(),
    FrechetDistance(),
    NearestTrainingImage(),
)
