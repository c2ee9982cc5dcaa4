"""Overview figure of a comparison: every metric at every budget, a dot per seed and arm, a bar at the mean."""

import statistics
from collections.abc import Sequence
from pathlib import Path

from guideplug.experiments.comparison.result import BUDGETS, Comparison
from guideplug.experiments.comparison.sentences import WHAT, arm

__all__ = ["draw_dots"]

ARROWS = {"higher": "higher is better", "lower": "lower is better", "truth": "near true samples is better"}
WIDTH, ROW = 12.0, 0.2
"""Inches: width of the figure, height of an arm's line."""


def draw_dots(comparison: Comparison, path: Path, metrics: Sequence[str] = ()) -> None:
    """Write a PNG: a row of panels for each metric, a panel for each budget, a line for each arm.

    Arms that miss a budget are drawn hollow. Names are at the left alone; a metric has one scale for all budgets.

    Args:
        comparison: the results.
        path: the PNG's path.
        metrics: the metrics to draw; by default all.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # takes half a second to import
    from matplotlib.figure import Figure

    arms, metrics = comparison.arms, metrics or list(comparison.metrics)
    height = len(metrics) * (ROW * (len(arms) + 1) + 0.75) + 0.6
    figure = Figure(figsize=(WIDTH, height), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    rows = figure.subplots(len(metrics), len(BUDGETS), sharex="row", sharey=True, squeeze=False)
    colours = {selector: f"C{number % 10}" for number, selector in enumerate(comparison.selectors)}
    for panels, metric in zip(rows, metrics, strict=True):
        for panel, budget in zip(panels, BUDGETS, strict=True):
            missed = comparison.missed(budget)
            for place, (guider, selector) in enumerate(arms):
                values = list(comparison.values(guider, selector, metric, budget).values())
                if not values:
                    continue
                colour = colours[selector]
                face = "none" if selector in missed else colour
                panel.scatter(values, [place] * len(values), s=14, alpha=0.6, facecolors=face, edgecolors=colour)
                panel.plot([statistics.fmean(values)] * 2, [place - 0.35, place + 0.35], color=colour, linewidth=2)
            panel.grid(axis="x", alpha=0.25)
            panel.set_title(f"{metric}, {WHAT[budget].lower()}", fontsize=9, loc="left")
            panel.tick_params(labelsize=8)
        panels[0].set_yticks(range(len(arms)), [arm(*pair) for pair in arms])
        panels[0].set_ylim(len(arms) - 0.4, -0.6)
        panels[1].set_xlabel(ARROWS[comparison.metrics[metric]["better"]], fontsize=8, color="0.35")
    figure.savefig(path, format="png")
