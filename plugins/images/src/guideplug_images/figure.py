"""The task's picture: real, unguided and guided images side by side, a column per class, or in reading order.

Drawn on a `Figure` with its own canvas, so no global state of pyplot is touched. Cost: no network calls.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from guideplug import Arm

__all__ = ["draw_figure"]

MOST_CLASSES, ROWS, SIDE = 10, 8, 8
"""Columns of classes; images of each; the side of a panel without classes."""
SCREEN = 48
"""Least screen pixels of an image's side."""


def draw_figure(arms: Sequence[Arm], classes: Sequence[str], sigma_data: float, path: Path) -> None:
    """Write a PNG with a panel per arm. Latents (C other than 1 and 3) show their first channels as brightness.

    Args:
        arms: what to draw; "truth" is of real images.
        classes: the names of classes; empty without.
        sigma_data: the standard deviation of latents, which are drawn from -2 to 2 of them.
        path: where to write.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # half a second to import, and only figures need it
    from matplotlib.figure import Figure

    shown = min(len(classes), MOST_CLASSES)
    rows = min(max(map(_most_of_a_class, arms)), ROWS) if shown else SIDE
    panels = [_panel(arm, rows, shown, sigma_data) for arm in arms]
    height, width = panels[0].shape[:2]
    zoom = max(1, -(-SCREEN // arms[0].samples.shape[-1]))
    dpi, gap, top, bottom, side = 150, 26, 34, 22, 16  # in screen pixels
    across = len(panels) * width * zoom + (len(panels) - 1) * gap + 2 * side
    down = height * zoom + top + bottom
    figure = Figure(figsize=(across / dpi, down / dpi), dpi=dpi, facecolor="white")
    FigureCanvasAgg(figure)
    for number, (arm, pixels) in enumerate(zip(arms, panels, strict=True)):
        left = side + number * (width * zoom + gap)
        axes = figure.add_axes((left / across, bottom / down, width * zoom / across, height * zoom / down))
        axes.imshow(pixels, interpolation="nearest", aspect="auto")
        axes.set_title("real" if arm.name == "truth" else arm.title, fontsize=9, pad=5, color="0.1")
        column = width / shown if shown else width
        names = [name[:12] for name in classes[:shown]] if arm.labels is not None else []
        axes.set_xticks([column * (place + 0.5) for place in range(len(names))], names)
        axes.set_yticks([])
        axes.tick_params(length=0, labelsize=6, labelcolor="0.45", pad=1)
        axes.spines[:].set_visible(False)
    figure.savefig(path, format="png")


def _most_of_a_class(arm: Arm) -> int:
    """The number of images of the largest class."""
    return ROWS if arm.labels is None else int(arm.labels.bincount().max())


def _panel(arm: Arm, rows: int, shown: int, sigma_data: float) -> NDArray[np.uint8]:
    """The picture of an arm, uint8 (H, W, 3), images between white lines."""
    columns = shown or SIDE
    height, width = arm.samples.shape[2:]
    paper = np.full((rows * (height + 1) + 1, columns * (width + 1) + 1, 3), 255, np.uint8)
    for column in range(columns):
        if shown and arm.labels is not None:
            members: Any = (arm.labels == column).nonzero()[:rows, 0]
        else:
            members = range(column, min(rows * columns, len(arm.samples)), columns)
        for row, index in enumerate(members):
            top, left = row * (height + 1) + 1, column * (width + 1) + 1
            paper[top : top + height, left : left + width] = _visible(arm.samples[int(index)], sigma_data)
    return paper


def _visible(image: Tensor, sigma_data: float) -> NDArray[np.uint8]:
    """An image (C, H, W) as uint8 (H, W, 3)."""
    channels = len(image)
    if channels in (1, 3):
        scaled = image.double() * 127.5 + 127.5
    else:
        scaled = image[: 3 if channels > 3 else 1].double() / (4 * sigma_data) * 255 + 127.5
    pixels: NDArray[np.uint8] = scaled.clamp(0, 255).round().byte().numpy().transpose(1, 2, 0)
    return np.broadcast_to(pixels, (*pixels.shape[:2], 3))
