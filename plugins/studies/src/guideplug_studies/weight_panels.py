"""What a fitted weight says on a sampler's grid, and the two figures of the study of learned weights."""

import statistics
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from attrs import evolve, frozen
from torch import Tensor

from guideplug import Measured, Task, WeightInput, sigma_grid
from guideplug_studies.curves import COLOURS
from guideplug_studies.words import BETTER

__all__ = ["Omegas", "arm_panels", "grid_of", "omega_panels", "omegas"]

ARM_COLOURS = {"none": "#777777", "constant": "#d1495b", "interval": "#c98a1b", "learned": "#1f6fb4"}
NAMES = {"none": "unguided", "constant": "best constant", "interval": "best interval", "learned": "learned"}


@frozen
class Omegas:
    """The weights omega of the fits of one training: for each seed and label, at the levels of a grid but the 0."""

    values: Sequence[Sequence[Sequence[float]]]

    @property
    def mean_of_seeds(self) -> list[float]:
        """Over labels and levels, of each seed."""
        return [statistics.fmean(value for label in one for value in label) for one in self.values]

    def of_label(self, label: int) -> tuple[list[float], list[float]]:
        """At each level the mean over seeds, and the deviation."""
        by_level = list(zip(*(one[label] for one in self.values), strict=True))
        return [statistics.fmean(level) for level in by_level], [statistics.pstdev(level) for level in by_level]


def grid_of(task: Task, steps: int) -> list[float]:
    """The levels of Euler's steps, the 0 at the end included."""
    return sigma_grid(steps, task.space.sigma_min, task.space.sigma_max)


def omegas(rows: Sequence[Measured], steps: int) -> Omegas:
    """Ask the fitted weight of every trial at each step of a sampler, for each label of its task."""
    found = []
    for row in rows:
        module: Any = row.obtain("weights")
        labels = len(row.task.groups())
        places = [WeightInput(t, s, row.task.space, step=(t, s)) for t, s in pairwise(grid_of(row.task, steps))]
        conditions: list[Tensor | None] = [torch.tensor([label]) for label in range(labels)] or [None]
        with torch.no_grad():
            found.append([[float(module(evolve(at, condition=one))) for at in places] for one in conditions])
    return Omegas(found)


def _figure(across: int, down: int, width: float, height: float) -> tuple[Any, Any]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # half a second to import
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width * across, height * down + 0.5), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(down, across, squeeze=False)


def arm_panels(cells: Sequence[Any], path: Path) -> None:
    """Write a PNG: for each guider and training the metric of every arm, a dot per seed and a bar at the mean."""
    guiders = list(dict.fromkeys(cell.guider for cell in cells))
    trainings = list(dict.fromkeys(cell.training for cell in cells))
    figure, panels = _figure(len(trainings), len(guiders), 2.6, 3.0)
    for cell in cells:
        panel = panels[guiders.index(cell.guider)][trainings.index(cell.training)]
        for place, (arm, values) in enumerate(cell.arms.items()):
            if not values:
                continue
            middle = statistics.fmean(values.values())
            spread = [place + 0.3 * (k / max(len(values) - 1, 1) - 0.5) for k in range(len(values))]
            panel.plot(spread, list(values.values()), "o", markersize=4, alpha=0.6, color=ARM_COLOURS[arm], linewidth=0)
            panel.plot([place - 0.33, place + 0.33], [middle, middle], color=ARM_COLOURS[arm], linewidth=2)
            panel.annotate(
                f"{middle:.2g}", (place, max(values.values())), ha="center", va="bottom", fontsize=7,
                xytext=(0, 4), textcoords="offset points",
            )  # fmt: skip
        panel.set_title(f"{cell.guider}, {cell.training}", fontsize=9)
        panel.set_xticks(range(len(NAMES)), [NAMES[arm].replace(" ", "\n") for arm in cell.arms], fontsize=7)
        panel.tick_params(axis="y", labelsize=7)
        panel.grid(axis="y", alpha=0.25, linewidth=0.5)
        panel.margins(y=0.18)
        panel.set_xlim(-0.6, len(NAMES) - 0.4)
    for row in panels:
        row[0].set_ylabel(f"{cells[0].metric} ({BETTER[cells[0].better]})", fontsize=8)
    figure.suptitle("Each panel has its own scale; a dot per seed, a bar at the mean", fontsize=8)
    figure.savefig(path)


def omega_panels(of_each: Mapping[str, Omegas], levels: Sequence[float], guider: str, path: Path) -> None:
    """Write a PNG: for each training the learned omega of each label against the level that a step comes from."""
    figure, panels = _figure(len(of_each), 1, 3.0, 2.8)
    for panel, (training, omega) in zip(panels[0], of_each.items(), strict=True):
        from_ = levels[:-1]
        labels = len(omega.values[0])
        for label in range(labels):
            middle, spread = omega.of_label(label)
            colour = COLOURS[label % len(COLOURS)]
            name = f"class {label}" if labels > 1 else "all"
            panel.plot(from_, middle, color=colour, linewidth=1.4, label=name)
            low, high = ([m + sign * s for m, s in zip(middle, spread, strict=True)] for sign in (-1, 1))
            panel.fill_between(from_, [max(value, 0.0) for value in low], high, color=colour, alpha=0.12, linewidth=0)
        panel.set_xscale("log")
        panel.invert_xaxis()
        panel.set_title(f"{training}", fontsize=9)
        panel.set_xlabel("σ that the step comes from", fontsize=8)
        panel.tick_params(labelsize=7)
        panel.grid(alpha=0.25, linewidth=0.5)
        top = max((value for label in range(labels) for value in omega.of_label(label)[0]), default=0.0)
        panel.set_ylim(-0.02 * max(top, 0.2), 1.15 * max(top, 0.2))
    panels[0][0].set_ylabel("learned ω (w = 1 + ω)", fontsize=8)
    handles, names = panels[0][0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=max(len(names), 1), frameon=False, fontsize=8)
    figure.suptitle(f"learned({guider}): mean over seeds, band of one deviation; scales differ", fontsize=9)
    figure.savefig(path)
