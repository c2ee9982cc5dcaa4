"""Files of a comparison: tables in Markdown, every value in CSV, everything in JSON, a figure per metric."""

import csv
import io
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import attrs

from guideplug.experiments.comparison.dots import draw_dots
from guideplug.experiments.comparison.figure import draw_curves
from guideplug.experiments.comparison.grid import Published
from guideplug.experiments.comparison.result import BUDGETS, Comparison
from guideplug.experiments.comparison.sentences import sentences
from guideplug.experiments.comparison.tables import markdown
from guideplug.files.atomic import whole_file
from guideplug.run.failure import Failures
from guideplug.run.picture import draw

__all__ = ["write_report"]


def write_report(
    comparison: Comparison, folder: Path, published: Sequence[Published] = (), to: Failures | None = None
) -> list[Path]:
    """Write the tables, values, JSON, the dots at the budgets and, of curves, ``figures/METRIC.png``; their paths.

    Args:
        comparison: the results.
        folder: where they are written.
        published: numbers of others, for the tables.
        to: lists the figures that cannot be drawn.
    """
    to = Failures() if to is None else to
    texts = {
        "tables.md": markdown(comparison, published),
        "values.csv": _csv(comparison),
        "compare.json": json.dumps(_plain(comparison), indent=1, allow_nan=False) + "\n",
    }
    for name, text in texts.items():
        with whole_file(folder / name) as file:
            file.write(text.encode())
    dots = folder / "budgets.png"
    figures = [dots] if draw(dots, "figure", dots.name, partial(draw_dots, comparison), to) else []
    for metric in comparison.metrics:
        path = folder / "figures" / f"{metric.replace(' ', '-')}.png"
        if draw(path, "figure", path.name, partial(draw_curves, comparison, metric), to):
            figures.append(path)
    return [*(folder / name for name in texts), *figures]


def _csv(comparison: Comparison) -> str:
    """A line per value, with the cost of its training."""
    trainings = {(training.selector, training.seed, training.step): training for training in comparison.trainings}
    chosen = {budget: set(comparison.chosen(budget).values()) for budget in BUDGETS}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    fields = [field.name for field in attrs.fields(type(comparison.trainings[0]))]
    writer.writerow(
        ["guider", *fields, *(f"equal {budget}" for budget in BUDGETS), "evaluations a sample", "metric", "value"]
    )
    for row in comparison.rows:
        training = trainings[row.selector, row.seed, row.step]
        where = [int(training in chosen[budget]) for budget in BUDGETS]
        for metric, value in row.metrics.items():
            shown = "" if value is None else repr(value)
            writer.writerow([row.guider, *attrs.astuple(training), *where, row.evaluations, metric, shown])
    return text.getvalue()


def _plain(comparison: Comparison) -> dict[str, Any]:
    limits = {budget: comparison.limit(budget) for budget in BUDGETS}
    chosen = {
        budget: [
            {"selector": name, "seed": seed, "step": training.step, "spent": comparison.spent(training, budget)}
            for (name, seed), training in comparison.chosen(budget).items()
        ]
        for budget in BUDGETS
    }
    missed = {budget: [attrs.asdict(miss) for miss in comparison.missed(budget).values()] for budget in BUDGETS}
    return {
        **attrs.asdict(comparison),
        "limits": limits,
        "chosen": chosen,
        "missed": missed,
        "differences": [
            {"budget": budget, "arm": one, "beside": other, "metric": metric, **attrs.asdict(difference)}
            for budget in BUDGETS
            for one, other in comparison.pairs
            for metric in comparison.metrics
            if (difference := comparison.difference(one, other, metric, budget)) is not None
        ],
        "words": sentences(comparison),
    }
