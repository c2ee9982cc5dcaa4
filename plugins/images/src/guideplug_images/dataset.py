"""The training and the held-out images of a task, scaled where they are used.

The number of an example decides it: with N training images and flips, example N + i is image i seen in a mirror. Images
become x / 127.5 - 1. A latent has no fixed value: it is drawn from its mean and deviation, then shifted and scaled per
channel, z = scale (mean + deviation n) + bias. An image that is augmented is drawn anew as well.
"""

from typing import Any, Literal, final

import numpy as np
import torch
from attrs import frozen
from numpy.typing import NDArray
from torch import Tensor

from guideplug import TrainingStreams
from guideplug_images.augmentation import Augmentation
from guideplug_images.collection import ImageError
from guideplug_images.prepared import Prepared

__all__ = ["MIN_IMAGES", "ImageData", "LatentScaling", "split"]

LatentScaling = Literal["measured", "edm2"]

MIN_IMAGES = 20
SPLIT_SEED = 0
CHUNK = 4096
EDM2_MEAN, EDM2_DEVIATION = (5.81, 3.25, 0.12, -2.15), (4.17, 4.62, 3.71, 3.28)
"""Of the latents of stabilityai/sd-vae-ft-mse on ImageNet-512, per channel, as EDM2's encoder has them
(T. Karras, M. Aittala, J. Lehtinen, J. Hellsten, T. Aila, S. Laine, 2023, arXiv:2312.02696)."""


@final
@frozen(eq=False)
class ImageData:
    """Prepared images, split into training and held-out ones.

    Args:
        prepared: all images.
        train: numbers of the training images (N,), ascending.
        heldout: numbers of the held-out images (M,), M <= N, in random order.
        flip: whether mirrored images are further training examples.
        sigma_data: the standard deviation of scaled training examples.
        scale, bias: of latents, per channel; empty for images.
        augmentation: of training images, or None.
    """

    prepared: Prepared
    train: NDArray[np.int64]
    heldout: NDArray[np.int64]
    flip: bool
    sigma_data: float
    scale: tuple[float, ...] = ()
    bias: tuple[float, ...] = ()
    augmentation: Augmentation | None = None

    @property
    def drawn_anew(self) -> bool:
        """Whether an example's number does not decide its values."""
        return self.prepared.latent or self.augmentation is not None

    @property
    def size(self) -> int:
        """The number of training examples."""
        return len(self.train) * (2 if self.flip else 1)

    def examples(self, ids: Tensor, device: torch.device, streams: TrainingStreams | None = None) -> Tensor:
        """Training examples (B, C, H, W) by number (B,).

        Without streams, latents are their means, and images are not augmented.
        """
        numbers = ids.cpu().numpy()
        kept = torch.from_numpy(self.prepared.pixels[self.train[numbers % len(self.train)]])
        if self.augmentation is not None and streams is not None:
            kept = self.augmentation(kept, streams)
        mirrored = torch.from_numpy(numbers >= len(self.train)).to(device)
        images = self._scaled(kept.to(device), None if streams is None else streams.generator("latents", device))
        return torch.where(mirrored[:, None, None, None], images.flip(-1), images) if self.flip else images

    def labels(self, ids: Tensor) -> Tensor | None:
        """The classes of training examples, (B,), on the CPU."""
        return self.labels_of(self.train[ids.cpu().numpy() % len(self.train)])

    def images(self, numbers: NDArray[np.int64]) -> Tensor:
        """Images (B, C, H, W) by their numbers among all, on the CPU; latents are their means."""
        return self._scaled(torch.from_numpy(self.prepared.pixels[numbers]), None)

    def labels_of(self, numbers: NDArray[np.int64]) -> Tensor | None:
        """The classes of images by their numbers among all, (B,)."""
        labels = self.prepared.labels
        return None if labels is None else torch.from_numpy(labels.numbers[numbers])

    def second(self) -> NDArray[np.int64]:
        """As many training images as are held out, drawn once: what held-out images are compared with."""
        return np.random.RandomState(SPLIT_SEED + 1).permutation(self.train)[: len(self.heldout)]

    def _scaled(self, kept: Tensor, generator: torch.Generator | None) -> Tensor:
        if not self.prepared.latent:
            return kept.float() / 127.5 - 1
        mean, deviation = kept.chunk(2, dim=1)
        if generator is not None:
            mean = mean + deviation * torch.randn(mean.shape, generator=generator, device=kept.device)
        scale, bias = (torch.tensor(values, device=kept.device)[:, None, None] for values in (self.scale, self.bias))
        return mean * scale + bias


