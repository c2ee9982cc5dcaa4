"""Metrics of images: samples against held-out images, which no network has seen.

Features are those that the task's option names, else images averaged down to at most 8 x 8 pixels, or 4 x 4 of several
channels, which measure coarse layout and no texture. Held-out images themselves, the arm "truth", are compared with as
many training images: what as many perfect samples would get.
Cost: no calls of a denoiser; exact distances; a pass of the features' network per image.
"""

from typing import cast, final

import torch
from attrs import frozen
from torch import Tensor, nn

from guideplug import (
    Arm,
    BallCoverage,
    BallMetric,
    BallPrecision,
    Context,
    Features,
    Metric,
    NearestTraining,
    NeighbourBalls,
    PerSample,
    Resampler,
    Weighted,
    nearest_neighbours,
    neighbour_balls,
    resampled_frechet_distance,
)
from guideplug_images.classifier import trained_classifier
from guideplug_images.dataset import ImageData
from guideplug_images.figure import as_pixels

__all__ = ["METRICS", "ClassAccuracy", "HasImages"]

NEIGHBOURS = 5
"""The neighbour that balls reach to; of five images or fewer the farthest."""
SIDE, SIDE_OF_COLOUR = 8, 4
"""The side of images as features: 64 numbers of grey ones, 48 of three channels."""
AVERAGED = "in the task's features, by default images averaged to 8 x 8 pixels (4 x 4 in colour)"
MOST = 4096
"""Images of a side whose every pair counts."""
BATCH = 512
"""Images that become pictures at once."""


class HasImages:
    """The interface of tasks with images as samples."""

    data: ImageData
    features: Features | None


def _data(context: Context) -> ImageData:
    return cast(HasImages, context.task).data


def _features(images: Tensor, context: Context) -> Tensor:
    """Images (N, C, H, W) as features (N, D), float64."""
    features = cast(HasImages, context.task).features
    if features is not None:
        function, scale = context.once("features' network", features.loaded), _data(context).sigma_data
        return torch.cat([function(as_pixels(part, scale)) for part in torch.split(images, BATCH)]).double()
    most = SIDE if images.shape[1] == 1 else SIDE_OF_COLOUR
    height, width = (min(side, most) for side in images.shape[2:])
    return nn.functional.adaptive_avg_pool2d(images.double(), (height, width)).flatten(1)


def _samples(arm: Arm, context: Context) -> Tensor:
    return context.once(f"features of {arm.name}", lambda: _features(arm.samples[:MOST], context))


def _reference(arm: Arm, context: Context) -> Tensor:
    """Features of the images that an arm is compared with."""
    data, truth = _data(context), arm.name == "truth"
    return context.once(
        "training images" if truth else "held-out images",
        lambda: _features(data.images((data.second() if truth else data.heldout)[:MOST]), context),
    )


class OfImages(BallMetric):
    """A metric of the balls of the first images."""

    fewest = 2

    def balls(self, arm: Arm, context: Context) -> NeighbourBalls | None:
        samples, real = _samples(arm, context), _reference(arm, context)
        neighbours = min(NEIGHBOURS, len(samples) - 1, len(real) - 1)
        if neighbours < 1:
            return None
        return context.once(f"balls of {arm.name}", lambda: neighbour_balls(samples, real, neighbours))


@final
@frozen
class Precision(OfImages, BallPrecision):
    """The share of samples in the region of held-out images."""

    formula = f"share of samples within the 5th-neighbour ball of at least one held-out image, {AVERAGED}"


@final
@frozen
class Coverage(OfImages, BallCoverage):
    """The share of held-out images that have a sample near."""

    formula = f"share of held-out images whose 5th-neighbour ball holds at least one sample, {AVERAGED}"


@final
@frozen
class FrechetDistance(Weighted):
    """Distance between Gaussians fitted to the features of samples and of held-out images."""

    name = "Fréchet distance"
    better = "lower"
    aspect = "both"
    fewest = 2
    formula = f"|m - m'|^2 + tr(S + S' - 2 (S S')^(1/2)), {AVERAGED}; biased upwards for few samples"

    def resampler(self, arm: Arm, context: Context) -> Resampler | None:
        samples, real = _samples(arm, context), _reference(arm, context)
        if min(len(samples), len(real)) < 2:
            return None
        distance = resampled_frechet_distance(samples, real)
        return lambda weights: distance(weights[:, :MOST])


@final
@frozen
class NearestTrainingImage(NearestTraining):
    """Memorisation: samples much nearer to training images than unseen ones are would be copies."""

    name = "nearest training image"
    formula = "median over samples of the Euclidean distance in pixels to the nearest of up to 4,096 training images"

    def distances(self, arm: Arm, context: Context) -> Tensor:
        data = _data(context)
        train = context.once("pixels of training images", lambda: data.images(data.train[:MOST]).flatten(1))
        return nearest_neighbours(arm.samples.flatten(1).to(train.dtype), train).distances[:, 0]


@final
@frozen
class ClassAccuracy(PerSample):
    """Whether samples are of the class that was asked for."""

    name = "class accuracy"
    better = "higher"
    aspect = "accuracy"
    formula = (
        "share of samples that a small convolutional network, trained on the training images, gives to their class"
    )

    def each(self, arm: Arm, context: Context) -> Tensor | None:
        if arm.labels is None:
            return None
        classifier = context.once("classifier", lambda: trained_classifier(_data(context)))
        return (classifier.classes(arm.samples) == arm.labels).double()


METRICS: tuple[Metric, ...] = (Precision(), Coverage(), FrechetDistance(), NearestTrainingImage())
