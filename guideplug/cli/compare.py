"""``guideplug compare``: a grid resolved, carried out and printed."""

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import tomli_w

from guideplug.cli.commands import observers_given
from guideplug.cli.compare_plan import dry_run, pointless
from guideplug.cli.compare_tables import counted, tell
from guideplug.cli.echo import echo
from guideplug.cli.experiment_progress import ExperimentProgress
from guideplug.cli.experiment_scope import end_incomplete, executor_of, experiment_scope
from guideplug.cli.guard import guard
from guideplug.cli.json_output import print_json_text
from guideplug.cli.report import page_told
from guideplug.config import Duration, expand_ranges, shell_quote, short
from guideplug.errors import ConfigError, ExpressionError, UsageError, brief
from guideplug.executors import Executor
from guideplug.experiments.comparison import (
    Comparison,
    Grid,
    GridFile,
    GridRequest,
    compare,
    prepare_grid,
    read_grid,
    to_toml,
    write_report,
)
from guideplug.experiments.comparison.figure import why_none
from guideplug.experiments.comparison.grid import MOST_RUNS
from guideplug.experiments.comparison.stored import stored_trainings
from guideplug.files.atomic import at_work_in, check_unchanged, clear_litter, cleared, whole_file
from guideplug.files.display import display_path
from guideplug.files.opening import MOST_EVENTS, is_there
from guideplug.files.reading import read_text
from guideplug.observe import RunInfo
from guideplug.registry.registry import Registry
from guideplug.run.carried import carried
from guideplug.run.console import Console
from guideplug.run.earlier import differences, no_links
from guideplug.run.event_scope import event_scope
from guideplug.run.failure import Failures, failure_of
from guideplug.run.folder import EventLog, RunFolder
from guideplug.run.prepare import plugin_files
from guideplug.run.resolve import Request
from guideplug.store import Store

__all__ = ["compare_command"]

CONFIG = "compare.toml"
DIRECT = ("task", "denoiser", "sampler", "batch", "duration", "samples", "device")


def compare_command(config: str | None, options: Mapping[str, Any]) -> None:
    """``guideplug compare``."""
    guard(options)
    resume = options["resume"]
    if resume is not None and (config is not None or options["out"] is not None):
        raise UsageError("--resume names the folder and its configuration: leave out --out and CONFIG.toml")
    file = None if config is None else Path(config)
    if resume is not None:
        file = Path(resume) / CONFIG
        if not is_there(file):
            raise UsageError(f"{resume} is not the folder of a comparison: it has no {CONFIG}")
        no_links(Path(resume))
        check_unchanged(file)
    before = GridFile() if file is None else read_grid(file, None if resume is None else Path(resume))
    plugins = plugin_files(before.values.get("plugins"), options["plugins"])
    registry = Registry.installed(plugins)
    executor = executor_of(options, registry)
    grid = prepare_grid(_request(before.run, before.own, plugins, options), registry)
    if options["dry_run"]:
        dry_run(grid, Store.default(), as_json=options["as_json"])
        return
    folder = Path(resume).absolute() if resume is not None else _new_folder(grid, options["out"])
    text = to_toml(grid)
    with at_work_in(folder):
        if resume is not None:
            _same(before.values, tomllib.loads(text), folder)
        if resume is None or options["plugins"]:  # what is measured from here on is measured with these
            with whole_file(folder / CONFIG) as target:
                target.write(tomli_w.dumps(carried(folder, tomllib.loads(text))).encode())
        _go(grid, registry, executor, folder, options, resumed=resume is not None)


def _request(
    values: dict[str, Any], own: Mapping[str, Any], plugins: list[str], options: Mapping[str, Any]
) -> GridRequest:
    typed = {key: options[key] for key in DIRECT if options.get(key) is not None} | observers_given(options)
    if "duration" in typed:
        _check_duration(typed["duration"])
    for key, value in options["sets"]:
        head = key.partition(".")[0]
        if head == "seed":
            raise UsageError(f"--set {key}={value}: a comparison has several seeds; give --seeds {value}")
        if head in ("guider", "selector"):
            raise UsageError(f"--set {key}: a comparison has several; write options in the expressions of --{head}")
    models = {**values.pop("models", {}), **dict(options["models"])}
    sets = [*(_key_and_value(text) for text in own.get("sets", [])), *options["sets"]]
    run = Request(values={**values, **typed, "plugins": plugins}, models=models, sets=sets)
    request = GridRequest(run)
    changes: dict[str, Any] = {key: own[key] for key in own if key != "sets"}
    for key in ("guiders", "selectors"):
        if options[key]:
            changes[key] = options[key]
        _check_ranges(f"--{key.removesuffix('s')}" if options[key] else f"configuration: {key}", changes.get(key, ()))
    if options["seeds"] is not None:
        changes["seeds"] = _seeds(options["seeds"])
    if options["snapshots"] is not None:
        changes["snapshots"] = options["snapshots"]
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
    option = f"--seeds {shell_quote(text)}"
    advice = "give whole numbers of at least 0 joined by commas, as in 0,1,2"
    if not text.strip():
        raise UsageError(f"{option} holds no seed: {advice}")
    seeds: list[int] = []
    for part in text.split(","):
        try:
            seed = int(part)
        except ValueError:
            raise UsageError(f"{option}: {part.strip()!r} is no whole number: {advice}") from None
        if seed < 0:
            raise UsageError(f"{option}: seed {seed} is below 0: {advice}")
        if seed in seeds:
            raise UsageError(f"{option}: seed {seed} is there twice: give each once")
        seeds.append(seed)
    return tuple(seeds)


