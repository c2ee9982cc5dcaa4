"""``guideplug evaluate``: samples from a file, measured beside true ones."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from guideplug.cli.echo import echo
from guideplug.cli.guard import guard
from guideplug.cli.json_output import print_json
from guideplug.cli.replaceable import check_replaceable
from guideplug.cli.table import print_table
from guideplug.config import short
from guideplug.errors import UsageError
from guideplug.rng import SampleStreams
from guideplug.run.console import Console
from guideplug.run.failure import INCOMPLETE, Failures
from guideplug.run.measure import measured, metrics_of
from guideplug.run.picture import draw
from guideplug.run.prepare import resolved
from guideplug.run.resolve import Request
from guideplug.run.samples import check_condition, read_arms
from guideplug.run.summary import table_rows
from guideplug.run.task_answers import truth_of
from guideplug.run.verdict import Verdict, verdicts
from guideplug.task import Arm, Context

__all__ = ["evaluate_command"]


def evaluate_command(path: str, options: Mapping[str, Any]) -> None:
    """``guideplug evaluate``."""
    guard(options)
    run = resolved(Request(values={key: options[key] for key in ("task", "sampler", "plugins")}))
    torch.set_num_threads(run.config.threads)
    task, sampler, seed = run.config.task, run.config.sampler, options["seed"]
    figure = None if options["figure"] is None else _writable(Path(options["figure"]))
    arms = read_arms(Path(path), task)
    check_condition(
        arms[0].condition, task.start(SampleStreams(0, range(2)), task.space.sigma_max).condition, path, task
    )
    count = max(len(arm.samples) for arm in arms)
    truth = truth_of(task, count, sampler, seed, like=arms[0])
    taken = {arm.name for arm in truth} & {arm.name for arm in arms}
    if taken:
        raise UsageError(f"{path} has an array {taken.pop()!r}, the name of a reference arm: give it another name")
    context = Context(task, {arm.name: arm for arm in truth}, sampler, seed)
    metrics = metrics_of(task, run.registry)

    failures = Failures()

    def values(arm: Arm) -> dict[str, float | None]:
        before = len(failures.listed)
        table = measured(arm, metrics, context, failures=failures)
        if len(failures.listed) - before == len(metrics):
            reason = failures.listed[-1].reason.removeprefix("ValueError: ")
            raise UsageError(f"{path}: {arm.name} cannot be measured: {reason}")
        return table

    table = {arm.name: values(arm) for arm in (*truth, *arms)}
    by_name = {arm.name: arm for arm in arms}
    judged: list[Verdict] = []
    if {"unguided", "guided"} <= by_name.keys():
        judged = verdicts(metrics, task.primary(), by_name["unguided"], by_name["guided"], table, context, failures)
    if figure is not None:
        drawn = draw(figure, "figure", task.name, lambda aside: task.figure([*truth[:1], *arms], aside), failures)
        figure = figure if drawn else None
    if options["as_json"]:
        samples = {arm.name: len(arm.samples) for arm in arms}
        record: dict[str, Any] = {"samples": samples, "task": short(task), "arms": table}
        record |= {"differences": {verdict.metric: verdict.record() for verdict in judged}}
        record |= {"figure": None if figure is None else str(figure)}
        print_json(record | failures.records())
    else:
        rows = table_rows(table, metrics, judged, failures.listed)
        print_table(Console(), f"{short(task)}, {path}, {count:,} samples", *rows)
        if figure is not None:
            echo(f"figure: {figure}")
    if failures.listed:
        echo(f"error: {'; '.join(map(str, failures.listed))}", err=True)
        sys.exit(INCOMPLETE)


def _writable(path: Path) -> Path:
    if path.suffix != ".png":
        raise UsageError(f"--figure {path}: give a name that ends in .png")
    if not path.parent.is_dir():
        raise UsageError(f"--figure {path}: the folder {path.parent} does not exist")
    check_replaceable(path, "--figure", ".png")
    return path
