"""Content of the pages of several runs, comparisons and studies: sortable tables, and selectable curves."""

import itertools
import json
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from guideplug.experiments.comparison.digits import cell, seconds
from guideplug.experiments.comparison.tables import MISSED
from guideplug.report.cells import Cell, column, figures_of, tables_of, text_cell, text_of, value_cell
from guideplug.report.charts import banded, chart, plot, steps
from guideplug.report.html import rendered
from guideplug.report.reading import ReadRun, as_number, as_table
from guideplug.report.single import title_of
from guideplug.run.folder import read_json
from guideplug.run.summary import ARROWS

__all__ = ["page_of_comparison", "page_of_runs", "page_of_study"]

BUDGETS = {"time": "equal time", "examples": "equal examples", "iterations": "equal iterations"}
UNITS = {"time": "s", "examples": "examples", "iterations": "iterations"}
ALONG = {"step": "training steps", "backpropagated": "examples trained on", "seconds": "seconds of training"}


def page_of_runs(runs: Sequence[ReadRun], links: Sequence[str | None]) -> str:
    """The page of several runs, with links to their own pages."""
    names = _names(runs)
    labels = _labels(runs)
    metrics = _metrics_of(runs)
    columns = [column("run"), column("arm")]
    formulas = _formulas_of(runs)
    columns += [
        column(name, numeric=True, better=better, formula=formulas.get(name, "")) for name, better in metrics.items()
    ]
    columns += [column("seed", numeric=True), column("status")]
    rows = []
    figures = [(run.path / "figures", name, link) for run, name, link in zip(runs, names, links, strict=True)]
    for run, name, label, link in zip(runs, names, labels, links, strict=True):
        arms = {arm: as_table(truth) for arm, truth in as_table(run.metrics.get("arms")).items()}
        drawn = {arm: truth for arm, truth in arms.items() if arm in ("unguided", "guided")} or {"-": {}}
        for arm, truth in drawn.items():
            drawn_by = run.words.get("guider") if arm == "guided" and run.words.get("guider") else arm
            values = [value_cell(as_number(truth.get(metric))) for metric in metrics]
            seed = run.words.get("seed")
            cells = [text_cell(name, href=link), text_cell(str(drawn_by)), *values]
            cells += [text_cell(str(seed if seed is not None else "-"), seed), text_cell(run.status)]
            rows.append({"arm": label, "cells": cells})
    truths = {json.dumps(as_table(as_table(run.metrics.get("arms")).get("truth")), sort_keys=True) for run in runs}
    foot = []
    if len(truths) == 1:
        truth = as_table(as_table(runs[0].metrics.get("arms")).get("truth"))
        foot = [
            [text_cell("true samples"), text_cell(""), *(value_cell(as_number(truth.get(name))) for name in metrics)]
        ]
        foot[0] += [text_cell("")] * 2
    tables = [{"caption": "Metrics of every run", "note": "", "columns": columns, "rows": rows, "foot": foot}]
    return rendered(
        "several.html",
        kind="runs",
        title=f"{len(runs)} runs",
        lead=_lead_of_runs(runs),
        tables=tables,
        charts=_curves_of_runs(runs, labels),
        figures=figures_of(figures),
        config="",
        missing=[f"{name}: {line}" for run, name in zip(runs, names, strict=True) for line in run.missing],
        groups=[],
    )  # fmt: skip


