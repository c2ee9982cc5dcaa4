"""The task's picture: real, unguided and guided images side by side, a column per class, or in reading order."""

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from guideplug import Arm, draw_image_grid, grid_by_class, grid_in_order

__all__ = ["as_pixels", "draw_figure"]

MOST_CLASSES, ROWS, SIDE = 10, 8, 8
"""Columns of classes; images of each; the side of a panel without classes."""


def draw_figure(arms: Sequence[Arm], classes: Sequence[str], sigma_data: float, path: Path) -> None:
    """Write a PNG with a panel per arm. Latents (C other than 1 and 3) show their first channels as brightness.

    Args:
        arms: what to draw; "truth" is of real images.
        classes: the names of classes; empty without.
        sigma_data: the standard deviation of latents, which are drawn from -2 to 2 of them.
        path: where to write.
    """
    rows = min(max(map(_most_of_a_class, arms)), ROWS)
    panels = []
    for arm in arms:
        title, images = "real" if arm.name == "truth" else arm.title, as_pixels(arm.samples, sigma_data)
        if classes and arm.labels is not None:
            panels.append(grid_by_class(title, images, arm.labels, classes[:MOST_CLASSES], rows))
        else:
            panels.append(grid_in_order(title, images, SIDE))
    draw_image_grid(panels, path)


def _most_of_a_class(arm: Arm) -> int:
    """The number of images of the largest class."""
    return ROWS if arm.labels is None else int(arm.labels.bincount().max())


def as_pixels(images: Tensor, sigma_data: float) -> Tensor:
    """Images (N, C, H, W) as uint8 (N, 3, H, W)."""
    channels = images.shape[1]
    if channels in (1, 3):
        scaled = images.double() * 127.5 + 127.5
    else:
        scaled = images[:, : 3 if channels > 3 else 1].double() / (4 * sigma_data) * 255 + 127.5
    return scaled.clamp(0, 255).round().byte().expand(-1, 3, -1, -1)
