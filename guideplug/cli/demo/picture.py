"""The demo's picture: the true density, then the samples of each denoiser on its outline."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from guideplug.cli.demo.spirals import Spirals
from guideplug.cli.demo.trial import Demo

__all__ = ["draw_picture"]

GRID, REACH = 320, 1.3
INSIDE, OUTSIDE = "#1f6fb4", "#d1495b"


def draw_picture(demo: Demo, samples: Mapping[str, Tensor], path: Path) -> None:
    """Write a PNG with a panel for the density and one for each row but the truth's."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # half a second to import
    from matplotlib.figure import Figure

    truth, rows = Spirals(), demo.rows[1:]
    line = torch.linspace(-REACH, REACH, GRID)
    grid = torch.stack(torch.meshgrid(line, line, indexing="xy"), dim=-1).reshape(-1, 2)
    density = truth.log_density(grid).reshape(GRID, GRID).numpy()
    extent = (-REACH, REACH, -REACH, REACH)
    figure = Figure(figsize=(3.3 * (1 + len(rows)), 3.95), dpi=110)
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, 1 + len(rows), squeeze=False)[0]
    figure.subplots_adjust(left=0.005, right=0.995, bottom=0.01, top=0.82, wspace=0.02)
    panels[0].imshow(density.clip(demo.outline - 8), extent=extent, origin="lower", cmap="YlGnBu")
    panels[0].set_title("the truth\nits log density, and the\noutline that holds 99 % of it", fontsize=11)
    for panel, row in zip(panels[1:], rows, strict=True):
        points = samples[row.name]
        inside = truth.log_density(points) >= demo.outline
        for chosen, colour in ((inside, INSIDE), (~inside, OUTSIDE)):
            shown = points[chosen].numpy()
            panel.scatter(shown[:, 0], shown[:, 1], s=2.2, c=colour, linewidths=0, alpha=0.75, zorder=3)
        calls = " + ".join(f"{count} {role}" for role, count in row.calls.items() if count)
        title = f"{row.name}\n{calls} calls per sample\nfidelity {row.inside:.1%}, coverage {row.coverage:.1%}"
        panel.set_title(title, fontsize=11)
    for panel in panels:
        panel.contour(
            density,
            levels=[demo.outline],
            extent=extent,
            origin="lower",
            colors="#666666",
            linewidths=0.6,
            linestyles="-",
        )
        panel.set(xlim=(-REACH, REACH), ylim=(-REACH, REACH), xticks=[], yticks=[], aspect="equal")
    figure.savefig(path, format="png")