def page_of_comparison(folder: Path) -> str:
    """The page of a comparison's folder.

    Raises:
        RunError: ``compare.json`` is missing or invalid.
    """
    comparison = read_json(folder / "compare.json")
    rows, trainings = tables_of(comparison.get("rows")), tables_of(comparison.get("trainings"))
    described = {name: as_table(facts) for name, facts in as_table(comparison.get("metrics")).items()}
    metrics = {name: str(facts.get("better", "")) for name, facts in described.items()}
    formulas = {name: str(facts.get("formula", "")) for name, facts in described.items()}
    arms = list(dict.fromkeys((str(row.get("guider")), str(row.get("selector"))) for row in rows))
    selectors = len({selector for _, selector in arms})
    named = {arm: _arm(*arm, selectors) for arm in arms}
    chosen = as_table(comparison.get("chosen"))
    tables = [
        _budget(
            budget,
            title,
            tables_of(chosen.get(budget)),
            rows,
            named,
            metrics,
            formulas,
            as_table(comparison.get("truth")),
        )
        for budget, title in BUDGETS.items()
        if chosen.get(budget)
    ]
    for budget, table in zip(BUDGETS, tables, strict=False):
        missed = [str(miss.get("selector")) for miss in tables_of(as_table(comparison.get("missed")).get(budget))]
        if missed:
            note = f"{MISSED} not near the budget, so that nothing is concluded: {', '.join(missed)}."
            table["note"] = f"{table['note']} {note}".strip()
        for line in table["rows"]:
            if line["selector"] in missed:
                line["cells"][-1]["text"] += f" {MISSED}"
        shared = [*as_table(comparison.get("shared_guides")), *as_table(comparison.get("shared_references"))]
        if shared:
            alone = f"Trainings share networks, and intervals are about those alone: {', '.join(shared)}."
            table["note"] = f"{table['note']} {alone}".strip()
    return rendered(
        "several.html",
        kind="comparison",
        title=f"Comparison of {len(arms)} arms over {len(comparison.get('seeds') or [])} seeds",
        lead=[str(line) for line in comparison.get("words") or []],
        tables=tables,
        charts=_curves_of_comparison(rows, trainings, named, metrics),
        figures=figures_of([(folder, "at the budgets", None)]),
        config=text_of(folder / "compare.toml"),
        missing=[],
        groups=[table["caption"] for table in tables] if len(tables) > 1 else [],
    )


def page_of_study(folder: Path) -> str:
    """The page of a study's folder.

    Raises:
        RunError: ``study.json`` is missing or invalid.
    """
    study = read_json(folder / "study.json")
    better = {name: str(way) for name, way in as_table(study.get("better")).items()}
    trials = tables_of(study.get("trials"))
    tables = [_of_study(str(name), as_table(table), better) for name, table in as_table(study.get("tables")).items()]
    tables.append(_trials(trials, better))
    names = [str(name) for name in study.get("figures") or []]
    return rendered(
        "several.html",
        kind="study",
        title=f"Study {str(study.get('study', folder.name)).partition('(')[0]}",
        lead=[str(line) for line in study.get("words") or []],
        tables=tables,
        charts=_curves_of_study(trials, better),
        figures=figures_of([(folder, Path(name).stem, None) for name in names], names),
        config=text_of(folder / "study.toml"),
        missing=[],
        groups=[],
    )


def _mean(values: Sequence[float], count: int = 1) -> Cell:
    return text_cell(cell(values, count), statistics.fmean(values) if values else None)


# Several runs


def _names(runs: Sequence[ReadRun]) -> list[str]:
    """The folders' names; the shortest ends of their paths that are distinct."""
    paths = [run.path.resolve() for run in runs]
    for depth in range(1, 8):
        names = ["/".join(path.parts[-depth:]) for path in paths]
        if len(set(names)) == len(names):
            return names
    return [str(path) for path in paths]


def _labels(runs: Sequence[ReadRun]) -> list[str]:
    """A label per run, without its seed: runs that differ in the seed alone are one arm."""
    labels = [title_of(run) if run.words.get("task") else run.path.name for run in runs]
    tasks = {str(run.words.get("task")) for run in runs}
    if len(tasks) == 1:
        labels = [label.removeprefix(f"{run.words.get('task')}, ") for run, label in zip(runs, labels, strict=True)]
    bare = [_but_seeds(run.config) for run in runs]
    rows = []
    for number_of_run, label in enumerate(labels):
        others = [bare[place] for place, other in enumerate(labels) if other == label]
        kinds = list(dict.fromkeys(others))
        kind = kinds.index(bare[number_of_run]) + 1
        rows.append(label if len(kinds) == 1 else f"{label} ({kind})")
    return rows


