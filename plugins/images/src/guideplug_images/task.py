"""The task: images of one's own, as they are or given their class.

A share of the images is kept from training, and samples are measured beside it. Pixels are scaled to [-1, 1]. The
recipe is ours: a small U-Net, EDM's preconditioning, noise levels and loss weight; with classes, they are dropped in
one example of ten, so that classifier-free guidance works from the one network.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal, final

import numpy as np
import torch
from attrs import evolve, frozen
from attrs.validators import optional
from PIL import Image
from torch import Tensor

from guideplug import (
    Arm,
    Condition,
    Cosine,
    Duration,
    Examples,
    Expression,
    Features,
    LogNormal,
    Metric,
    Network,
    PythonRef,
    Recipe,
    Sampler,
    Space,
    Start,
    Streams,
    Task,
    Train,
    TrainingStreams,
    TrainOptions,
    between,
    noised,
    option,
    positive,
    up_to,
    weaker,
)
from guideplug_images.augmentation import Augmentation
from guideplug_images.collection import ImageError
from guideplug_images.dataset import ImageData, LatentScaling, split
from guideplug_images.datasets import LIBRARIES
from guideplug_images.figure import as_pixels, draw_figure
from guideplug_images.metrics import METRICS, ClassAccuracy
from guideplug_images.network import ImagesUNet
from guideplug_images.place import absolute, read_collection
from guideplug_images.prepared import prepare

__all__ = ["Images"]

MOST_SAMPLES = 512
SMALLEST = 4
"""The least side of the deepest level of the default network."""


def _none_or(label: str | None) -> str | None:
    """TOML has no null: there the word means it."""
    return None if isinstance(label, str) and label.strip().lower() == "none" else label


@final
@frozen
class Images(Task):
    """Images from a folder, a zip, arrays, IDX files or encoded latents, with classes or without."""

    name = "images"
    libraries: ClassVar[Mapping[str, str]] = LIBRARIES
    """What is an extra of the distribution, by import name."""
    path: str | Expression = option(
        help="a folder, .zip, .npz or IDX file (.gz too) of images or latents; torchvision(NAME, root=FOLDER) or "
        'python("FILE.py:function") for a data set',
        converter=absolute,
        identity=False,
    )
    label: str | None = option(
        "auto",
        help="where classes come from: auto, folders, dataset.json, the name of an array, the file of labels; none: "
        "without",
        converter=_none_or,
    )
    side: int | None = option(
        None,
        alias="size",
        help="side that images are cropped at the centre and resized to; none: all have one size",
        unit="pixels",
        validator=optional(up_to(4096)),
    )
    channels: Literal[1, 3] | None = option(None, help="1 for grey, 3 for colour; none: grey if all images are")
    heldout: float = option(
        0.1, help="share of the images (of each class) that is kept from training, to measure with",
        validator=between(0.001, 0.5),
    )  # fmt: skip
    flip: bool = option(False, help="whether mirrored images are trained on too")
    sigma_data: float | None = option(
        None, help="standard deviation of the data, in which latents are scaled; none: measured, of latents 0.5",
        validator=optional(positive),
    )  # fmt: skip
    latent_scaling: LatentScaling = option(
        "measured",
        help="mean and deviation that latents are scaled from: measured, or edm2, the constants of EDM2's networks",
        identity="unless default",
    )
    augment: str | None = option(
        None,
        help="a function that augments each training image, uint8 (C, H, W), as module:function or FILE.py:function; "
        "it is code and runs as such",
        converter=lambda text: None if text is None else PythonRef.checked(text, "augment"),
        identity=False,
    )
    features: Features | None = option(
        None, help="features to measure in, such as torchvision(mobilenet_v2, FILE); none: averaged pixels",
        identity=False,
    )  # fmt: skip
    accuracy: bool = option(
        False, help="whether the classes of samples are measured, by a classifier that is trained once, in minutes",
        identity=False,
    )  # fmt: skip

    @classmethod
    def example(cls, folder: Path) -> Mapping[str, Any]:
        """Bright and dark images of 8 x 8 pixels, in a folder per class."""
        random = np.random.RandomState(0)
        for number in range(40):
            place = folder / "images" / ("dark", "light")[number % 2]
            place.mkdir(parents=True, exist_ok=True)
            pixels = random.randint(0, 128, (8, 8)) + 127 * (number % 2)
            Image.fromarray(pixels.astype(np.uint8)).save(place / f"{number}.png")
        return {"path": str(folder / "images")}

    @cached_property
    def data(self) -> ImageData:
        """The images, read when they are first needed and then kept, so that a run has one version of them.

        Raises:
            ImageError: they cannot be used; which image, and why.
        """
        with read_collection(self.path, self.label) as collection:
            prepared = prepare(collection, self.side, self.channels)
        data = split(prepared, self.heldout, self.flip, self.sigma_data, self.latent_scaling)
        if self.augment is None:
            return data
        if prepared.latent:
            raise ImageError(f"{prepared.where} holds latents, and augment is for images: leave it out")
        return evolve(data, augmentation=Augmentation.load(self.augment))

    @property
    def space(self) -> Space:
        return Space(shape=self.data.prepared.shape, sigma_data=self.data.sigma_data, sigma_min=0.002, sigma_max=80.0)

    def draw(self, sigma: Tensor, streams: TrainingStreams) -> Examples:
        data = self.data
        ids = torch.randint(data.size, (len(sigma),), generator=streams.generator("data", "cpu"))
        labels = data.labels(ids)
        condition = None if labels is None else labels.to(sigma.device)
        clean = data.examples(ids, sigma.device, streams)
        return noised(clean, sigma, streams, condition, ids.to(sigma.device))

    def start(self, streams: Streams, sigma: float) -> Start:
        data = self.data
        noise = sigma * streams.normal(self.space.shape, "start noise")
        labels = data.labels_of(data.heldout[np.asarray(streams.indices) % len(data.heldout)])
        return Start(noise, None if labels is None else labels.to(streams.device))

    @property
    def num_labels(self) -> int | None:
        return len(self._classes) or None

    @property
    def _classes(self) -> tuple[str, ...]:
        labels = self.data.prepared.labels
        return () if labels is None else labels.classes

    def recipe(self, role: str, main: Recipe | None) -> Recipe | None:
        if main is None:
            return self._main() if role == "main" else None
        return weaker(main, _smaller) if role == "weak" else None

    def _main(self) -> Train:
        options = TrainOptions(
            duration=Duration(2000, "it"),
            batch=64,
            lr=0.002,
            betas=(0.9, 0.99),
            schedule=Cosine(),
            warmup=100,
            noise=LogNormal(-1.2, 1.2),
            weighting="edm",
            condition_dropout=0.1 if self._classes else 0.0,
            ema=(0.05,),
        )
        sides, levels = self.data.prepared.shape[1:], 1
        while levels < 4 and all(side % 2**levels == 0 and side >> levels >= SMALLEST for side in sides):
            levels += 1
        return Train(task=self, denoiser=ImagesUNet(levels=levels), options=options)

    def sampler(self) -> str:
        return "heun(num_steps=18)"

    def samples(self) -> int:
        return min(len(self.data.heldout), MOST_SAMPLES)

    def num_true(self) -> int | None:
        return len(self.data.heldout)

    def size(self) -> int | None:
        """The number of training examples; None where they are drawn anew: latents, and augmented images."""
        return None if self.data.drawn_anew else self.data.size

    def items(self, ids: Tensor) -> tuple[Tensor, Condition]:
        data = self.data
        if data.drawn_anew:
            raise NotImplementedError(f"task {self.name!r} draws latents and augmented images anew")
        return data.examples(ids, torch.device("cpu")), data.labels(ids)

    def groups(self) -> Sequence[str]:
        return self._classes

    def group(self, examples: Examples) -> Tensor | None:
        return examples.condition if isinstance(examples.condition, Tensor) else None

    def fingerprint(self) -> str:
        """The SHA-256 of the prepared images and labels, and of the function that augments.

        What else decides examples are options, and the code.
        """
        data = self.data
        return data.prepared.fingerprint + ("" if data.augmentation is None else f" {data.augmentation.content}")

    def truth(self, count: int, sampler: Sampler, seed: int) -> Sequence[Arm]:
        data = self.data
        return [Arm("truth", data.images(data.heldout[:count]), data.labels_of(data.heldout[:count]))]

    def metrics(self) -> Sequence[Metric]:
        if not self.accuracy:
            return METRICS
        if not self._classes:
            raise ImageError("accuracy=true measures the classes of samples, and these images have none: leave it out")
        return (*METRICS, ClassAccuracy())

    def primary(self) -> Sequence[str]:
        return "precision", "coverage", "Fréchet distance", "nearest training image"

    def pictures(self, samples: Tensor) -> Tensor | None:
        """Images as they are; of latents (C other than 1 and 3) the first channels as brightness."""
        return as_pixels(samples, self.data.sigma_data)

    def figure(self, arms: Sequence[Arm], path: Path) -> None:
        draw_figure(arms, self._classes, self.data.sigma_data, path)


def _smaller(network: Network) -> Network:
    """Half the width, of the architecture of the main network where that is ours."""
    known = network if isinstance(network, ImagesUNet) else ImagesUNet()
    return evolve(known, width=max(known.width // 16, 1) * 8)
