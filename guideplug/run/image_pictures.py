"""Pictures of samples that are images: unguided above guided ones, and samples above nearest training images.

    figures/pairs.png     the same noise, unguided and guided
    figures/nearest.png   the samples nearest to training images, with the Euclidean distance in the data's units

Cost: no network calls; distances of up to `SAMPLES` samples to up to `MOST_NUMBERS` numbers of training examples.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from guideplug.image_grid import ImagePanel, draw_image_grid
from guideplug.task import Arm, Task

__all__ = ["PICTURES", "are_images", "draw_nearest", "draw_pairs"]

PICTURES = {
    "pairs": "The same noise, without guidance and with it.",
    "nearest": "Samples that are nearest to training images, each above that image; a copy would be at distance 0.",
}
"""The names of the files, and what they show."""
ACROSS, STRIPS = 12, 3
"""Images in a row; pairs of rows."""
SAMPLES, BLOCK, MOST_NUMBERS = 128, 2048, 200_000_000
"""Samples that are looked up; training examples at a time, and their numbers in all."""


def are_images(task: Task, arm: Arm) -> bool:
    """Whether a task's samples are images to look at."""
    return task.pictures(arm.samples[:1]) is not None


def draw_pairs(task: Task, unguided: Arm, guided: Arm, path: Path) -> None:
    """Write a PNG of unguided samples above guided ones from the same noise."""
    above, below = (_images(task, arm.samples[: ACROSS * STRIPS]) for arm in (unguided, guided))
    cells: list[Sequence[NDArray[np.uint8] | None]] = []
    rows: list[str] = []
    for start in range(0, len(above), ACROSS):
        strip = slice(start, start + ACROSS)
        if cells:
            cells.append([])
            rows.append("")
        cells += [above[strip], below[strip]]
        rows += ["unguided", "guided"]
    title = f"the same noise, without and with {guided.title.removeprefix('guided: ')}"
    draw_image_grid([ImagePanel(title, cells, rows=rows)], path)


def draw_nearest(task: Task, arm: Arm, path: Path) -> bool:
    """Write a PNG of samples above their nearest training examples; False where those cannot be looked up."""
    size = task.size()
    if not size or len(arm.samples) < 2:
        return False
    samples = arm.samples[:SAMPLES]
    searched = min(size, max(BLOCK, MOST_NUMBERS // samples[0].numel()))
    if task.items(torch.arange(1))[0].shape[1:] != samples.shape[1:]:  # of latents, whose samples are decoded
        return False
    distances, numbers = nearest_examples(task, samples, searched)
    order = distances.argsort()[:ACROSS]
    cells = [_images(task, samples[order]), _images(task, task.items(numbers[order])[0])]
    among = f"{searched:,} training images" if searched == size else f"{searched:,} of {size:,} training images"
    title = f"{len(order)} of {len(samples)} {arm.name} samples, nearest to {among}"
    panel = ImagePanel(title, cells, [f"{distances[row]:.3g}" for row in order], ["sample", "training"])
    draw_image_grid([panel], path)
    return True


def nearest_examples(task: Task, samples: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The distance of each sample to the nearest of the first ``count`` training examples, and that one's number.

    Args:
        task: with `size` and `items`.
        samples: (N, *), of the examples' shape.
        count: how many examples are looked through.
    """
    rows = samples.double().flatten(1)
    least, numbers = torch.full((len(rows),), torch.inf, dtype=torch.float64), torch.zeros(len(rows), dtype=torch.int64)
    for start in range(0, count, BLOCK):
        ids = torch.arange(start, min(start + BLOCK, count))
        examples = task.items(ids)[0].double().flatten(1)
        squares = examples.square().sum(1) - 2 * rows @ examples.T
        place = squares.argmin(1)  # alike but for |sample|^2; the distance itself is by differences
        distances = (rows - examples[place]).norm(dim=1)
        nearer = distances < least
        least, numbers = torch.where(nearer, distances, least), torch.where(nearer, ids[place], numbers)
    return least, numbers


def _images(task: Task, samples: Tensor) -> list[NDArray[np.uint8]]:
    pixels = task.pictures(samples)
    assert pixels is not None
    return list(pixels.permute(0, 2, 3, 1).numpy())
