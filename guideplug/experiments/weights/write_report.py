"""Files of a sweep: every value in CSV, everything in JSON, the table in Markdown, and figures.

weights.md   weights.csv   weights.json   figures/metrics.png   figures/trade.png   figures/samples.png
"""

import csv
import io
import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import attrs

from guideplug.experiments.weights.figure import draw_metrics, draw_trade
from guideplug.experiments.weights.pictures import Kept
from guideplug.experiments.weights.result import MeasuredArm, WeightSweep
from guideplug.files.atomic import whole_file
from guideplug.run.failure import Failures
from guideplug.run.picture import draw

__all__ = ["FIGURES", "write_report"]

FIGURES = {"samples": "samples by weight", "metrics": "metrics over the weight", "trade": "fidelity against coverage"}
"""The names of the figures' files, in the order of the page, and what they show."""


def write_report(sweep: WeightSweep, kept: Kept, folder: Path) -> WeightSweep:
    """Write the files of a sweep; the sweep with the figures that could not be drawn among its failures."""
    failures = Failures(list(sweep.failures))
    paint: dict[str, Callable[[Path], bool]] = {
        "samples": kept.draw,
        "metrics": partial(draw_metrics, sweep),
        "trade": partial(draw_trade, sweep),
    }
    for name in FIGURES:
        draw(folder / "figures" / f"{name}.png", "figure", name, paint[name], failures)
    sweep = attrs.evolve(sweep, failures=failures.listed)
    texts = {
        "weights.md": _markdown(sweep),
        "weights.csv": _csv(sweep),
        "weights.json": json.dumps(_plain(sweep), indent=1, allow_nan=False) + "\n",
    }
    for name, text in texts.items():
        with whole_file(folder / name) as file:
            file.write(text.encode())
    return sweep


def _markdown(sweep: WeightSweep) -> str:
    header, rows = sweep.rows()
    lines = [f"| {' | '.join(cells)} |" for cells in (header, ["---"] * len(header), *rows)]
    legend = "+ better and - worse than unguided by the 95 % interval of the paired difference; * primary metric"
    sentences = [f"- {line}" for line in (legend, *sweep.sentences(), *map(str, sweep.failures))]
    title = f"# {sweep.task}, {sweep.expression}: {sweep.samples:,} samples at each weight"
    return "\n\n".join([title, "\n".join(lines), "\n".join(sentences)]) + "\n"


def _csv(sweep: WeightSweep) -> str:
    """A line per value."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["arm", sweep.option, "metric", "value", "difference", "low", "high", "verdict", "outputs"])
    for arm in (sweep.truth, sweep.unguided, *sweep.arms):
        outputs = sum(count["outputs"] for count in arm.evaluations.values())
        verdicts = {verdict.metric: verdict.record() for verdict in arm.verdicts}
        for metric, value in arm.metrics.items():
            judged = verdicts.get(metric, {})
            weight = "" if arm.weight is None else repr(arm.weight)
            difference = [judged.get(key, "") for key in ("difference", "low", "high", "verdict")]
            writer.writerow([arm.name, weight, metric, "" if value is None else repr(value), *difference, outputs])
    return text.getvalue()


def _plain(sweep: WeightSweep) -> dict[str, Any]:
    return {
        "task": sweep.task,
        "expression": sweep.expression,
        "option": sweep.option,
        "samples": sweep.samples,
        "seed": sweep.seed,
        "metrics": {
            metric.name: {"better": metric.better, "aspect": metric.aspect, "formula": metric.formula,
                          "primary": metric.name in sweep.primary}
            for metric in sweep.table
        },
        "truth": dict(sweep.truth.metrics),
        "unguided": _of_arm(sweep.unguided),
        "weights": [_of_arm(arm) for arm in sweep.arms],
        "words": sweep.sentences(),
        "warnings": list(sweep.warnings),
        "failures": [failure.record() for failure in sweep.failures],
        **sweep.record,
    }  # fmt: skip


def _of_arm(arm: MeasuredArm) -> Mapping[str, Any]:
    differences = {verdict.metric: verdict.record() for verdict in arm.verdicts}
    facts = {"metrics": dict(arm.metrics), "evaluations": dict(arm.evaluations), "seconds": arm.seconds}
    if arm.weight is None:
        return facts
    return {"weight": arm.weight, **facts, "differences": differences, "diverged": arm.diverged or None}
