"""What compare does: a grid resolved, worked through, and told."""

import itertools
import string
import sys
import time
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import click
from rich.console import Console

from guideplug.cli.commands import differences, plugin_files
from guideplug.cli.table import print_table
from guideplug.compare import Comparison, Grid, GridRequest, compare, read_grid, resolve_grid, to_toml, write_report
from guideplug.compare.digits import cell
from guideplug.compare.result import BUDGETS, Budget
from guideplug.compare.tables import ARROWS, spent
from guideplug.compare.words import WHAT, arm, sentences
from guideplug.config import shell_quote
from guideplug.errors import UsageError
from guideplug.registry import Registry
from guideplug.run.config import Request
from guideplug.run.folder import RunFolder
from guideplug.run.interrupt import Interrupted
from guideplug.run.rehearsal import rehearse
from guideplug.store import Store
from guideplug.tensors import whole_file

__all__ = ["compare_command"]

CONFIG = "compare.toml"
DIRECT = ("task", "denoiser", "sampler", "batch", "duration", "samples", "device")


def compare_command(config: str | None, options: Mapping[str, Any]) -> None:
    """``guideplug compare``."""
    resume = options["resume"]
    if resume is not None and (config is not None or options["out"] is not None):
        raise UsageError("--resume names the folder and its configuration: leave out --out and CONFIG.toml")
    file = None if config is None else Path(config)
    if resume is not None:
        file = Path(resume) / CONFIG
        if not file.is_file():
            raise UsageError(f"{resume} is not the folder of a comparison: it has no {CONFIG}")
    plugins = plugin_files(options, file)
    registry = Registry.installed(plugins)
    values, own = read_grid(file) if file is not None else ({}, {})
    grid = resolve_grid(_request(values, own, plugins, options), registry)
    for guider, selector in itertools.product(grid.request.guiders, grid.request.selectors):
        rehearse(grid.configs[guider, selector, grid.request.seeds[0]])
    if options["dry_run"]:
        _dry_run(grid)
        return
    folder = Path(resume) if resume is not None else _new_folder(grid, options["out"])
    text = to_toml(grid)
    if resume is not None:
        _same(tomllib.loads((folder / CONFIG).read_text()), tomllib.loads(text), folder)
    else:
        with whole_file(folder / CONFIG) as target:
            target.write(text.encode())
    _go(grid, registry, folder, options)


def _request(
    values: dict[str, Any], own: dict[str, Any], plugins: list[str], options: Mapping[str, Any]
) -> GridRequest:
    given = {key: options[key] for key in DIRECT if options.get(key) is not None}
    for key, _ in options["sets"]:
        head = key.partition(".")[0]
        if head in ("guider", "selector", "seed"):
            raise UsageError(f"--set {key}: a comparison has several; write options in the expressions of --{head}")
    models = {**values.pop("models", {}), **dict(options["models"])}
    sets = [*(_key_and_value(text) for text in own.get("sets", [])), *options["sets"]]
    run = Request(values={"threads": 1, **values, **given, "plugins": plugins}, models=models, sets=sets)
    request = GridRequest(run)
    changes: dict[str, Any] = {key: own[key] for key in own if key != "sets"}
    for key in ("guiders", "selectors"):
        if options[key]:
            changes[key] = options[key]
    if options["seeds"] is not None:
        changes["seeds"] = _seeds(options["seeds"])
    for key in ("moments", "snapshots"):
        if options[key] is not None:
            changes[key] = options[key]
    if options["curves"] is not None:
        changes["curves"] = options["curves"]
    if options["charge_reference"]:
        changes["charge_reference"] = True
    return attrs.evolve(request, **changes)


def _key_and_value(text: Any) -> tuple[str, str]:
    key, separator, value = str(text).partition("=")
    if not separator:
        raise UsageError(f"sets holds {text!r}: write it as in 'models.weak.seed=0'")
    return key.strip(), value.strip()


def _seeds(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"--seeds {text}: give whole numbers joined by commas, as in 0,1,2") from None


def _new_folder(grid: Grid, out: str | None) -> Path:
    name = f"compare-{grid.first.task.name}"
    return RunFolder.create(None if out is None else Path(out), name, parts=("cells", "figures")).path


def _same(before: Mapping[str, Any], now: Mapping[str, Any], folder: Path) -> None:
    for key, old, new in differences(before, now):
        raise UsageError(
            f"--resume {folder}: {key} was {old} and is {new} now; leave it out, or start a new comparison"
        )


def _dry_run(grid: Grid) -> None:
    click.echo(to_toml(grid))
    steps = ", ".join(map(str, grid.moments))
    measured = len(grid.trainings) * len(grid.request.guiders) * (len(grid.moments) + 3 if grid.request.curves else 3)
    each = f"{len(grid.steps)} snapshots each, measured at {steps} and at the budgets"
    click.echo(f"# {len(grid.trainings)} trainings of {grid.steps[-1]:,} iterations, {each}")
    click.echo(f"# up to {measured} times {grid.first.samples:,} samples to measure")


def _go(grid: Grid, registry: Registry, folder: Path, options: Mapping[str, Any]) -> None:
    as_json = options["as_json"]
    begin = time.monotonic()

    def say(line: str) -> None:
        if not as_json:
            click.echo(f"[{time.monotonic() - begin:6.0f} s] {line}")

    try:
        found = compare(grid, registry, folder, Store.default(), jobs=options["jobs"], say=say)
    except (Interrupted, KeyboardInterrupt) as stopped:
        click.echo(f"interrupted; go on with: guideplug compare --resume {shell_quote(str(folder))}", err=True)
        sys.exit(getattr(stopped, "exit_code", 130))
    files = write_report(found, folder, grid.request.published)
    if as_json:
        click.echo((folder / "compare.json").read_text())
        return
    _tell(found)
    click.echo(
        f"folder: {folder} ({', '.join(str(file.relative_to(folder)) for file in files[:3])}, {len(files) - 3} figures)"
    )


def _tell(found: Comparison) -> None:
    """A table for each budget where there is room for it, metrics down and arms across; what the intervals support."""
    arms = dict(zip(_letters(), found.arms, strict=False))
    width = 36 + 22 * len(arms)
    console = Console()
    for letter, names in arms.items():
        note = " (what the others are compared with)" if names == found.arms[0] else ""
        click.echo(f"  {letter}  {arm(*names)}{note}")
    if console.is_terminal and console.width < width:
        click.echo(f"the tables need {width} columns, and are in tables.md")
    else:
        for budget in BUDGETS:
            print_table(Console(width=width), f"{WHAT[budget]}, {len(found.seeds)} seeds", *_rows(found, budget, arms))
    for line in sentences(found, {names: letter for letter, names in arms.items()}):
        click.echo(line)


def _letters() -> Iterator[str]:
    """A, B, ... Z, AA, AB, ..."""
    for length in itertools.count(1):
        yield from map("".join, itertools.product(string.ascii_uppercase, repeat=length))


def _rows(found: Comparison, budget: Budget, arms: Mapping[str, tuple[str, str]]) -> tuple[list[str], list[list[str]]]:
    rows = [
        [
            f"{metric} {ARROWS[facts['better']]}",
            facts["aspect"],
            *(cell(list(found.values(*names, metric, budget).values()), len(found.seeds)) for names in arms.values()),
        ]
        for metric, facts in found.metrics.items()
    ]
    charged = "references included" if found.charge_reference and budget == "time" else ""
    paid = ["spent", charged, *(spent(found, selector, budget) for _, selector in arms.values())]
    return ["metric", "aspect", *arms], [*rows, paid]
