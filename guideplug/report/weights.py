"""Content of the page of a sweep over weights: sentences, curves, the table, and figures."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from guideplug.experiments.weights.write_report import FIGURES
from guideplug.files.opening import is_there
from guideplug.report.cells import column, figures_of, tables_of, text_cell, text_of, value_cell
from guideplug.report.charts import chart, plot
from guideplug.report.html import rendered
from guideplug.report.reading import as_number, as_table
from guideplug.run.folder import read_json
from guideplug.run.summary import ARROWS
from guideplug.run.verdict import number

__all__ = ["page_of_weights"]

MARKS = {"better": " +", "worse": " -"}


def page_of_weights(folder: Path) -> str:
    """The page of a sweep's folder.

    Raises:
        RunError: ``weights.json`` is missing or invalid.
    """
    sweep = read_json(folder / "weights.json")
    metrics = {name: as_table(facts) for name, facts in as_table(sweep.get("metrics")).items()}
    option, samples = str(sweep.get("option", "weight")), as_number(sweep.get("samples")) or 0
    names = [f"{name}.png" for name in FIGURES if is_there(folder / "figures" / f"{name}.png")]
    shown = [(folder / "figures", FIGURES[Path(name).stem], None) for name in names]
    return rendered(
        "several.html",
        kind="weights",
        title=f"{sweep.get('task')}, {sweep.get('expression')}",
        lead=[f"{samples:,.0f} samples at each weight, from the same noise.", *map(str, sweep.get("words") or [])],
        tables=[_table(sweep, metrics, option, samples)],
        charts=_charts(sweep, metrics, option),
        figures=figures_of(shown, names),
        config=text_of(folder / "weights.toml"),
        missing=[f"{row.get('part')} {row.get('name')!r} failed ({row.get('reason')})"
                 for row in tables_of(sweep.get("failures"))],
        groups=[],
    )  # fmt: skip


def _table(
    sweep: Mapping[str, Any], metrics: Mapping[str, Mapping[str, Any]], option: str, samples: float
) -> dict[str, Any]:
    columns = [column(option)]
    columns += [
        column(name, numeric=True, better=str(facts.get("better")), formula=str(facts.get("formula", "")))
        for name, facts in metrics.items()
    ]
    columns.append(column("outputs per sample", numeric=True))
    rows = []
    for arm in tables_of(sweep.get("weights")):
        weight, measured, differences = (as_number(arm.get("weight")), as_table(arm.get("metrics")),
                                         as_table(arm.get("differences")))  # fmt: skip
        cells = [text_cell(f"{weight:g}" if weight is not None else "-", weight)]
        for name in metrics:
            value = as_number(measured.get(name))
            mark = MARKS.get(str(as_table(differences.get(name)).get("verdict")), "")
            cells.append(text_cell(f"{number(value)}{mark}", value))
        rows.append({"arm": None, "cells": [*cells, _outputs(arm, samples)]})
    unguided = as_table(sweep.get("unguided"))
    foot = [
        [text_cell(label), *(value_cell(as_number(values.get(name))) for name in metrics), last]
        for label, values, last in (
            ("unguided", as_table(unguided.get("metrics")), _outputs(unguided, samples)),
            ("true samples", as_table(sweep.get("truth")), text_cell("-")),
        )
    ]
    note = "+ better, - worse than unguided by the 95 % interval of the paired difference; others: not told apart."
    return {"caption": "Metrics at each weight", "note": note, "columns": columns, "rows": rows, "foot": foot}


def _outputs(arm: Mapping[str, Any], samples: float) -> dict[str, Any]:
    counts = as_table(arm.get("evaluations")).values()
    outputs = sum(as_number(as_table(count).get("outputs")) or 0 for count in counts)
    each = outputs / samples if samples else 0.0
    return text_cell(f"{each:g}", each)


def _charts(sweep: Mapping[str, Any], metrics: Mapping[str, Mapping[str, Any]], option: str) -> list[dict[str, Any]]:
    plots = {}
    unguided, truth = as_table(as_table(sweep.get("unguided")).get("metrics")), as_table(sweep.get("truth"))
    for name, facts in metrics.items():
        points = [
            [weight, value, None]
            for arm in tables_of(sweep.get("weights"))
            if (weight := as_number(arm.get("weight"))) is not None
            and (value := as_number(as_table(arm.get("metrics")).get(name))) is not None
        ]
        if len(points) < 2:
            continue
        points.sort()
        series: list[dict[str, Any]] = [{"name": "guided", "points": points}]
        for label, values in (("unguided", unguided), ("true samples", truth)):
            if (level := as_number(values.get(name))) is not None:
                series.append({"name": label, "points": [[points[0][0], level, None], [points[-1][0], level, None]]})
        plots[name] = plot(option, f"{name} {ARROWS.get(str(facts.get('better')), '')}".strip(), series)
    if not plots:
        return []
    return [chart("Metrics over the weight", plots, [{"label": "Metric", "options": list(plots)}])]