def _but_seeds(config: str) -> str:
    return "\n".join(
        line for line in config.splitlines() if line.partition("=")[0].strip() not in ("seed", "sample_seed")
    )


def _metrics_of(runs: Iterable[ReadRun]) -> dict[str, str]:
    signs: dict[str, str] = {}
    for run in runs:
        listed = run.words.get("metrics")
        for metric in tables_of(listed):
            signs[str(metric.get("name"))] = str(metric.get("better", ""))
        for values in as_table(run.metrics.get("arms")).values():
            for name in as_table(values):
                signs.setdefault(str(name), "")
    shown = {
        name
        for run in runs
        for arm in ("unguided", "guided")
        for name, value in as_table(as_table(run.metrics.get("arms")).get(arm)).items()
        if value is not None
    }
    return {name: better for name, better in signs.items() if name in shown}


def _formulas_of(runs: Iterable[ReadRun]) -> dict[str, str]:
    """The formula per metric; none where runs differ in it."""
    distinct: dict[str, set[str]] = {}
    for run in runs:
        for metric in tables_of(run.words.get("metrics")):
            if metric.get("formula"):
                distinct.setdefault(str(metric.get("name")), set()).add(str(metric["formula"]))
    return {name: formulas.pop() for name, formulas in distinct.items() if len(formulas) == 1}


def _lead_of_runs(runs: Sequence[ReadRun]) -> list[str]:
    unfinished = [run for run in runs if run.status != "finished"]
    tasks = list(dict.fromkeys(str(run.words.get("task", "an unknown task")) for run in runs))
    sentences = [f"Runs of {', '.join(tasks)}."]
    if unfinished:
        sentences.append(
            f"{len(unfinished)} of {len(runs)} have not finished: {', '.join(r.path.name for r in unfinished)}."
        )
    return sentences


def _curves_of_runs(runs: Sequence[ReadRun], labels: Sequence[str]) -> list[dict[str, Any]]:
    plots = {}
    for key, caption in (("loss", "loss of the main network"), ("effective_sample_size", "effective sample size")):
        curves: dict[str, list[list[tuple[float, float]]]] = {label: [] for label in labels}
        for run, label in zip(runs, labels, strict=True):
            values = steps(run.events, key).get("main")
            if values:
                curves[label].append(values)
        series = [{"name": label, "points": banded(values)} for label, values in curves.items() if values]
        if series:
            positive = all(y > 0 for values in curves.values() for curve in values for _, y in curve)
            plots[caption] = plot("training step", caption, series, log=key == "loss" and positive)
    if not plots:
        return []
    note = "Lines are means over the seeds of an arm, bands one standard deviation to each side."
    return [chart("Training", plots, [{"label": "Show", "options": list(plots)}], note)]


# Comparisons


def _arm(guider: str, selector: str, selectors: int) -> str:
    guided = "unguided" if guider == "none" else guider
    if selectors == 1:
        return guided
    return f"{guided} · {'no selection' if selector == 'none' else selector}"


