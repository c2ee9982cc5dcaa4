"""The task's picture: real, unguided and guided digits side by side, one column per class.

Drawn on a `Figure` object with its own canvas, so no global state of pyplot is touched. Cost: no network calls.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["image_grid"]


def image_grid(
    panels: Sequence[tuple[str, ArrayLike, ArrayLike]],
    path: Path | str,
    *,
    title: str = "",
    num_rows: int = 10,
    num_classes: int = 10,
    upscale: int = 6,
) -> Path:
    """Write a PNG of panels side by side, each with a column per class and `num_rows` images of it.

    Args:
        panels: (title, images (N, 1, 8, 8) in [-1, 1], labels (N,)) each. Of a class with more than `num_rows` images,
            some spread evenly over them are shown, the same ones for equal labels; one with fewer leaves cells empty.
            Values beyond [-1, 1] are clipped.
        path: where to write.
        title: one line above all panels.
        num_rows: images of each class.
        num_classes: columns of a panel.
        upscale: screen pixels of a digit's pixel (no smoothing).

    Returns:
        The path written.

    Raises:
        ValueError: no panel, or images and labels whose shapes do not fit.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # imported here: half a second
    from matplotlib.figure import Figure

    if not panels:
        raise ValueError("image_grid needs at least one panel")
    grids = [_grid(name, images, labels, num_rows, num_classes) for name, images, labels in panels]
    rows, columns = grids[0].shape
    dpi, gap, top, bottom, side = 150, 26, 34 + (30 if title else 0), 22, 16  # the rest in screen pixels
    width = len(grids) * columns * upscale + (len(grids) - 1) * gap + 2 * side
    height = rows * upscale + top + bottom
    figure = Figure(figsize=(width / dpi, height / dpi), dpi=dpi, facecolor="white")
    FigureCanvasAgg(figure)
    for index, ((name, _, _), grid) in enumerate(zip(panels, grids, strict=True)):
        left = side + index * (columns * upscale + gap)
        axes = figure.add_axes((left / width, bottom / height, columns * upscale / width, rows * upscale / height))
        axes.imshow(grid, cmap="gray_r", vmin=-1, vmax=1, interpolation="nearest", aspect="auto")
        axes.set_title(name, fontsize=9, pad=5, color="0.1")
        axes.set_xticks([9 * digit + 4.5 for digit in range(num_classes)], [str(d) for d in range(num_classes)])
        axes.set_yticks([])
        axes.tick_params(length=0, labelsize=6.5, labelcolor="0.45", pad=1)
        axes.spines[:].set_visible(False)
    if title:
        figure.suptitle(title, fontsize=10, y=1 - 8 / height, va="top", color="0.1")
    path = Path(path)
    figure.savefig(path, format="png")
    return path


def _grid(name: str, images: ArrayLike, labels: ArrayLike, num_rows: int, num_classes: int) -> NDArray[np.float64]:
    """One panel's picture, (10·num_rows, 9·num_classes + 1): images between lines of paper."""
    pixels, classes = np.asarray(images, dtype=np.float64), np.asarray(labels)
    if pixels.ndim != 4 or pixels.shape[1:] != (1, 8, 8) or classes.shape != pixels.shape[:1]:
        raise ValueError(
            f"panel {name!r} needs images (N, 1, 8, 8) and labels (N,), got {pixels.shape} and {classes.shape}"
        )
    grid = np.full((10 * num_rows, 9 * num_classes + 1), -1.0)
    for digit in range(num_classes):
        members = pixels[classes == digit]
        if len(members) > num_rows:  # real images come sorted by their writer
            members = members[np.arange(num_rows) * len(members) // num_rows]
        for row, image in enumerate(members):
            top, left = 10 * row + 1, 9 * digit + 1
            grid[top : top + 8, left : left + 8] = image[0].clip(-1, 1)
    return grid
