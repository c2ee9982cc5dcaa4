"""Images as features: one pass over any number of them, with moments of all and the rows of some.

Image i is of repeat i mod R, so that each repeat is the same share of every class and of every stretch of seeds. Of
each repeat there are the moments of two halves, which merge to those of all: the distance at half the count tells how
much of it is the bias of counting.
"""

import functools
from collections.abc import Callable, Iterator
from typing import Final, final

import torch
from attrs import frozen
from torch import Tensor

from guideplug.errors import UsageError, visible
from guideplug.features import FeatureFunction
from guideplug.files.image_sets import ImageSet
from guideplug.metrics.moments import Moments
from guideplug.metrics.neighbours import Neighbours, nearest_neighbours

__all__ = ["MOST_ROWS", "ExtractedFeatures", "FeatureReader"]

BATCH: Final = 64
MOST_ROWS: Final = 2_500
"""Images of a repeat whose features are kept, for distances between images."""


@final
@frozen(eq=False)
class ExtractedFeatures:
    """The features of one repeat of a set.

    Args:
        halves: moments of every other image, and of the rest.
        rows: features of some images, in random order, (K, D).
        numbers: which images these are, in the set.
    """

    halves: tuple[Moments, Moments]
    rows: Tensor
    numbers: tuple[int, ...]

    @property
    def moments(self) -> Moments:
        """Those of all images."""
        return self.halves[0].merge(self.halves[1])


@final
@frozen(eq=False)
class FeatureReader:
    """What turns sets of images into features.

    Args:
        function: the features, loaded.
        progress: called with the path of a set, the number of its images that are done, and of all.
    """

    function: FeatureFunction
    progress: Callable[[str, int, int], None] = lambda where, done, of: None

    def batches(self, images: ImageSet, where: str) -> Iterator[Tensor]:
        """The features of all images in order, float (B, D), on the CPU.

        Raises:
            UsageError: an image is broken or of another size, or a feature is not finite; the image is named.
        """
        done = 0
        try:
            for batch in images.batches(BATCH):
                yield self.function(batch, functools.partial(_named, images, where, done))
                done += len(batch)
                self.progress(where, done, images.count)
        except (OSError, ValueError) as error:
            raise UsageError(f"{where}: {getattr(error, 'strerror', None) or error}") from None

    def extract(self, images: ImageSet, where: str, *, repeats: int = 1, seed: int = 0) -> list[ExtractedFeatures]:
        """The features of a set's images, in one pass.

        Args:
            images: the set.
            where: its path, for messages.
            repeats: parts that are measured each by itself, at least 1.
            seed: of the choice of rows that are kept.

        Raises:
            UsageError: there are fewer than 4 images per repeat, or as `batches`.
        """
        if images.count < 4 * repeats:
            per = f"{repeats} repeats of 4" if repeats > 1 else "4"
            raise UsageError(f"{where} has {images.count} images, and moments need {per} at least")
        parts = [_Part(len(range(number, images.count, repeats)), seed) for number in range(repeats)]
        done = 0
        for rows in self.batches(images, where):
            places = torch.arange(done, done + len(rows))
            for number, part in enumerate(parts):
                mine = places % repeats == number
                part.add(rows[mine], places[mine] // repeats)
            done += len(rows)
        return [part.extracted(number, repeats) for number, part in enumerate(parts)]

    def nearest(self, images: ImageSet, where: str, rows: Tensor) -> Neighbours:
        """The nearest image of a set to each of some features (K, D): distances and numbers, (K, 1).

        Raises:
            UsageError: as `batches`.
        """
        distances = torch.full((len(rows), 1), torch.inf, dtype=rows.dtype)
        numbers = torch.zeros(len(rows), 1, dtype=torch.int64)
        done = 0
        for batch in self.batches(images, where):
            near = nearest_neighbours(rows, batch.to(rows.dtype))
            nearer = near.distances < distances
            distances = torch.where(nearer, near.distances, distances)
            numbers = torch.where(nearer, near.indices + done, numbers)
            done += len(batch)
        return Neighbours(distances, numbers)


def _named(images: ImageSet, where: str, done: int, number: int) -> str:
    return f"{visible(images.name(done + number))} of {where}"


class _Part:
    """One repeat of a set while it is read: moments of two halves, and the rows that are kept."""

    def __init__(self, count: int, seed: int) -> None:
        order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))[:MOST_ROWS]
        self._numbers: list[int] = order.tolist()
        self._place = torch.full((count,), -1)
        self._place[order] = torch.arange(len(order))
        self._halves: list[Moments | None] = [None, None]
        self._rows: Tensor | None = None

    def add(self, rows: Tensor, numbers: Tensor) -> None:
        """Rows (B, D) and their numbers in this repeat."""
        if self._rows is None:
            self._rows = rows.new_empty(len(self._numbers), rows.shape[1])
        for half, before in enumerate(self._halves):
            taken = rows[numbers % 2 == half]
            if len(taken):
                self._halves[half] = Moments.of(taken) if before is None else before.add(taken)
        places = self._place[numbers]
        self._rows[places[places >= 0]] = rows[places >= 0]

    def extracted(self, number: int, repeats: int) -> ExtractedFeatures:
        one, other = self._halves
        assert one is not None
        assert other is not None
        assert self._rows is not None
        numbers = tuple(place * repeats + number for place in self._numbers)
        return ExtractedFeatures((one, other), self._rows, numbers)
