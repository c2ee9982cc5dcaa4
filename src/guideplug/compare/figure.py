"""A metric against seconds, examples and iterations: a line for each arm, with a band of one standard deviation."""

import statistics
from pathlib import Path

from guideplug.compare.result import BUDGETS, Comparison
from guideplug.compare.words import arm

__all__ = ["draw_curves"]

LABELS = {"time": "seconds of training", "examples": "examples back-propagated", "iterations": "iterations"}


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
    figure = Figure(figsize=(13.5, 4.6), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(BUDGETS), sharey=True)
    truth = comparison.truth.get(metric)
    for panel, budget in zip(panels, BUDGETS, strict=True):
        for (guider, selector), points in curves.items():
            across = [point[budget] for point in points]
            middle = [point["mean"] for point in points]
            low = [point["mean"] - point["std"] for point in points]
            high = [point["mean"] + point["std"] for point in points]
            colour, style = (
                f"C{list(comparison.selectors).index(selector) % 10}",
                ["-", "--", ":", "-."][list(comparison.guiders).index(guider) % 4],
            )
            panel.plot(across, middle, style, color=colour, marker="o", markersize=3, label=arm(guider, selector))
            panel.fill_between(across, low, high, color=colour, alpha=0.12, linewidth=0)
        if truth is not None:
            panel.axhline(truth, color="0.4", linewidth=0.8, linestyle=(0, (1, 2)), label="true samples")
        panel.axvline(comparison.limit(budget), color="0.75", linewidth=0.8)
        panel.set_xlabel(LABELS[budget])
        panel.grid(alpha=0.2)
    better = {"higher": "higher is better", "lower": "lower is better", "truth": "near true samples is better"}
    panels[0].set_ylabel(f"{metric} ({better[comparison.metrics[metric]['better']]})")
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=min(len(names), 4), frameon=False, fontsize=9)
    figure.suptitle(f"{metric}: mean of {len(comparison.seeds)} seeds, band of one standard deviation", fontsize=11)
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
