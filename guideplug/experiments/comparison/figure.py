"""A metric against seconds, examples and iterations: a line for each arm, with a band of one standard deviation.

Colours distinguish the guiders if there are more of them than selectors, else the selectors; more than ten are taken
from a colour map, so that a range of weights is ordered. Strokes and marks distinguish the others. The grey line is the
budget; a ring on a curve is the snapshot in the tables, a cross one that misses the budget.
"""

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs

from guideplug.experiments.comparison.digits import number
from guideplug.experiments.comparison.result import BUDGETS, Budget, Comparison
from guideplug.experiments.comparison.sentences import arm
from guideplug.files.durable import make_folder

__all__ = ["Look", "draw_curves", "looks", "why_none"]

LABELS = {"time": "seconds of training", "examples": "examples back-propagated", "iterations": "iterations"}
STROKES = (
    "-",
    (0, (6, 2)),
    (0, (1, 1.2)),
    (0, (8, 2, 1, 2)),
    (0, (14, 3)),
    (0, (5, 1.5, 1, 1.5, 1, 1.5)),
    (0, (1, 4.5)),
)
MARKS = ("o", "s", "^", "D", "v", "P", "X", "*")
WIDTH = 13.5
LETTERS = 190
"""Letters per row of the legend."""
TALL = 14
"""Largest number of legend rows below the panels; a longer legend is at their right."""
BETTER = {"higher": "higher is better", "lower": "lower is better", "truth": "near true samples is better"}


@attrs.frozen
class Look:
    """Style of an arm's line: a matplotlib colour, a stroke, a mark."""

    colour: Any
    stroke: Any
    mark: str


def looks(guiders: Sequence[str], selectors: Sequence[str]) -> dict[tuple[str, str], Look]:
    """A distinct style per arm (strokes and marks make 56 combinations)."""
    by_guider = len(selectors) < len(guiders)
    colours = _colours(len(guiders if by_guider else selectors))
    styles = {}
    for i, guider in enumerate(guiders):
        for j, selector in enumerate(selectors):
            colour, other = (i, j) if by_guider else (j, i)
            mark = other + colour if len(colours) > 10 else other  # neighbouring colours of a map are too similar
            styles[guider, selector] = Look(colours[colour], STROKES[other % len(STROKES)], MARKS[mark % len(MARKS)])
    return styles


def _colours(count: int) -> list[Any]:
    if count <= 10:
        return [f"C{number}" for number in range(count)]
    from matplotlib import colormaps

    return [colormaps["turbo"](0.05 + 0.9 * number / (count - 1)) for number in range(count)]


def draw_curves(comparison: Comparison, metric: str, path: Path) -> bool:
    """Write a PNG; False if no metric has values at two snapshots or more."""
    curves = {
        (guider, selector): _curve(comparison, guider, selector, metric)
        for selector in comparison.selectors
        for guider in comparison.guiders
    }
    if all(len(points) < 2 for points in curves.values()):
        return False
    figure, where = _sheet(list(curves))
    panels = figure.subplots(1, len(BUDGETS), sharey=True)
    truth = comparison.truth.get(metric)
    look = looks(comparison.guiders, comparison.selectors)
    for panel, budget in zip(panels, BUDGETS, strict=True):
        for pair, points in curves.items():
            _draw(panel, comparison, metric, budget, pair, points, look[pair])
        if truth is not None:
            panel.axhline(truth, color="0.25", linewidth=0.9, label="true samples")
        panel.axvline(comparison.limit(budget), color="0.7", linewidth=1.2, zorder=0)
        charged = ", references included" if budget == "time" and comparison.charge_reference else ""
        panel.set_xlabel(LABELS[budget] + charged)
        panel.grid(alpha=0.2)
    panels[0].set_ylabel(f"{metric} ({BETTER[comparison.metrics[metric]['better']]})")
    if truth is not None:
        _keep_near(panels, [point for points in curves.values() for point in points], truth)
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(handles, names, frameon=False, handlelength=4.5, **where)
    seeds = len(comparison.seeds)
    band = f"mean of {seeds} seeds, band of one population standard deviation over them" if seeds > 1 else "one seed"
    marks = "grey: the budget; ring: the snapshot that the tables take there; cross: one that is not near the budget"
    figure.suptitle(f"{metric}: {band}\n{marks}", fontsize=11)
    make_folder(path.parent)
    figure.savefig(path, format="png")
    return True


