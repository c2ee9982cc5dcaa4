"""Files of a study: tables as CSV and Markdown, figures, and all measurements as CSV and JSON.

STUDY.md   TABLE.csv ...   FIGURE.png ...   trials.csv   study.json
"""

import json
import statistics
from pathlib import Path
from typing import Any

from guideplug.config import breach
from guideplug.experiments.comparison.digits import cell, number
from guideplug.experiments.studies.study_plan import Plan
from guideplug.files.atomic import drawn_whole, whole_file
from guideplug.study import Findings, Report, Table, Value, where

__all__ = ["failures", "markdown", "shown", "write_report"]

EVERYTHING = "trials"
"""The reserved name of the table of all trials."""
FEW = 3
"""Largest number of failed trials that are named."""


def write_report(plan: Plan, findings: Findings, report: Report, folder: Path) -> list[Path]:
    """Write a study's files; their paths, the Markdown first.

    Raises:
        ValueError: two files of the study would have one name.
    """
    tables = {**report.tables, EVERYTHING: _everything(findings)}
    if EVERYTHING in report.tables:
        raise ValueError(f"its table {EVERYTHING!r} has the name of the table of all trials")
    texts = {f"{plan.study.name}.md": markdown(plan, findings, report)}
    texts |= {f"{name}.csv": table.csv() for name, table in tables.items()}
    texts["study.json"] = json.dumps(_plain(plan, findings, report), indent=1, allow_nan=False) + "\n"
    for name, text in texts.items():
        with whole_file(folder / name) as file:
            file.write(text.encode())
    figures = []
    for name, draw in report.figures.items():
        with drawn_whole(folder / f"{name}.png") as aside:
            draw(aside)
            if not aside.is_file():
                raise breach(plan.study, f"drew no file for the figure {name!r}: write a PNG to the path")
        figures.append(folder / f"{name}.png")
    return [*(folder / name for name in texts), *figures]


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
    """Sentences on trials without values, whose sampling diverged."""
    failed = [row for row in findings.rows if row.failed]
    if not failed:
        return []
    few = "; ".join(f"{where(row.axes)}: {row.failed}" for row in failed[:FEW])
    more = f"; and {len(failed) - FEW} more, see study.json" if len(failed) > FEW else ""
    return [f"{len(failed)} of {len(findings.rows)} trials diverged and have no values: {few}{more}"]


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
