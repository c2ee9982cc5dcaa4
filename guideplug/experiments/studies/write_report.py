"""Files of a study: tables as CSV and Markdown, figures, and all measurements as CSV and JSON.

STUDY.md   TABLE.csv ...   FIGURE.png ...   trials.csv   study.json
"""

import json
import statistics
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from guideplug.config import breach, plugin_errors
from guideplug.experiments.comparison.digits import cell, number
from guideplug.experiments.studies.answers import report_of
from guideplug.experiments.studies.study_plan import Plan
from guideplug.files.atomic import whole_file
from guideplug.files.opening import is_there
from guideplug.run.failure import Failures, collected
from guideplug.run.picture import draw
from guideplug.study import Findings, Report, Table, Value, where

__all__ = ["failures", "markdown", "shown", "write_report"]

EVERYTHING = "trials"
"""The reserved name of the table of all trials."""
FEW = 3
"""Largest number of failed trials that are named."""


def write_report(plan: Plan, findings: Findings, folder: Path, to: Failures) -> tuple[Report, list[Path]]:
    """Write a study's files: its report, and their paths, the Markdown first.

    A report that cannot be made is empty, and is listed, as are figures that cannot be drawn.

    Args:
        plan, findings: the study and its results.
        folder: where they are written.
        to: the list of failures.
    """
    report = Report({}, [])
    texts = _texts(plan, findings, report)
    with collected(to, "report", plan.study.name):
        with plugin_errors():
            answer = report_of(plan.study, findings)
        texts = _texts(plan, findings, answer)
        report = answer
    for name, text in texts.items():
        with whole_file(folder / name) as file:
            file.write(text.encode())
    figures = []
    for name, paint in report.figures.items():
        path = folder / f"{name}.png"
        if draw(path, "figure", name, partial(_painted, plan, name, paint), to):
            figures.append(path)
    return report, [*(folder / name for name in texts), *figures]


def _painted(plan: Plan, name: str, paint: Callable[[Path], Any], path: Path) -> None:
    """Draw a figure of a study.

    Raises:
        ContractError: there is none then.
    """
    with plugin_errors():
        paint(path)
    if not is_there(path):
        raise breach(plan.study, f"drew no file for the figure {name!r}: write a PNG to the path")


def _texts(plan: Plan, findings: Findings, report: Report) -> dict[str, str]:
    """The text files of a study by name.

    Raises:
        ValueError: two of them would have one name.
    """
    if EVERYTHING in report.tables:
        raise ValueError(f"its table {EVERYTHING!r} has the name of the table of all trials")
    tables = {**report.tables, EVERYTHING: _everything(findings)}
    texts = {f"{plan.study.name}.md": markdown(plan, findings, report)}
    texts |= {f"{name}.csv": table.csv() for name, table in tables.items()}
    texts["study.json"] = json.dumps(_plain(plan, findings, report), indent=1, allow_nan=False) + "\n"
    return texts


def markdown(plan: Plan, findings: Findings, report: Report) -> str:
    """The tables and sentences of a study."""
    sentences = [*report.sentences, *failures(findings)]
    parts = [f"# {plan.expression}", plan.study.summary()]
    for name, table in report.tables.items():
        parts += [f"## {name}", "\n".join(_lines(table))]
    parts += ["## In words", "\n".join(f"- {line}" for line in sentences)] if sentences else []
    parts += [f"![{name}]({name}.png)" for name in report.figures]
    return "\n\n".join(parts) + "\n"


def failures(findings: Findings) -> list[str]:
    """Sentences on trials without values, whose sampling diverged, and on metrics without a value."""
    failed = [row for row in findings.rows if row.failed]
    if not failed:
        return _unmeasured(findings)
    few = "; ".join(f"{where(row.axes)}: {row.failed}" for row in failed[:FEW])
    more = f"; and {len(failed) - FEW} more, see study.json" if len(failed) > FEW else ""
    diverged = f"{len(failed)} of {len(findings.rows)} trials diverged and have no values: {few}{more}"
    return [diverged, *_unmeasured(findings)]


def _unmeasured(findings: Findings) -> list[str]:
    """Sentences on metrics that could not be measured, each with its first reason."""
    sentences = []
    for name in dict.fromkeys(name for row in findings.rows for name in row.failures):
        rows = [row for row in findings.rows if name in row.failures]
        first = f"{where(rows[0].axes)}: {rows[0].failures[name]}"
        sentences.append(
            f"{name} failed in {len(rows)} of {len(findings.rows)} trials ({first}): what is said of it is of the "
            "others; resuming the study does these again"
        )
    return sentences


def _lines(table: Table) -> list[str]:
    rows = [[text.replace("|", "\\|") for text in row] for row in shown(table)]
    return [f"| {' | '.join(cells)} |" for cells in (table.columns, ["---"] * len(table.columns), *rows)]


def shown(table: Table) -> list[list[str]]:
    """The rows of a table as they are printed; several numbers are mean ± population standard deviation."""
    most = max((len(value) for row in table.rows for value in row if isinstance(value, list)), default=1)
    return [[_shown(value, most) for value in row] for row in table.rows]


def _shown(value: Value, most: int) -> str:
    if value is None:
        return "-"
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return cell(value, most)
    return number(value) if isinstance(value, float) else f"{value:,}"


def _everything(findings: Findings) -> Table:
    """Every trial with its axes and measured metrics."""
    axes = list(findings.rows[0].axes)
    metrics = [name for name in findings.better if any(row.metrics.get(name) is not None for row in findings.rows)]
    columns = [*axes, *metrics, "outputs per sample"]
    rows = [
        [
            *(str(row.axes[name]) if isinstance(row.axes[name], bool) else row.axes[name] for name in axes),
            *(row.metrics.get(name) for name in metrics),
            row.evaluations,
        ]
        for row in findings.rows
    ]
    return Table(columns, rows)


def _plain(plan: Plan, findings: Findings, report: Report) -> dict[str, Any]:
    return {
        "study": plan.expression,
        "better": dict(findings.better),
        "truth": dict(findings.rows[0].truth),
        "trials": [
            {"axes": dict(row.axes), "metrics": dict(row.metrics), "evaluations": row.evaluations, "failed": row.failed}
            | ({"failures": dict(row.failures)} if row.failures else {})
            for row in findings.rows
        ],
        "tables": {
            name: {"columns": list(table.columns), "rows": [[_listed(value) for value in row] for row in table.rows]}
            for name, table in report.tables.items()
        },
        "words": list(report.sentences),
        "figures": [f"{name}.png" for name in report.figures],
    }


def _listed(value: Value) -> Any:
    if not isinstance(value, list):
        return value
    return {"values": value, "mean": statistics.fmean(value) if value else None}
