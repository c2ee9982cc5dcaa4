"""A collection of images as it was found: names, classes, and each image on request, of any size and mode."""

import abc
import re
from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from guideplug import GuideplugError

__all__ = ["MOST_CLASSES", "Collection", "ImageError", "Labels", "Opener", "natural_order", "numbered_labels"]

Opener = Callable[[], Callable[[str], NDArray[Any]]]
"""Opens files anew and gives a function from an image's name to the image; it can be pickled."""

MOST_CLASSES = 10_000


class ImageError(GuideplugError):
    """Data cannot be used as images; the message names file, image, reason and what to do."""

    exit_code = 2


@frozen(eq=False)
class Labels:
    """The classes of images.

    Args:
        numbers: of each image's class, int64 (N,).
        classes: their names.
    """

    numbers: NDArray[np.int64]
    classes: tuple[str, ...]


class Collection(abc.ABC):
    """Images from one place, to be closed after use; usable in ``with``.

    Attributes:
        where: the place, for messages.
        names: of the images, in order.
        labels: of the images, or None.
        digest: the SHA-256 of all that decides the images and labels.
        latent: whether images are means and deviations of latents, float32 (2 C, H, W).
    """

    where: str
    names: Sequence[str]
    labels: Labels | None
    digest: str
    latent = False

    @abc.abstractmethod
    def image(self, index: int) -> NDArray[Any]:
        """One image, uint8 (H, W, C) with C = 1 or 3, or latents.

        Raises:
            ImageError: it cannot be read.
        """

    def opener(self) -> Opener | None:
        """How another process reads the images; None, the default, where it cannot, or has nothing to decode."""
        return None

    def close(self) -> None:
        """Close the files that are held open."""
        return

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def natural_order(name: str) -> list[tuple[int, str]]:
    """A sorting key by which 10 follows 9."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"([0-9]+)", name)]


def numbered_labels(where: str, values: Sequence[object] | NDArray[Any], names: Sequence[str]) -> Labels:
    """Labels that are whole numbers from 0 on, one per image.

    Raises:
        ImageError: a label is none, or labels begin above 0 or leave gaps that no set of classes has.
    """
    if len(values) != len(names):
        raise ImageError(f"{where} has {len(values)} labels for {len(names)} images: give one label per image")
    numbers: list[int] = []  # of any size, as JSON has them
    for name, value in zip(names, values, strict=True):
        if isinstance(value, bool) or not isinstance(value, int | np.integer):
            raise ImageError(f"{where}: the label of {name} is {str(value)[:40]!r}: give whole numbers from 0 on")
        numbers.append(int(value))
    least, most = min(numbers), max(numbers)
    if least < 0:
        raise ImageError(f"{where}: {names[numbers.index(least)]} has the label {least}: labels begin at 0")
    if least > 0:
        raise ImageError(f"{where}: labels begin at {least}: subtract {least}, so that they begin at 0")
    if most >= MOST_CLASSES:
        raise ImageError(f"{where}: the label {most} is beyond the {MOST_CLASSES:,} classes that can be used")
    return Labels(np.array(numbers, dtype=np.int64), tuple(str(number) for number in range(most + 1)))