def split(
    prepared: Prepared, heldout: float, flip: bool, sigma_data: float | None, latent_scaling: LatentScaling = "measured"
) -> ImageData:
    """Training and held-out images, with the spread of the first measured.

    Args:
        prepared: all images.
        heldout: the share of each class that is held out, at least one image and at most half; none of
            a class of one image.
        flip: whether mirrored images are further training examples.
        sigma_data: the standard deviation of examples; measured if None. Latents are scaled to it, by default to 0.5.
        latent_scaling: whether the mean and deviation of raw latents are measured, or EDM2's constants.

    Raises:
        ImageError: too few images, all in classes of their own, mirrored latents, images that are all of one value, or
            EDM2's constants for other than latents of 4 channels.
    """
    where, labels, count = prepared.where, prepared.labels, len(prepared.pixels)
    if count < MIN_IMAGES:
        raise ImageError(f"{where} has {count} images: at least {MIN_IMAGES} are needed")
    if prepared.latent and flip:
        raise ImageError(f"{where} holds latents, and a mirrored latent is none of a mirrored image: leave flip out")
    if latent_scaling == "edm2" and not (prepared.latent and prepared.shape[0] == len(EDM2_MEAN)):
        what = f"latents of {prepared.shape[0]} channels" if prepared.latent else "images"
        raise ImageError(f"{where} holds {what}: latent_scaling=edm2 is for latents of 4 channels; leave it out")
    classes = np.zeros(count, np.int64) if labels is None else labels.numbers
    random, chosen = np.random.RandomState(SPLIT_SEED), []
    for number in range(int(classes.max()) + 1):
        members = random.permutation(np.flatnonzero(classes == number))
        chosen.append(members[: min(max(round(len(members) * heldout), 1), len(members) // 2)])
    out = random.permutation(np.concatenate(chosen))
    if not len(out):
        raise ImageError(f"{where} has one image per class, and one is to be held out of each: write label=none")
    inside = np.ones(count, dtype=bool)
    inside[out] = False
    train = np.flatnonzero(inside)
    if prepared.latent:
        target = 0.5 if sigma_data is None else sigma_data
        means, deviations = _latent_moments(prepared.pixels, train)
        _check_spread(where, float(deviations.min()))
        if latent_scaling == "edm2":
            means, deviations = np.array(EDM2_MEAN, np.float32), np.array(EDM2_DEVIATION, np.float32)
        scale = target / deviations
        return ImageData(prepared, train, out, flip, target, tuple(scale.tolist()), tuple((-means * scale).tolist()))
    measured = _pixel_deviation(prepared.pixels, train) / 127.5
    _check_spread(where, measured)
    return ImageData(prepared, train, out, flip, float(f"{measured:.4g}") if sigma_data is None else sigma_data)


def _check_spread(where: str, deviation: float) -> None:
    if not deviation > 0:
        raise ImageError(f"{where}: all values of the training images are equal: nothing can be learned from them")


def _pixel_deviation(pixels: NDArray[Any], train: NDArray[np.int64]) -> float:
    """The standard deviation of all values of uint8 images around their common mean, from exact counts."""
    counts = np.zeros(256, np.int64)
    for begin in range(0, len(train), CHUNK):
        counts += np.bincount(pixels[train[begin : begin + CHUNK]].ravel(), minlength=256)
    values = np.arange(256)
    mean = (counts * values).sum() / counts.sum()
    return float(np.sqrt((counts * (values - mean) ** 2).sum() / counts.sum()))


def _latent_moments(pixels: NDArray[Any], train: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Mean and standard deviation of drawn latents per channel, (C,)."""
    first = second = np.zeros(pixels.shape[1] // 2)
    for begin in range(0, len(train), CHUNK):
        mean, deviation = np.split(pixels[train[begin : begin + CHUNK]].astype(np.float64), 2, axis=1)
        first = first + mean.sum((0, 2, 3))
        second = second + (mean**2 + deviation**2).sum((0, 2, 3))
    count = len(train) * pixels.shape[2] * pixels.shape[3]
    return first / count, np.sqrt(np.maximum(second / count - (first / count) ** 2, 0))
