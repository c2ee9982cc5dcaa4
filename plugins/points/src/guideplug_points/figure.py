"""The task's picture: held-out, unguided and guided rows side by side, coloured by class.

Two columns are drawn as they are; more as the two principal components of the training rows, columns in standard
deviations. Behind samples lie the held-out rows, in grey. Drawn on a `Figure` with its own canvas, so no global state
of pyplot is touched. Cost: no network calls.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from guideplug import Arm
from guideplug_points.table import Floats, Table

__all__ = ["draw_figure"]

NUM_POINTS = 4000
"""Points drawn of each arm: more only hide each other."""
COLOURS = ("#1f6fb4", "#d1495b", "#3c9d6c", "#e09f3e", "#7a5ea8", "#2ba6b5", "#a0522d", "#c46db0", "#5c6b73", "#9aa317")
NEUTRAL = "#1f6fb4"
BEHIND = "#c9ced3"
EDGE = 0.005
"""The share of rows on either side of a panel's window before its margin."""


def draw_figure(table: Table, arms: Sequence[Arm], path: Path) -> None:
    """Write a PNG with a panel for each arm; that of the arm "truth" is of the held-out rows."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # half a second to import, and only figures need it
    from matplotlib.figure import Figure

    axes, labels = _projection(table)
    seen = axes(np.concatenate([table.train, table.heldout]))
    low, high = np.quantile(seen, [EDGE, 1 - EDGE], axis=0)
    margin = 0.12 * (high - low) + 1e-9
    low, high = low - margin, high + margin
    behind = axes(table.heldout[:NUM_POINTS])

    figure = Figure(figsize=(3.8 * len(arms) + 0.3, 4.6), dpi=130, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(arms), sharex=True, sharey=True, squeeze=False)[0]
    for panel, arm in zip(panels, arms, strict=True):
        points = axes(arm.samples.numpy())
        outside = float((~((points >= low) & (points <= high)).all(axis=1)).mean())
        size = float(np.clip(4000 / min(len(points), NUM_POINTS), 2, 14))
        if arm.name != "truth":
            panel.scatter(behind[:, 0], behind[:, 1], s=size, c=BEHIND, linewidths=0, zorder=1)
        _scatter(panel, points[:NUM_POINTS], arm.labels, table, size)
        title = "held-out rows" if arm.name == "truth" else arm.title
        panel.set_title(title, fontsize=10, color="0.1")
        noted = f"{len(points):,} rows" + (f", {outside:.1%} off the panel" if outside else "")
        panel.text(0.02, 0.02, noted, transform=panel.transAxes, fontsize=7.5, color="0.4", zorder=4)
        panel.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))
        panel.set_xlabel(labels[0], fontsize=8.5, color="0.3")
        panel.tick_params(labelsize=7.5, colors="0.45", length=2.5)
        panel.spines[["top", "right"]].set_visible(False)
        panel.spines[["left", "bottom"]].set_color("0.7")
    panels[0].set_ylabel(labels[1], fontsize=8.5, color="0.3")
    _legend(figure, table)
    figure.savefig(path, format="png")


def _projection(table: Table) -> "tuple[Any, tuple[str, str]]":
    """A function from rows (N, D) to points of the plane (N, 2), and what its axes are."""
    if len(table.names) == 2:
        return (lambda rows: np.asarray(rows, dtype=np.float64)), (table.names[0], table.names[1])
    _, spread, components = np.linalg.svd(table.standard(table.train), full_matrices=False)
    plane = components[:2] * np.sign(components[:2].sum(axis=1, keepdims=True) + 1e-12)
    shares = spread**2 / (spread**2).sum()

    def project(rows: NDArray[Any]) -> Floats:
        found: Floats = table.standard(rows) @ plane.T
        return found

    first, second = (f"principal component {i + 1} ({shares[i]:.0%} of the variance)" for i in range(2))
    return project, (first, second)


def _scatter(panel: Any, points: Floats, labels: Tensor | None, table: Table, size: float) -> None:
    if not table.classes or labels is None:
        panel.scatter(points[:, 0], points[:, 1], s=size, c=NEUTRAL, linewidths=0, alpha=0.75, zorder=2)
        return
    colours = np.array(_colours(len(table.classes)))[labels[: len(points)].numpy()]
    panel.scatter(points[:, 0], points[:, 1], s=size, c=colours, linewidths=0, alpha=0.75, zorder=2)


def _colours(count: int) -> list[str]:
    """A colour for each class: well apart for ten, along a scale for more."""
    if count <= len(COLOURS):
        return list(COLOURS[:count])
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    return [to_hex(colormaps["turbo"](0.05 + 0.9 * index / (count - 1))) for index in range(count)]


def _legend(figure: Any, table: Table) -> None:
    from matplotlib.lines import Line2D

    marks = [(BEHIND, "held-out rows")]
    if 0 < len(table.classes) <= len(COLOURS):
        marks = [*zip(COLOURS, table.classes, strict=False), *marks]
    handles = [
        Line2D([], [], linestyle="", marker="o", markersize=5, color=colour, label=name[:24]) for colour, name in marks
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 6), frameon=False, fontsize=8)
