"""A metric against seconds, examples and iterations: a line for each arm, with a band of one standard deviation.

Colours tell the guiders apart where there are more of them than selectors, else the selectors; more than ten run
through a colour map, so that a range of weights reads as one. Strokes and marks tell the others apart.
"""

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs

from guideplug.compare.result import BUDGETS, Comparison
from guideplug.compare.words import arm

__all__ = ["Look", "draw_curves", "looks"]

LABELS = {"time": "seconds of training", "examples": "examples back-propagated", "iterations": "iterations"}
STROKES = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)), (0, (9, 3)), (0, (4, 1, 1, 1, 1, 1)), (0, (2, 4)))
MARKS = ("o", "s", "^", "D", "v", "P", "X", "*")
WIDTH = 13.5
LETTERS = 190
"""How many letters of the legend fit beside each other."""


@attrs.frozen
class Look:
    """How an arm's line is drawn: a colour of matplotlib's, a stroke, a mark."""

    colour: Any
    stroke: Any
    mark: str


def looks(guiders: Sequence[str], selectors: Sequence[str]) -> dict[tuple[str, str], Look]:
    """A look for each arm; no two are equal (strokes and marks together make 56)."""
    by_guider = len(selectors) < len(guiders)
    colours = _colours(len(guiders if by_guider else selectors))
    found = {}
    for i, guider in enumerate(guiders):
        for j, selector in enumerate(selectors):
            colour, other = (i, j) if by_guider else (j, i)
            found[guider, selector] = Look(colours[colour], STROKES[other % len(STROKES)], MARKS[other % len(MARKS)])
    return found


def _colours(count: int) -> list[Any]:
    if count <= 10:
        return [f"C{number}" for number in range(count)]
    from matplotlib import colormaps

    return [colormaps["turbo"](0.05 + 0.9 * number / (count - 1)) for number in range(count)]


def draw_curves(comparison: Comparison, metric: str, path: Path) -> bool:
    """Write a PNG; whether there was anything to draw: a metric with values at two snapshots or more."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # half a second to import
    from matplotlib.figure import Figure

    curves = {
        (guider, selector): _curve(comparison, guider, selector, metric)
        for selector in comparison.selectors
        for guider in comparison.guiders
    }
    if all(len(points) < 2 for points in curves.values()):
        return False
    columns = max(1, min(4, LETTERS // (max(len(arm(*pair)) for pair in curves) + 8)))
    rows = -(-(len(curves) + 1) // columns)
    figure = Figure(figsize=(WIDTH, 4.1 + 0.19 * rows), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(BUDGETS), sharey=True)
    truth = comparison.truth.get(metric)
    look = looks(comparison.guiders, comparison.selectors)
    for panel, budget in zip(panels, BUDGETS, strict=True):
        for (guider, selector), points in curves.items():
            across = [point[budget] for point in points]
            middle = [point["mean"] for point in points]
            low = [point["mean"] - point["std"] for point in points]
            high = [point["mean"] + point["std"] for point in points]
            drawn = look[guider, selector]
            panel.plot(
                across,
                middle,
                linestyle=drawn.stroke,
                color=drawn.colour,
                marker=drawn.mark,
                markersize=3.5,
                label=arm(guider, selector),
            )
            if len(comparison.seeds) > 1:
                panel.fill_between(across, low, high, color=drawn.colour, alpha=0.12, linewidth=0)
        if truth is not None:
            panel.axhline(truth, color="0.4", linewidth=0.8, linestyle=(0, (1, 2)), label="true samples")
        panel.axvline(comparison.limit(budget), color="0.75", linewidth=0.8)
        charged = ", references included" if budget == "time" and comparison.charge_reference else ""
        panel.set_xlabel(LABELS[budget] + charged)
        panel.grid(alpha=0.2)
    better = {"higher": "higher is better", "lower": "lower is better", "truth": "near true samples is better"}
    panels[0].set_ylabel(f"{metric} ({better[comparison.metrics[metric]['better']]})")
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(
        handles,
        names,
        loc="outside lower center",
        ncols=min(len(names), columns),
        frameon=False,
        fontsize=9,
        handlelength=4,
    )
    seeds = len(comparison.seeds)
    band = f"mean of {seeds} seeds, band of one population standard deviation over them" if seeds > 1 else "one seed"
    figure.suptitle(f"{metric}: {band}", fontsize=11)
    figure.savefig(path, format="png")
    return True


def _curve(comparison: Comparison, guider: str, selector: str, metric: str) -> list[dict[str, float]]:
    """The points of an arm's line: means over the seeds at each step, where every seed has a value."""
    trainings = {
        (training.seed, training.step): training for training in comparison.trainings if training.selector == selector
    }
    found: dict[int, dict[int, float]] = {}
    for row in comparison.rows:
        value = row.metrics.get(metric)
        if (row.guider, row.selector) == (guider, selector) and value is not None:
            found.setdefault(row.step, {})[row.seed] = value
    points = []
    for step, values in sorted(found.items()):
        if len(values) < len(comparison.seeds):
            continue
        at = [trainings[seed, step] for seed in values]
        points.append(
            {
                "time": statistics.fmean(comparison.spent(training, "time") for training in at),
                "examples": statistics.fmean(training.backpropagated for training in at),
                "iterations": float(step),
                "mean": statistics.fmean(values.values()),
                "std": statistics.pstdev(values.values()),
            }
        )
    return points
