"""The tree's figure, after Figure 1 of arXiv:2406.02507: true density and outline, then each arm's samples on it."""

import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from guideplug import Arm
from guideplug_tree.metrics import OUTLINE
from guideplug_tree.mixture import TreeMixture

__all__ = ["INSIDE", "OUTSIDE", "draw_figure", "window"]

NUM_POINTS = 8192
"""Most points drawn of each arm, since more only hide each other; shares are of all samples, as metrics are."""
LETTERS = 50
"""Letters that fit above a panel."""
WIDEST = 5
"""Panels in a row, where they do not fit into one."""
INSIDE, OUTSIDE = "#1f6fb4", "#d1495b"
"""The colours of points inside and outside the outline."""


def draw_figure(mixture: TreeMixture, arms: Sequence[Arm], path: Path) -> None:
    """Write a PNG with a panel for the truth and one for each arm."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # half a second to import, and only figures need it
    from matplotlib.figure import Figure

    low, high = window(mixture)
    across, up = (torch.linspace(float(low[d]), float(high[d]), 600) for d in (0, 1))
    grid = torch.stack(torch.meshgrid(across, up, indexing="xy"), dim=-1).reshape(-1, 2)
    density = mixture.log_prob(grid).reshape(len(up), len(across)).numpy()
    extent = (float(low[0]), float(high[0]), float(low[1]), float(high[1]))

    count = 1 + len(arms)
    columns = count if count <= WIDEST else -(-count // 2) if count <= 2 * WIDEST else WIDEST
    lines = -(-count // columns)
    figure = Figure(figsize=(4.6 * columns, 4.9 * lines), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    grid_of_panels = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False)
    panels = grid_of_panels.ravel()[:count]
    for unused in grid_of_panels.ravel()[count:]:
        unused.set_visible(False)
    image = panels[0].imshow(
        np.clip(density, OUTLINE - 4, None), extent=extent, origin="lower", cmap="YlGnBu", aspect="equal"
    )
    panels[0].set_title("truth: log density and outline")
    figure.colorbar(image, ax=panels[0], shrink=0.7, label="log p(x), nats")
    for panel, arm in zip(panels[1:], arms, strict=True):
        inside = mixture.log_prob(arm.samples) >= OUTLINE
        for rows, colour, name in ((inside, INSIDE, "inside"), (~inside, OUTSIDE, "outside")):
            shown = arm.samples[:NUM_POINTS][rows[:NUM_POINTS]].numpy()
            share = f"{name} {float(rows.float().mean()):.2%}"
            panel.scatter(shown[:, 0], shown[:, 1], s=1.6, c=colour, linewidths=0, alpha=0.7, label=share, zorder=3)
        count, drawn = len(arm.samples), min(len(arm.samples), NUM_POINTS)
        number = f"{count:,} samples" + (f", {drawn:,} of them drawn" if drawn < count else "")
        panel.set_title(textwrap.fill(f"{arm.title}, {number}", LETTERS), fontsize=10)
        panel.legend(loc="upper left", markerscale=6, frameon=False, fontsize=9)
        panel.set_aspect("equal")
    for panel in panels:
        panel.contour(density, levels=[OUTLINE], extent=extent, origin="lower", colors="#555555", linewidths=0.5)
        panel.set_xlim(extent[0], extent[1])
        panel.set_ylim(extent[2], extent[3])
    for panel in panels[-columns:]:
        panel.set_xlabel("x")
        panel.tick_params(labelbottom=True)
    for panel in panels[::columns]:
        panel.set_ylabel("y")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def window(mixture: TreeMixture) -> tuple[torch.Tensor, torch.Tensor]:
    """A square around the data, with a margin for samples that miss it."""
    low, high = mixture.component_means.amin(0), mixture.component_means.amax(0)
    middle, half = (low + high) / 2, float((high - low).max()) / 2 * 1.15
    return middle - half, middle + half
