"""Figures of a sweep: every metric over the weight, and what guidance trades, fidelity against coverage.

A filled mark is a weight that is told apart from unguided samples, a hollow one is not. The dashed line is unguided,
the solid grey one true samples, where they are near enough to be seen beside the curve.
"""

from pathlib import Path
from typing import Any

import numpy as np

from guideplug.experiments.weights.result import MeasuredArm, WeightSweep
from guideplug.task import Metric

__all__ = ["draw_metrics", "draw_trade"]

BETTER = {"higher": "higher is better", "lower": "lower is better", "truth": "near true samples is better"}
ACROSS = 3
"""Panels in a row."""
PAPER = {"facecolor": "white", "edgecolor": "none", "pad": 1}
FAR = 3.0
"""How many times the span of all others true samples are away at most to be drawn."""
APART = 0.08
"""Shares of a panel's sides that named weights are apart."""


def draw_metrics(sweep: WeightSweep, path: Path) -> bool:
    """Write a PNG with a panel per metric over the weight; False where no metric has values at two weights."""
    metrics = [metric for metric in sweep.table if len(sweep.curve(metric.name)) > 1]
    if not metrics:
        return False
    figure = _figure(len(metrics))
    panels = figure.subplots(-(-len(metrics) // ACROSS), min(len(metrics), ACROSS), sharex=True, squeeze=False)
    for panel in panels.flat[len(metrics) :]:
        panel.set_visible(False)
    for number, (panel, metric) in enumerate(zip(panels.flat, metrics, strict=False)):
        _curve(panel, sweep, metric)
        if number + ACROSS >= len(metrics):
            panel.set_xlabel(sweep.option)
            panel.tick_params(labelbottom=True)
    _legend(figure)
    figure.suptitle(f"{_task(sweep)}: {sweep.samples:,} samples at each weight, from the same noise", fontsize=11)
    figure.savefig(path, format="png")
    return True


def draw_trade(sweep: WeightSweep, path: Path) -> bool:
    """Write a PNG with fidelity, and the whole, against coverage; False without such primary metrics."""
    coverage = sweep.primary_of("coverage")
    others = [metric for aspect in ("fidelity", "both") if (metric := sweep.primary_of(aspect)) is not None]
    if coverage is None or not others or len(sweep.curve(coverage.name)) < 2:
        return False
    figure = _figure(len(others))
    for panel, metric in zip(figure.subplots(1, len(others), squeeze=False).flat, others, strict=True):
        _trade(panel, sweep, coverage, metric)
    _legend(figure)
    figure.suptitle(f"{_task(sweep)}: fidelity against coverage as {sweep.option} varies", fontsize=11)
    figure.savefig(path, format="png")
    return True


def _figure(panels: int) -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # half a second to import
    from matplotlib.figure import Figure

    size = 4.2 * min(panels, ACROSS) + 0.4, 3.3 * -(-panels // ACROSS) + 0.7
    figure = Figure(figsize=size, dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _legend(figure: Any) -> None:
    """One entry for each name in any panel."""
    entries: dict[str, Any] = {}
    for panel in figure.axes:
        for handle, name in zip(*panel.get_legend_handles_labels(), strict=True):
            entries.setdefault(name, handle)
    figure.legend(entries.values(), entries, loc="outside lower center", ncols=4, frameon=False, fontsize=9)


def _curve(panel: Any, sweep: WeightSweep, metric: Metric) -> None:
    """One metric over the weight."""
    points = sorted(sweep.curve(metric.name))
    panel.plot(*zip(*points, strict=True), color="C0", linewidth=1.5)
    for arm in sweep.arms:
        value = arm.metrics.get(metric.name)
        if value is not None:
            panel.plot(arm.weight, value, **_mark(arm, metric))
    values = [value for _, value in points]
    unguided, truth = sweep.unguided.metrics.get(metric.name), sweep.truth.metrics.get(metric.name)
    if unguided is not None:
        panel.axhline(unguided, color="0.35", linewidth=1, linestyle="--", label="unguided")
        values.append(unguided)
    span = max(values) - min(values)
    if truth is not None and abs(truth - sum(values) / len(values)) <= FAR * span:
        panel.axhline(truth, color="0.6", linewidth=1.2, label="true samples")
    elif truth is not None:
        above = truth > max(values)
        text = f"true samples: {truth:.4g} {'↑' if above else '↓'}"
        edge = {"xy": (0.98, 0.97 if above else 0.03), "va": "top" if above else "bottom"}
        panel.annotate(text, xycoords="axes fraction", ha="right", fontsize=8, color="0.35", bbox=PAPER, **edge)
    star = " *" if metric.name in sweep.primary else ""
    panel.set_title(f"{metric.name}{star}, {BETTER[metric.better]}", fontsize=9.5)
    panel.grid(alpha=0.2)


def _trade(panel: Any, sweep: WeightSweep, across: Metric, metric: Metric) -> None:
    """A metric against another, weight by weight."""
    arms = [arm for arm in sweep.arms if None not in _place(arm, across, metric)]
    panel.plot(*zip(*(_place(arm, across, metric) for arm in arms), strict=True), color="C0", linewidth=1.2, zorder=1)
    places = np.array([_place(arm, across, metric) for arm in arms], dtype=float)
    unguided, truth = (np.array(_place(arm, across, metric), dtype=float) for arm in (sweep.unguided, sweep.truth))
    span = np.ptp(np.vstack([places, unguided if np.isfinite(unguided).all() else places[:1]]), axis=0)
    named: list[int] = []
    for number in (0, len(arms) - 1, *range(1, len(arms) - 1)):
        if all((np.abs(places[number] - places[other]) > APART * span).any() for other in named):
            named.append(number)
            text = {"xytext": (4, 4), "textcoords": "offset points", "fontsize": 8, "color": "0.25"}
            panel.annotate(f"{arms[number].weight:g}", places[number], **text)
    for arm, at in zip(arms, places, strict=True):
        panel.plot(*at, **_mark(arm, metric))
    if np.isfinite(unguided).all():
        panel.plot(*unguided, "s", color="C3", markersize=9, linestyle="none", label="unguided", zorder=3)
    if (np.abs(truth - places.mean(0)) <= FAR * span).all():
        panel.plot(*truth, "*", color="0.35", markersize=9, linestyle="none", label="true samples", zorder=3)
    elif np.isfinite(truth).all():
        far = f"true samples are far: {truth[0]:.4g}, {truth[1]:.4g}"
        panel.set_title(far, loc="right", fontsize=8, color="0.35")
    panel.set_xlabel(f"{across.name} ({BETTER[across.better]})")
    panel.set_ylabel(f"{metric.name} ({BETTER[metric.better]})")
    panel.margins(0.12)
    panel.grid(alpha=0.2)


def _task(sweep: WeightSweep) -> str:
    """The task without its options, which may be long."""
    return sweep.task.partition("(")[0]


def _place(arm: MeasuredArm, across: Metric, metric: Metric) -> tuple[float | None, float | None]:
    return arm.metrics.get(across.name), arm.metrics.get(metric.name)


def _mark(arm: MeasuredArm, metric: Metric) -> dict[str, Any]:
    """Filled where the arm is told apart from unguided samples."""
    differs = any(verdict.metric == metric.name and verdict.gain for verdict in arm.verdicts)
    return {"marker": "o", "markersize": 5, "linestyle": "none", "color": "C0", "zorder": 2,
            "markerfacecolor": "C0" if differs else "white",
            "label": "told apart from unguided" if differs else "not told apart"}  # fmt: skip
