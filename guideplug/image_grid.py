"""Grids of images as one PNG: panels side by side, each of rows and columns, pixel by pixel without smoothing.

Drawn on a `Figure` with its own canvas, so that no global state of pyplot is touched. Every pixel of an image is a
square of whole screen pixels. Cost: no network calls.
"""

import itertools
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from attrs import frozen
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["ImagePanel", "draw_image_grid", "grid_by_class", "grid_in_order"]

SCREEN = 48
"""Least screen pixels of an image's side."""
DPI, EDGE, GAP = 150, 16, 30
"""Dots per inch; screen pixels around the panels, and between two of them."""
SMALL, LARGE = 7.5, 10.0
"""Screen pixels of a letter in the names of rows and columns, and in titles."""
LINE, TICK = 22, 18
"""Screen pixels of a line of a title, and of a line of names."""
LONGEST = 14
"""Letters of a name; the rest is left out."""


@frozen(eq=False)
class ImagePanel:
    """Images in rows and columns.

    Args:
        title: above them.
        cells: the images, uint8 (H, W, 3), by row and column; None leaves a cell empty, and a row without cells is a
            narrow gap. All images have one size.
        columns: the names of columns, below them; empty for none.
        rows: the names of rows, at their left; empty for none.
    """

    title: str
    cells: Sequence[Sequence[NDArray[np.uint8] | None]]
    columns: Sequence[str] = ()
    rows: Sequence[str] = ()

    def pixels(self, size: tuple[int, int]) -> NDArray[np.uint8]:
        """The panel as one image, uint8 (rows (H + 1) + 1, columns (W + 1) + 1, 3), between white lines."""
        height, width = size
        across = max(map(len, self.cells), default=0)
        tops = self.tops(height)
        paper = np.full((tops[-1] + 1, across * (width + 1) + 1, 3), 255, np.uint8)
        for top, cells in zip(tops, self.cells, strict=False):
            for column, image in enumerate(cells):
                if image is not None:
                    left = column * (width + 1) + 1
                    paper[top + 1 : top + 1 + height, left : left + width] = image
        return paper

    def tops(self, height: int) -> list[int]:
        """The first line of each row of images of a height, and that after the last."""
        return list(itertools.accumulate((height + 1 if cells else height // 3 for cells in self.cells), initial=0))


def grid_by_class(title: str, images: Tensor, labels: Tensor, classes: Sequence[str], rows: int) -> ImagePanel:
    """A column per class, with ``rows`` images of each, spread evenly over them: equal labels give equal places.

    Args:
        title: above the panel.
        images: uint8 (N, 3, H, W).
        labels: their classes (N,).
        classes: the names of the classes that are shown, numbered from 0.
        rows: images of each.
    """
    members = [_spread((labels == number).nonzero()[:, 0].tolist(), rows) for number in range(len(classes))]
    shown = _shown(images)
    cells = [[shown[column[row]] if row < len(column) else None for column in members] for row in range(rows)]
    return ImagePanel(title, cells, classes)


def grid_in_order(title: str, images: Tensor, side: int) -> ImagePanel:
    """The first images, uint8 (N, 3, H, W), in reading order, ``side`` in a row, of at most ``side`` rows."""
    shown = _shown(images[: side * side])
    return ImagePanel(title, [shown[start : start + side] for start in range(0, len(shown), side)])


def _spread(members: list[int], most: int) -> list[int]:
    return members if len(members) <= most else [members[place * len(members) // most] for place in range(most)]


def _shown(images: Tensor) -> list[NDArray[np.uint8]]:
    return list(images.permute(0, 2, 3, 1).numpy())


def draw_image_grid(panels: Sequence[ImagePanel], path: Path) -> None:
    """Write a PNG of panels side by side.

    Raises:
        ValueError: there is no image, or images differ in size.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # half a second to import, and only figures need it
    from matplotlib.figure import Figure

    sizes = {image.shape[:2] for panel in panels for row in panel.cells for image in row if image is not None}
    if len(sizes) != 1:
        raise ValueError(f"a grid has images of one size, got {sorted(sizes) or 'no image'}")
    (size,) = sizes
    zoom = max(1, -(-SCREEN // min(size)))
    papers = [panel.pixels(size) for panel in panels]
    names = [[name[:LONGEST] for name in panel.columns] for panel in panels]
    upright = any(len(name) * SMALL > (size[1] + 1) * zoom for columns in names for name in columns)
    longest = max((len(name) for columns in names for name in columns), default=0)
    bottom = EDGE + (0 if not longest else int(longest * SMALL) + 6 if upright else TICK)
    lefts = [int(max((len(name) for name in panel.rows), default=0) * SMALL) + 4 * bool(panel.rows) for panel in panels]
    titles = [
        textwrap.fill(panel.title, max(8, int(paper.shape[1] * zoom / LARGE)))
        for panel, paper in zip(panels, papers, strict=True)
    ]
    top = EDGE + LINE * max((title.count("\n") + 1 for title in titles if title), default=0)
    tall = max(paper.shape[0] for paper in papers) * zoom
    down = tall + top + bottom
    across = 2 * EDGE + GAP * (len(panels) - 1) + sum(lefts) + sum(paper.shape[1] * zoom for paper in papers)
    figure = Figure(figsize=(across / DPI, down / DPI), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    left = EDGE
    for panel, paper, columns, title, aside in zip(panels, papers, names, titles, lefts, strict=True):
        height, width = paper.shape[0] * zoom, paper.shape[1] * zoom
        left += aside
        place = (left / across, (down - top - height) / down, width / across, height / down)
        axes = figure.add_axes(place)
        axes.imshow(np.kron(paper, np.ones((zoom, zoom, 1), np.uint8)), interpolation="nearest", aspect="auto")
        axes.set_title(title, fontsize=9, pad=5, color="0.1")
        _name(axes, columns, panel, size, zoom, upright=upright)
        left += width + GAP
    figure.savefig(path, format="png")


def _name(
    axes: Any, columns: Sequence[str], panel: ImagePanel, size: tuple[int, int], zoom: int, *, upright: bool
) -> None:
    """The names of a panel's columns and rows; ``upright`` turns those of columns by a quarter."""
    height, width = ((side + 1) * zoom for side in size)
    axes.set_xticks([width * (place + 0.5) for place in range(len(columns))], columns)
    tops = panel.tops(size[0])[: len(panel.rows)]
    axes.set_yticks([top * zoom + height / 2 for top in tops], panel.rows)
    axes.tick_params(length=0, labelsize=6.5, labelcolor="0.35", pad=2)
    axes.tick_params(axis="x", labelrotation=90 if upright else 0)
    axes.spines[:].set_visible(False)
