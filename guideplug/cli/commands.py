"""``guideplug run`` and ``sample``: options to an experiment, its outcome to printed lines."""

import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from guideplug.cli.dry_run import dry_run
from guideplug.cli.echo import echo
from guideplug.cli.guard import guard
from guideplug.cli.json_output import print_json
from guideplug.cli.report import page_told
from guideplug.cli.sweep import sweep_command
from guideplug.cli.table import print_table, table_width
from guideplug.config import command_line, has_range, short
from guideplug.errors import UsageError
from guideplug.executors.interrupt import Interrupted
from guideplug.files.display import display_path
from guideplug.files.opening import is_there
from guideplug.run.console import Console, print_line
from guideplug.run.earlier import check_same, other_torch, resumable
from guideplug.run.experiment import Experiment, folder_name
from guideplug.run.failure import INCOMPLETE
from guideplug.run.folder import RunFolder
from guideplug.run.image_pictures import PICTURES
from guideplug.run.outcome import Outcome
from guideplug.run.prepare import Resolved, prepare
from guideplug.run.progress import progress
from guideplug.run.resolve import ConfigFile, Request, RunConfig, read_file
from guideplug.run.results import with_failures
from guideplug.run.sampled import prepare_sample
from guideplug.run.short_observers import SHORT, with_short
from guideplug.run.stored_text import words_of
from guideplug.run.summary import (
    cost_sentences,
    guidance_sentence,
    incomplete,
    metrics_line,
    notes,
    selection_sentence,
    table_rows,
)
from guideplug.run.threads import busy_note
from guideplug.store import Store, with_bundle

__all__ = ["observers_given", "run_command", "sample_command"]

DIRECT = (
    "task",
    "denoiser",
    "guider",
    "selector",
    "sampler",
    "batch",
    "duration",
    "seed",
    "samples",
    "streams",
    "device",
)


def run_command(config: str | None, options: Mapping[str, Any]) -> None:
    """``guideplug run``."""
    guard(options)
    out, resume = options["out"], options["resume"]
    if resume is not None and (out is not None or config is not None):
        raise UsageError("--resume names the folder and its configuration: leave out --out and CONFIG.toml")
    folder = None
    if resume is not None:
        folder = resumable(Path(resume))
        run = _resumed(options, folder)
        carrier: Path | None = folder.path
    else:
        file = None if config is None else read_file(Path(config))
        run = prepare(_request(options, file)).run
        carrier = None if file is None else file.folder
    store = Store.default() if carrier is None else with_bundle(Store.default(), carrier)
    if options["dry_run"]:
        dry_run(run.config, store, as_json=options["as_json"])
        return
    if folder is None:
        folder = RunFolder.create(None if out is None else Path(out), folder_name(run.config))
    experiment = Experiment(
        run.config,
        run.registry,
        store,
        folder,
        fresh=options["fresh"],
        bundle=options["bundle"],
        command=_command(),
    )
    _go(experiment, options["as_json"])


def _resumed(options: Mapping[str, Any], folder: RunFolder) -> Resolved:
    """The run of a folder as it began; another version of torch is noted."""
    before, record = read_file(folder.config, folder.path), folder.record() if folder.begun else {}

    def check(run: Resolved) -> Resolved:
        check_same(run, folder.path, before, record)
        if note := other_torch(record):
            echo(f"note: {note}", err=True)
        return run

    return prepare(_request(options, before), check).run


def sample_command(path: str | None, options: Mapping[str, Any]) -> None:
    """``guideplug sample``: a run's network, or one of the user's own, at one weight or at several."""
    guard(options)
    request = _request({**options, "sample_seed": options["seed"], "seed": None}, None)
    earlier = None if path is None else Path(path)
    if has_range(str(request.values.get("guider", ""))):
        sweep_command(earlier, request, options, _command())
        return
    run = prepare_sample(earlier, request).run
    store = Store.default() if earlier is None else with_bundle(Store.default(), earlier)
    out = None if options["out"] is None else Path(options["out"])
    folder = RunFolder.create(out, f"{folder_name(run.config)}-sampled")
    experiment = Experiment(run.config, run.registry, store, folder, kind="sample", command=_command())
    _go(experiment, options["as_json"])