def _check_duration(text: str) -> None:
    """Refuse a duration that is not in iterations, quoting the text as typed."""
    try:
        unit: str | None = Duration.of(text).unit
    except ValueError as error:
        raise UsageError(f"--duration {brief(text)}: {error}: give iterations, as in 4096it") from None
    except (ConfigError, ExpressionError):
        unit = None
    if unit is None:
        number = text.strip()
        advice = f"{number}it" if number.isascii() and number.isdecimal() and len(number) <= 12 else "4096it"
        raise UsageError(
            f"--duration {shell_quote(brief(text))} is no number of iterations: write the unit too, as in {advice}"
        )
    if unit != "it":
        measure = "examples" if unit == "ex" else "a time"
        raise UsageError(
            f"--duration {brief(text)} is {measure}: a comparison counts iterations, so that all trainings have the "
            "same snapshots; give 4096it, say"
        )


def _check_ranges(where: str, texts: Sequence[str]) -> None:
    """Refuse a range without numbers, naming its option or key."""
    count = 0
    for text in texts:
        try:
            count += len(expand_ranges(text))
        except (ConfigError, ExpressionError) as error:
            raise UsageError(f"{where} {shell_quote(text)}: {error}") from None
        if count > MOST_RUNS:
            raise UsageError(f"{where}: they stand for more than {MOST_RUNS:,} arms, the most that are compared")


def _new_folder(grid: Grid, out: str | None) -> Path:
    name = f"compare-{grid.first.task.name}"
    return RunFolder.create(None if out is None else Path(out), name, parts=("cells",)).path


def _same(before: Mapping[str, Any], now: Mapping[str, Any], folder: Path) -> None:
    """Refuse to resume another comparison; observers and plugin files may differ, the code of plugins is compared."""
    free: dict[str, Any] = {"observers": [], "plugins": []}
    for key, old, new in differences({**before, **free}, {**now, **free}):
        raise UsageError(
            f"--resume {display_path(folder)}: {key} was {old} and is {new} now; leave it out, or start a new "
            "comparison"
        )


def _go(
    grid: Grid, registry: Registry, executor: Executor, folder: Path, options: Mapping[str, Any], *, resumed: bool
) -> None:
    as_json = options["as_json"]
    store = Store.default()
    progress = None
    if not as_json:
        for line in pointless(grid):
            echo(line)
        progress = ExperimentProgress(Console(), len(stored_trainings(grid, store)))
    listeners = [] if progress is None else [progress]
    observed = RunInfo(folder, "compare", tomllib.loads(to_toml(grid)), resumed)
    plan = {
        "task": short(grid.first.task),
        "guiders": list(grid.request.guiders),
        "selectors": list(grid.request.selectors),
        "seeds": list(grid.request.seeds),
    }
    with experiment_scope("compare", folder, progress):
        cleared(folder, ("cells",))
        clear_litter(folder / "figures")
        log = EventLog(folder / "events.jsonl")
        with event_scope([log, *listeners], grid.first.observers, observed, plan) as observers:
            comparison = compare(grid, registry, folder, store, executor=executor, observers=observers)
        failures = Failures()
        files = write_report(comparison, folder, grid.request.published, failures)
    page, unwritten = page_told(folder)
    failed = [*map(str, map(failure_of, comparison.failures)), *map(str, failures.listed), *map(str, unwritten)]
    if as_json:
        print_json_text(read_text(folder / "compare.json", MOST_EVENTS, folder))
    else:
        _tell(comparison, grid, folder, files, page)
    end_incomplete(failed, folder, "compare")


def _tell(comparison: Comparison, grid: Grid, folder: Path, files: Sequence[Path], page: str | None) -> None:
    tell(comparison)
    drawn = sum(file.parent.name == "figures" for file in files)
    if not drawn:
        advice = "; give --snapshots 8" if len(grid.curve) == 1 else ""
        echo(f"{why_none(comparison)}{advice}")
    names = ", ".join(str(file.relative_to(folder)) for file in files if file.parent == folder)
    figures = f", {counted(drawn, 'figure')}" if drawn else ""
    if page is not None:
        echo(f"page: {page}")
    echo(f"folder: {display_path(folder)} ({names}{figures})")