def why_none(comparison: Comparison) -> str:
    """The reason why no metric of a comparison has a curve."""
    if len({row.step for row in comparison.rows}) < 2:
        return "no curves: one snapshot per arm"
    return "no curves: no metric has values at two snapshots of an arm"


def _sheet(pairs: Sequence[tuple[str, str]]) -> tuple[Any, dict[str, Any]]:
    """A figure with room for the legend of all arms, and the legend's place: below, or at the right if it is tall."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # half a second to import
    from matplotlib.figure import Figure

    longest = max(len(arm(*pair)) for pair in pairs) + 8
    columns = max(1, min(4, LETTERS // longest, len(pairs) + 1))
    rows = -(-(len(pairs) + 1) // columns)
    if rows <= TALL:
        figure = Figure(figsize=(WIDTH, 4.5 + 0.19 * rows), dpi=110, layout="constrained")
        where: dict[str, Any] = {"loc": "outside lower center", "ncols": columns, "fontsize": 9}
    else:
        side = -(-(len(pairs) + 1) // 36)
        height = max(5.2, 0.9 + 0.19 * -(-(len(pairs) + 1) // side))
        figure = Figure(figsize=(WIDTH + 0.075 * longest * side, height), dpi=110, layout="constrained")
        where = {"loc": "outside right upper", "ncols": side, "fontsize": 8.5}
    FigureCanvasAgg(figure)
    return figure, where


def _draw(
    panel: Any,
    comparison: Comparison,
    metric: str,
    budget: Budget,
    pair: tuple[str, str],
    points: Sequence[dict[str, float]],
    drawn: Look,
) -> None:
    """An arm's line on a panel, its band, and a ring where the budget chooses."""
    across, middle = [point[budget] for point in points], [point["mean"] for point in points]
    style: dict[str, Any] = {"linestyle": drawn.stroke, "marker": drawn.mark, "markersize": 3.5}
    panel.plot(across, middle, color=drawn.colour, label=arm(*pair), **style)
    if len(comparison.seeds) > 1:
        low = [point["mean"] - point["std"] for point in points]
        high = [point["mean"] + point["std"] for point in points]
        panel.fill_between(across, low, high, color=drawn.colour, alpha=0.12, linewidth=0)
    guider, selector = pair
    values = comparison.values(guider, selector, metric, budget)
    if len(values) == len(comparison.seeds):
        chosen = comparison.chosen(budget)
        at = statistics.fmean(comparison.spent(chosen[selector, seed], budget) for seed in values)
        kind = "cross" if selector in comparison.missed(budget) else "ring"
        mark: dict[str, Any] = {"marker": "x" if kind == "cross" else "o", "markersize": 10, "linestyle": "none"}
        mean = statistics.fmean(values.values())
        panel.plot([at], [mean], markerfacecolor="none", markeredgecolor=drawn.colour, gid=kind, **mark)


def _keep_near(panels: Sequence[Any], points: Sequence[dict[str, float]], truth: float) -> None:
    """Limit the y axis to the arms if true samples would more than double it, and print the value of those."""
    low = min(point["mean"] - point["std"] for point in points)
    high = max(point["mean"] + point["std"] for point in points)
    span = high - low
    if span == 0 or max(high, truth) - min(low, truth) <= 2 * span:
        return
    above = truth > high
    panels[0].set_ylim(low - (0.05 if above else 0.2) * span, high + (0.2 if above else 0.05) * span)
    for panel in panels:
        panel.annotate(
            f"true samples: {number(truth)}",
            xy=(0.5, 1.0 if above else 0.0),
            xytext=(0.5, 0.93 if above else 0.07),
            xycoords="axes fraction",
            ha="center",
            va="top" if above else "bottom",
            fontsize=8,
            color="0.25",
            arrowprops={"arrowstyle": "->", "color": "0.25"},
        )


def _curve(comparison: Comparison, guider: str, selector: str, metric: str) -> list[dict[str, float]]:
    """The points of an arm's line: means over the seeds at each step, if every seed has a value."""
    trainings = {
        (training.seed, training.step): training for training in comparison.trainings if training.selector == selector
    }
    values_at: dict[int, dict[int, float]] = {}
    for row in comparison.rows:
        value = row.metrics.get(metric)
        if (row.guider, row.selector) == (guider, selector) and value is not None:
            values_at.setdefault(row.step, {})[row.seed] = value
    points = []
    for step, values in sorted(values_at.items()):
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
