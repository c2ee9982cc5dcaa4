"""A comparison as files: tables in Markdown, every value in CSV, everything in JSON, a figure for each metric."""

import csv
import io
import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs

from guideplug.compare.figure import draw_curves
from guideplug.compare.grid import Published
from guideplug.compare.result import BUDGETS, Budget, Comparison
from guideplug.compare.words import WHAT, arm, sentences
from guideplug.tensors import whole_file

__all__ = ["cell", "markdown", "write_report"]

ARROWS = {"higher": "↑", "lower": "↓", "truth": "≈"}


def write_report(comparison: Comparison, folder: Path, published: Sequence[Published] = ()) -> list[Path]:
    """Write ``tables.md``, ``values.csv``, ``compare.json`` and ``figures/METRIC.png``; their paths."""
    texts = {
        "tables.md": markdown(comparison, published),
        "values.csv": _csv(comparison),
        "compare.json": json.dumps(_plain(comparison), indent=1, allow_nan=False) + "\n",
    }
    for name, text in texts.items():
        with whole_file(folder / name) as file:
            file.write(text.encode())
    (folder / "figures").mkdir(exist_ok=True)
    figures = []
    for metric in comparison.metrics:
        path = folder / "figures" / f"{metric.replace(' ', '-')}.png"
        if draw_curves(comparison, metric, path):
            figures.append(path)
    return [*(folder / name for name in texts), *figures]


def markdown(comparison: Comparison, published: Sequence[Published] = ()) -> str:
    """The tables: a row for each arm, a column for each metric, for each budget; then what they say."""
    parts = [f"# Comparison over {len(comparison.seeds)} seeds: mean ± population standard deviation"]
    for budget in BUDGETS:
        parts.append(
            "\n".join([f"## {WHAT[budget]} ({_limit(comparison, budget)})", "", *_table(comparison, budget, published)])
        )
    parts.append("\n".join(["## Where each training stood", "", *_spent(comparison)]))
    parts.append(
        "\n".join(["## Against the first arm: paired difference and 95 % interval", "", *_differences(comparison)])
    )
    parts.append("\n".join(["## In words", "", *(f"- {line}" for line in sentences(comparison))]))
    return "\n\n".join(parts) + "\n"


def _limit(comparison: Comparison, budget: Budget) -> str:
    limit = comparison.limit(budget)
    if budget == "time":
        charged = ", references included" if comparison.charge_reference else ""
        return f"{limit:.1f} s of training{charged}"
    return f"{limit:,.0f} {'examples back-propagated' if budget == 'examples' else 'iterations'}"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _head(cells: Sequence[str]) -> list[str]:
    return [_row(cells), _row(["---"] * len(cells))]


def _table(comparison: Comparison, budget: Budget, published: Sequence[Published]) -> list[str]:
    metrics = list(comparison.metrics)
    theirs = {(row.guider, row.selector, row.metric): row for row in published if row.budget == budget}
    lines = _head(["", *(f"{metric} {ARROWS[comparison.metrics[metric]['better']]}" for metric in metrics)])
    if any(comparison.truth.get(metric) is not None for metric in metrics):
        lines.append(_row(["true samples", *(_number(comparison.truth.get(metric)) for metric in metrics)]))
    for guider, selector in comparison.arms:
        found = {metric: list(comparison.values(guider, selector, metric, budget).values()) for metric in metrics}
        lines.append(_row([arm(guider, selector), *(cell(found[metric]) for metric in metrics)]))
        known = {metric: theirs[guider, selector, metric] for metric in metrics if (guider, selector, metric) in theirs}
        if known:
            lines.append(_row(["published", *(_theirs(known.get(metric), found[metric]) for metric in metrics)]))
    return lines


def cell(values: Sequence[float]) -> str:
    """Mean ± population standard deviation."""
    if not values:
        return "-"
    return f"{_number(statistics.fmean(values))} ± {_number(statistics.pstdev(values))}"


def _theirs(row: Published | None, ours: Sequence[float]) -> str:
    """Their number, and how far ours is from it in units of their standard deviation."""
    if row is None:
        return ""
    gap = f" ({(statistics.fmean(ours) - row.mean) / row.std:+.1f} std)" if ours and row.std > 0 else ""
    return f"{_number(row.mean)} ± {_number(row.std)}{gap}"


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.4f}" if abs(value) < 10 else f"{value:.1f}"


def _spent(comparison: Comparison) -> list[str]:
    """Steps, seconds and examples at each budget, means over the seeds."""
    lines = _head(
        [
            "",
            "selector",
            "step",
            "seconds",
            "reference, seconds",
            "drawn",
            "scored",
            "back-propagated",
            "ms an iteration",
        ]
    )
    for budget in BUDGETS:
        chosen = comparison.chosen(budget)
        for selector in comparison.selectors:
            of = [training for (name, _), training in chosen.items() if name == selector]

            def mean(name: str, of: Any = of) -> float:
                return statistics.fmean(getattr(training, name) for training in of)

            counts = [f"{mean(name):,.0f}" for name in ("seen", "scored", "backpropagated")]
            cost = comparison.costs[selector]["iteration"]
            lines.append(
                _row(
                    [
                        WHAT[budget],
                        selector,
                        f"{mean('step'):,.0f}",
                        f"{mean('seconds'):.1f}",
                        f"{mean('reference'):.1f}",
                        *counts,
                        f"{1000 * cost:.2f}",
                    ]
                )
            )
    return lines


def _differences(comparison: Comparison) -> list[str]:
    metrics = list(comparison.metrics)
    lines = _head(["", "arm", *metrics])
    for budget in BUDGETS:
        for guider, selector in comparison.arms[1:]:
            cells = []
            for metric in metrics:
                found = comparison.difference(guider, selector, metric, budget)
                mark = "**" if found is not None and found.clear else ""
                cells.append(
                    "-" if found is None else f"{mark}{found.mean:+.4g} [{found.low:+.4g}, {found.high:+.4g}]{mark}"
                )
            lines.append(_row([WHAT[budget], arm(guider, selector), *cells]))
    return lines


def _csv(comparison: Comparison) -> str:
    """One line for each value, with what its training had cost."""
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
            {"selector": name, "seed": seed, "step": training.step}
            for (name, seed), training in comparison.chosen(budget).items()
        ]
        for budget in BUDGETS
    }
    return {**attrs.asdict(comparison), "limits": limits, "chosen": chosen, "words": sentences(comparison)}
