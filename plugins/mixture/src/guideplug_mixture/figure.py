"""The picture of both tasks: arms beside each other on the lines of the exact density, coloured by class.

The lines hold 20, 50, 80 and 98 % of the data (`guideplug_mixture.reference.levels`). Drawn on a
`Figure` with its own canvas, so no global state of pyplot is touched. Cost: no network calls.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from guideplug import Arm
from guideplug_mixture.density import Gaussians
from guideplug_mixture.reference import levels

__all__ = ["draw_figure"]

NUM_POINTS = 2048
"""Points drawn of each arm: more only hide each other."""
HELD = (0.98, 0.8, 0.5, 0.2)
"""Shares of the data inside each line, from the outermost in."""
COLOURS = ("#1f6fb4", "#d1495b", "#3c9d6c", "#e09f3e", "#7a5ea8", "#2ba6b5", "#a0522d", "#c46db0", "#5c6b73", "#9aa317")
WIDTHS = (1.1, 0.7, 0.7, 0.7)
MARGIN = 4.2
"""Standard deviations of a component that the window holds."""
GRID = 240


def draw_figure(density: Gaussians, arms: Sequence[Arm], path: Path) -> None:
    """Write a PNG with a panel for each arm."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # half a second to import, and only figures need it
    from matplotlib.figure import Figure

    low, high = _window(density)
    across, up = (torch.linspace(float(low[d]), float(high[d]), GRID) for d in (0, 1))
    grid = torch.stack(torch.meshgrid(across, up, indexing="xy"), dim=-1).reshape(-1, 2)
    heights = density.log_prob(grid.double()).reshape(GRID, GRID).numpy()
    lines = levels(density, HELD)

    columns = min(len(arms), 4)
    rows = -(-len(arms) // columns)
    figure = Figure(figsize=(3.7 * columns + 0.2, 4.0 * rows + 0.5), dpi=130, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).flatten()
    for panel in panels[len(arms) :]:
        panel.set_axis_off()
    x, y = across.numpy(), up.numpy()
    for panel, arm in zip(panels, arms, strict=False):
        shown = arm.samples[:NUM_POINTS].numpy()
        size = float(np.clip(8000 / max(len(shown), 1), 3.5, 14))
        panel.scatter(shown[:, 0], shown[:, 1], s=size, c=_colours(arm, len(shown)), linewidths=0, alpha=0.55, zorder=2)
        panel.contour(x, y, heights, levels=lines, colors="#4a515c", linestyles="solid", linewidths=WIDTHS, zorder=3)
        inside = float((density.log_prob(arm.samples.double()) >= lines[0]).double().mean())
        strays = int(((arm.samples < low) | (arm.samples > high)).any(1).sum())
        noted = f"{len(arm.samples):,} samples, {inside:.1%} inside" + (f", {strays} off the panel" if strays else "")
        panel.text(0.02, 0.02, noted, transform=panel.transAxes, fontsize=7.5, color="0.35", zorder=4)
        panel.set_title("true samples" if arm.name == "truth" else arm.title, fontsize=10, color="0.1")
        panel.set(xlim=(x[0], x[-1]), ylim=(y[0], y[-1]), aspect="equal")
        panel.tick_params(labelsize=7.5, colors="0.45", length=2.5)
        panel.spines[["top", "right"]].set_visible(False)
        panel.spines[["left", "bottom"]].set_color("0.7")
    _legend(figure, density, arms)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="png")


def _window(density: Gaussians) -> tuple[Tensor, Tensor]:
    """The corners (2,) of a square around the components, with a margin."""
    reach = MARGIN * density.covariances.diagonal(dim1=1, dim2=2).sqrt()
    low, high = (density.means - reach).amin(0).float(), (density.means + reach).amax(0).float()
    middle, half = (low + high) / 2, float((high - low).max()) / 2
    return middle - half, middle + half


def _colours(arm: Arm, count: int) -> "str | list[str]":
    """A colour for each point by the class that was asked for, or one for all."""
    if arm.labels is None:
        return COLOURS[0]
    return [COLOURS[label % len(COLOURS)] for label in arm.labels[:count].tolist()]


def _legend(figure: Any, density: Gaussians, arms: Sequence[Arm]) -> None:
    from matplotlib.lines import Line2D

    handles = []
    classes = int(density.groups.max()) + 1
    if classes <= len(COLOURS) and any(arm.labels is not None for arm in arms):
        handles = [
            Line2D([], [], linestyle="", marker="o", markersize=5, color=COLOURS[label], label=f"class {label}")
            for label in range(classes)
        ]
    said = "lines of equal true density around 98, 80, 50 and 20 % of the data"
    handles.append(Line2D([], [], color="#4a515c", linewidth=1.0, label=said))
    columns = len(handles) if len(arms) > 1 else 2
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, frameon=False, fontsize=8)