def _request(options: Mapping[str, Any], file: ConfigFile | None) -> Request:
    values = {key: options[key] for key in DIRECT if options.get(key) is not None}
    if options.get("sample_seed") is not None:
        values["sample_seed"] = options["sample_seed"]
    if options.get("plugins"):
        values["plugins"] = list(options["plugins"])
    values |= observers_given(options, file)
    return Request(values=values, models=dict(options["models"]), sets=options["sets"], file=file)


def observers_given(options: Mapping[str, Any], file: ConfigFile | None = None) -> dict[str, list[str]]:
    """The observers of the command line as configuration values; empty without the options."""
    configured = () if file is None else file.values.get("observers", ())
    observers = with_short(options["observers"], {name: options.get(name) for name in SHORT}, configured)
    return {} if observers is None else {"observers": observers}


def _command() -> str:
    return shlex.join(["guideplug", *sys.argv[1:]])


def _go(experiment: Experiment, as_json: bool) -> None:
    console = Console(stderr=as_json)
    config = experiment.config
    experiment.listeners = [] if as_json else [progress(console)]
    for line in () if as_json else notes(config):
        print_line(console, line)
    if not as_json and (note := busy_note(config.threads)):
        echo(note, err=True)
    try:
        outcome = experiment.run()
    except Interrupted as interrupted:
        echo(f"interrupted; go on with: {experiment.resume}", err=True)
        sys.exit(interrupted.exit_code)
    page, unwritten = page_told(outcome.folder, experiment.registry)
    outcome = with_failures(outcome, unwritten)
    if as_json:
        figure = display_path(outcome.figure) if is_there(outcome.figure) else None
        animation = None if outcome.animation is None else display_path(outcome.animation)
        paths = {"folder": display_path(outcome.folder), "figure": figure, "animation": animation, "page": page}
        print_json({**paths, **outcome.metrics})
    else:
        _tell(console, experiment, config, outcome, page)
    if outcome.failures:
        listed = RunFolder(outcome.folder).record().get("status") == "incomplete"
        finish = experiment.resume if listed else command_line("report", outcome.folder)  # all but its page is there
        echo(f"error: {incomplete(outcome, finish)}", err=True)
        sys.exit(INCOMPLETE)


def _tell(console: Console, experiment: Experiment, config: RunConfig, outcome: Outcome, page: str | None) -> None:
    title = f"{short(config.task)}, {outcome.metrics['samples']:,} samples"
    header, rows = table_rows(outcome.metrics["arms"], outcome.table, outcome.verdicts, outcome.failures)
    differs = len(header) > 2 + len(outcome.metrics["arms"])
    if differs and table_width(header, rows) > console.width:  # the differences below, in a table of their own
        print_table(console, title, header[:-1], [row[:-1] for row in rows])
        differences = [[*row[:2], row[-1]] for row in rows if row[-1]]
        print_table(console, "guided less unguided", [*header[:2], header[-1]], differences)
    else:
        print_table(console, title, header, rows)

    def say(line: str) -> None:
        print_line(console, line)

    say(metrics_line(config))
    if any(verdict.primary for verdict in outcome.verdicts):
        say("* primary metric of its aspect: the words below rest on these alone; intervals are over samples")
    say(guidance_sentence(config, outcome))
    say(selection_sentence(config, outcome))
    for line in cost_sentences(config, outcome):
        say(line)
    if is_there(outcome.figure):
        say(f"figure: {display_path(outcome.figure)}")
    for name in PICTURES:
        if is_there(picture := outcome.figure.with_name(f"{name}.png")):
            say(f"figure: {display_path(picture)}")
    if outcome.animation is not None:
        say(f"animation: {display_path(outcome.animation)}")
    if page is not None:
        say(f"page: {page}")
    say(f"folder: {display_path(outcome.folder)}")
    unsaid = any(failure.part == "words" for failure in outcome.failures)
    following = [] if unsaid else words_of(outcome.folder, experiment.registry)["next"]
    for line in ["next:", *(f"  {command}" for command in following)] if following else []:
        say(line)
