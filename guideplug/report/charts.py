"""Curves of a page: named series of points, each a mean and, over several seeds, its spread."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from guideplug.report.reading import as_number

__all__ = ["banded", "chart", "plot", "training_charts"]

MOST_POINTS = 400
QUANTITIES = (
    ("loss", "Loss", "loss of the batch last trained on", True),
    ("lr", "Learning rate", "learning rate", False),
    ("kept", "Selected share", "share of the examples drawn that were trained on, so far", False),
    ("effective_sample_size", "Effective sample size", "share of the super-batch, mean so far", False),
)
"""Keys of the event ``step``: title, label of the axis, whether it is logarithmic."""


def plot(x: str, y: str, series: Sequence[Mapping[str, Any]], *, log: bool = False) -> dict[str, Any]:
    """Curves in one plot. A series has ``name``, and ``points``: x, mean, standard deviation or None."""
    return {"x": x, "y": y, "log": log, "series": list(series)}


def chart(
    title: str, plots: Mapping[str, Mapping[str, Any]], selects: Sequence[Mapping[str, Any]] = (), note: str = ""
) -> dict[str, Any]:
    """A figure that shows one of several plots; keys are the selected options, joined by ``|``."""
    return {"title": title, "plots": dict(plots), "selects": list(selects), "note": note}


def banded(curves: Iterable[Sequence[tuple[float, float]]]) -> list[list[float | None]]:
    """Mean and population standard deviation of several curves at every x of any of them."""
    values_at: dict[float, list[float]] = {}
    for curve in curves:
        for x, y in curve:
            values_at.setdefault(x, []).append(y)
    return [
        [x, statistics.fmean(values), statistics.pstdev(values) if len(values) > 1 else None]
        for x, values in sorted(values_at.items())
    ]


def steps(events: Sequence[Mapping[str, Any]], key: str) -> dict[str, list[tuple[float, float]]]:
    """The curve of a quantity per role, thinned to `MOST_POINTS`."""
    values_of: dict[str, dict[float, float]] = {}
    for event in events:
        if event.get("event") == "step":
            x, y = as_number(event.get("step")), as_number(event.get(key))
            if x is not None and y is not None:
                values_of.setdefault(str(event.get("role", "?")), {})[x] = y
    return {role: _thinned(sorted(points.items())) for role, points in values_of.items()}


def training_charts(events: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The curves of a run's trainings; constant ones are left out."""
    charts = []
    for key, title, label, log in QUANTITIES:
        curves = steps(events, key)
        if key == "kept":
            curves = {role: points for role, points in curves.items() if any(y < 1 for _, y in points)}
        elif key != "loss":
            curves = {role: points for role, points in curves.items() if len({y for _, y in points}) > 1}
        if curves:
            series = [{"name": role, "points": banded([points])} for role, points in curves.items()]
            positive = all(y > 0 for points in curves.values() for _, y in points)
            charts.append(chart(title, {"": plot("training step", label, series, log=log and positive)}))
    return charts


def _thinned(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    every = -(-len(points) // MOST_POINTS)
    return points[::-1][::every][::-1] if every else points
