"""Curves of metrics against a guidance weight, and the weight that is best on them."""

import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from attrs import frozen

from guideplug import Candidates, Findings, along_range
from guideplug_studies.words import BETTER

__all__ = [
    "COLOURS",
    "MARKS",
    "UNGUIDED",
    "Curve",
    "by_seed",
    "curve",
    "draw_curves",
    "points",
    "unguided_by_seed",
]

UNGUIDED = "none"
COLOURS = ("#1f6fb4", "#d1495b", "#2e8b57", "#8e5ea2", "#c98a1b", "#4d4d4d")
MARKS = ("o", "s", "^", "D", "v", "P")


@frozen
class Curve:
    """A metric of one guider per weight and training seed; means over the seeds of the guide."""

    guider: str
    values: Mapping[float, Mapping[int, float]]

    def candidates(self, found: Findings, metric: str) -> Candidates[float]:
        """The weights to choose from."""
        return Candidates(self.values, lambda value: found.distance(metric, value))


def curve(found: Findings, guider: str, metric: str) -> Curve:
    """The curve of a guider; where a guide has no value, its seed has none there: means would be of other guides."""
    values: dict[float, dict[int, list[float | None]]] = {}
    for row in found.where(guider=guider).rows:
        here = values.setdefault(float(row.axes["weight"]), {}).setdefault(int(row.axes["seed"]), [])
        here.append(row.metrics.get(metric))
    means: dict[float, dict[int, float]] = {}
    for weight, by in values.items():
        for seed, many in by.items():
            whole = [value for value in many if value is not None]
            if len(whole) == len(many):
                means.setdefault(weight, {})[seed] = statistics.fmean(whole)
    return Curve(guider, means)


def points(guider: str) -> list[tuple[float, str]]:
    """The weight w and the expression at each point of an expression with a range; of an omega w is 1 + omega."""
    return [(1 + number if name == "omega" else number, text) for name, number, text in along_range(guider)]


def by_seed(found: Findings, metric: str) -> dict[int, float]:
    """A metric by seed, of rows of which each seed has one; those without a value are left out."""
    return {int(str(seed)): value for seed, value in found.by("seed", metric).items()}


def unguided_by_seed(found: Findings, metric: str) -> dict[int, float]:
    """The unguided values, by seed."""
    return by_seed(found.where(guider=UNGUIDED), metric)


def draw_curves(found: Findings, curves: Mapping[str, Sequence[Curve]], titles: Mapping[str, str], path: Path) -> None:
    """Write a PNG with a panel for each metric: mean and standard deviation over seeds against the weight."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # half a second to import
    from matplotlib.figure import Figure

    across = min(3, len(curves))
    down = math.ceil(len(curves) / across)
    figure = Figure(figsize=(4.4 * across, 3.2 * down + 0.6), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(down, across, squeeze=False).ravel()
    for panel, (metric, several) in zip(panels, curves.items(), strict=False):
        plain = list(unguided_by_seed(found, metric).values())
        middle = statistics.fmean(plain) if plain else 0.0
        if plain:
            panel.axhline(middle, color="#777777", linewidth=1, linestyle="--", label="unguided")
        if len(plain) > 1:
            spread = statistics.pstdev(plain)
            panel.axhspan(middle - spread, middle + spread, color="#777777", alpha=0.12, linewidth=0)
        truth = found.truth(metric)
        if truth is not None:
            panel.axhline(truth, color="#c98a1b", linewidth=1, linestyle=":", label="true samples")
        for number, one in enumerate(several):
            weights = sorted(one.values)
            rows = [list(one.values[weight].values()) for weight in weights]
            means, stds = [statistics.fmean(row) for row in rows], [statistics.pstdev(row) for row in rows]
            panel.errorbar(
                weights, means, yerr=stds if max(map(len, rows)) > 1 else None, color=COLOURS[number % len(COLOURS)],
                marker=MARKS[number % len(MARKS)], markersize=3, linewidth=1.2, elinewidth=0.7, capsize=2,
                label=titles[one.guider],
            )  # fmt: skip
        panel.set_title(f"{metric}: {BETTER[found.better[metric]]}", fontsize=9)
        panel.tick_params(labelsize=8)
        panel.grid(alpha=0.25, linewidth=0.5)
        values = [value for one in several for row in one.values.values() for value in row.values()]
        if min(values) > 0 and max(values) > 30 * min(values):
            panel.set_yscale("log")
    for panel in panels[len(curves) :]:
        panel.set_visible(False)
    for panel in panels[max(0, len(curves) - across) : len(curves)]:
        panel.set_xlabel("guidance weight w (off at 1)", fontsize=9)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=min(len(labels), 4), frameon=False, fontsize=8)
    figure.savefig(path)