def _budget(
    budget: str,
    title: str,
    chosen: Sequence[Mapping[str, Any]],
    rows: Sequence[Mapping[str, Any]],
    named: Mapping[tuple[str, str], str],
    metrics: Mapping[str, str],
    formulas: Mapping[str, str],
    truth: Mapping[str, Any],
) -> dict[str, Any]:
    taken = {(str(snapshot.get("selector")), snapshot.get("seed"), snapshot.get("step")) for snapshot in chosen}
    seeds = len({seed for _, seed, _ in taken})
    lines = []
    for (guider, selector), label in named.items():
        mine = [
            as_table(row.get("metrics"))
            for row in rows
            if (str(row.get("guider")), str(row.get("selector"))) == (guider, selector)
            and (selector, row.get("seed"), row.get("step")) in taken
        ]
        values = [
            _mean([value for measured in mine if (value := as_number(measured.get(name))) is not None], seeds)
            for name in metrics
        ]
        spent = [as_number(snapshot.get("spent")) for snapshot in chosen if str(snapshot.get("selector")) == selector]
        paid = _paid(budget, [amount for amount in spent if amount is not None])
        lines.append({"arm": label, "selector": selector, "cells": [text_cell(label), *values, paid]})
    columns = [
        column("arm"),
        *(column(name, numeric=True, better=better, formula=formulas[name]) for name, better in metrics.items()),
        column(f"spent, {UNITS[budget]}", numeric=True),
    ]
    foot = [[text_cell("true samples"), *(value_cell(as_number(truth.get(name))) for name in metrics), text_cell("")]]
    caption = f"At {title}"
    note = f"Mean ± standard deviation over {seeds} seeds." if seeds > 1 else ""
    return {"caption": caption, "note": note, "columns": columns, "rows": lines, "foot": foot}


def _paid(budget: str, spent: Sequence[float]) -> Cell:
    """The amount of a budget that an arm has spent, a mean over its seeds."""
    if not spent:
        return text_cell("-")
    mean = statistics.fmean(spent)
    return text_cell(seconds(mean).removesuffix(" s") if budget == "time" else f"{mean:,.0f}", mean)


def _curves_of_comparison(
    rows: Sequence[Mapping[str, Any]],
    trainings: Sequence[Mapping[str, Any]],
    named: Mapping[tuple[str, str], str],
    metrics: Mapping[str, str],
) -> list[dict[str, Any]]:
    spent = {
        (str(training.get("selector")), training.get("seed"), training.get("step")): training for training in trainings
    }
    # Arms share the steps of their moments; along another axis a moment is at the mean over its seeds.
    places: dict[tuple[tuple[str, str], Any], list[Mapping[str, Any]]] = {}
    for row in rows:
        places.setdefault(((str(row.get("guider")), str(row.get("selector"))), row.get("step")), []).append(row)
    counts = {arm: len({step for other, step in places if other == arm}) for arm in named}
    if max(counts.values(), default=0) < 2:
        return []
    plots = {}
    for metric, (along, caption) in itertools.product(metrics, ALONG.items()):
        series = []
        for arm, label in named.items():
            points = []
            for (other, step), per_seed in places.items():
                if other != arm:
                    continue
                values = [
                    v for row in per_seed if (v := as_number(as_table(row.get("metrics")).get(metric))) is not None
                ]
                keys = [(arm[1], row.get("seed"), step) for row in per_seed]
                xs = [x for key in keys if key in spent and (x := as_number(spent[key].get(along))) is not None]
                if values and xs:
                    spread = statistics.pstdev(values) if len(values) > 1 else None
                    points.append([statistics.fmean(xs), statistics.fmean(values), spread])
            if points:
                series.append({"name": label, "points": sorted(points)})
        if series:
            plots[f"{metric}|{caption}"] = plot(caption, f"{metric} {ARROWS.get(metrics[metric], '')}".strip(), series)
    if not plots:
        return []
    shown = [name for name in metrics if any(key.startswith(f"{name}|") for key in plots)]
    selects = [{"label": "Metric", "options": shown}, {"label": "Along", "options": list(ALONG.values())}]
    note = "Lines are means over seeds, bands one standard deviation to each side."
    return [chart("Metrics along the trainings", plots, selects, note)]


# Studies


def _of_study(name: str, table: Mapping[str, Any], better: Mapping[str, str]) -> dict[str, Any]:
    titles = [str(column) for column in table.get("columns") or []]
    raw_rows = [row for row in table.get("rows") or [] if isinstance(row, list)]
    most = max((len(value) for row in raw_rows for value in row if isinstance(value, list)), default=1)
    rows: list[list[Cell]] = []
    for row in raw_rows:
        cells = []
        for value in row:
            if isinstance(value, list):
                cells.append(_mean([v for item in value if (v := as_number(item)) is not None], most))
            elif isinstance(value, int) and not isinstance(value, bool):
                cells.append(text_cell(f"{value:,}", value))
            elif isinstance(value, float):
                cells.append(value_cell(as_number(value)))
            else:
                cells.append(text_cell("-" if value is None else str(value)))
        rows.append([*cells, *[text_cell("")] * len(titles)][: len(titles)])
    columns = [
        column(title, numeric=any(row[place]["key"] is not None for row in rows), better=better.get(title, ""))
        for place, title in enumerate(titles)
    ]
    note = f"Mean ± standard deviation over up to {most} seeds." if most > 1 else ""
    lines = [{"arm": None, "cells": cells} for cells in rows]
    return {"caption": name, "note": note, "columns": columns, "rows": lines, "foot": []}


def _trials(trials: Sequence[Mapping[str, Any]], better: Mapping[str, str]) -> dict[str, Any]:
    axes = list(dict.fromkeys(name for trial in trials for name in as_table(trial.get("axes"))))
    metrics = [name for name in better if any(as_table(trial.get("metrics")).get(name) is not None for trial in trials)]
    rows = []
    for trial in trials:
        where = as_table(trial.get("axes"))
        cells = [text_cell(str(where.get(axis, "")), where.get(axis)) for axis in axes]
        values = [value_cell(as_number(as_table(trial.get("metrics")).get(name))) for name in metrics]
        rows.append({"arm": None, "cells": [*cells, *values]})
    numeric = {
        axis: any(as_number(as_table(trial.get("axes")).get(axis)) is not None for trial in trials) for axis in axes
    }
    columns = [column(axis, numeric=numeric[axis]) for axis in axes]
    columns += [column(name, numeric=True, better=better[name]) for name in metrics]
    return {"caption": "Every trial", "note": "", "columns": columns, "rows": rows, "foot": [], "folded": True}


def _curves_of_study(trials: Sequence[Mapping[str, Any]], better: Mapping[str, str]) -> list[dict[str, Any]]:
    axes = list(dict.fromkeys(name for trial in trials for name in as_table(trial.get("axes"))))
    values = {axis: {as_number(as_table(trial.get("axes")).get(axis)) for trial in trials} - {None} for axis in axes}
    along = [axis for axis in axes if axis != "seed" and len(values[axis]) > 2]
    plots = {}
    for axis, metric in itertools.product(along, better):
        others = [
            name
            for name in axes
            if name not in (axis, "seed") and len({str(as_table(trial.get("axes")).get(name)) for trial in trials}) > 1
        ]
        series: dict[str, list[tuple[float, float]]] = {}
        for trial in trials:
            where = as_table(trial.get("axes"))
            x, y = as_number(where.get(axis)), as_number(as_table(trial.get("metrics")).get(metric))
            if x is not None and y is not None:
                label = " · ".join(_axis(name, where.get(name)) for name in others) or metric
                series.setdefault(label, []).append((x, y))
        if any(len({x for x, _ in points}) > 1 for points in series.values()):
            lines = [{"name": label, "points": banded([points])} for label, points in series.items()]
            plots[f"{metric}|{axis}"] = plot(axis, f"{metric} {ARROWS.get(better[metric], '')}".strip(), lines)
    if not plots:
        return []
    metrics = [name for name in better if any(key.startswith(f"{name}|") for key in plots)]
    selects = [{"label": "Metric", "options": metrics}, {"label": "Along", "options": along}]
    note = "Lines are means over trials that differ in the seed alone, bands one standard deviation to each side."
    return [chart("Metrics along the axes", plots, selects, note)]


def _axis(name: str, value: Any) -> str:
    shown = f"{value:g}" if isinstance(value, float) and math.isfinite(value) else str(value)
    return shown if isinstance(value, str) and value not in ("none", "own") else f"{name} {shown}"
