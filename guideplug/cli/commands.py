"""What run and sample do: from options to an experiment, and from its outcome to words."""

import json
import shlex
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import click
import torch
from rich.console import Console

from guideplug.cli.dry_run import dry_run
from guideplug.cli.guard import guard, no_links, same_code, same_guiders
from guideplug.cli.progress import progress
from guideplug.cli.report import page_told
from guideplug.cli.table import print_table, table_width
from guideplug.config import short
from guideplug.errors import RunError, UsageError
from guideplug.files.reading import parse_toml
from guideplug.guide import Guider
from guideplug.recipe import MainRecipe
from guideplug.registry.registry import Registry
from guideplug.report import keep_words
from guideplug.run.code import code_of
from guideplug.run.experiment import Experiment, Outcome
from guideplug.run.folder import RunFolder
from guideplug.run.interrupt import Interrupted
from guideplug.run.preflight import rehearse
from guideplug.run.resolve import Request, RunConfig, read_file, renewed_roles, resolve, to_toml
from guideplug.run.summary import (
    cost_sentences,
    guidance_sentence,
    next_commands,
    notes,
    selection_sentence,
    table_rows,
)
from guideplug.store import Store

__all__ = ["differences", "observers_given", "plugin_files", "run_command", "sample_command"]

DIRECT = ("task", "denoiser", "guider", "selector", "sampler", "batch", "duration", "seed", "samples", "device")


def run_command(config: str | None, options: Mapping[str, Any]) -> None:
    """``guideplug run``."""
    guard(options)
    out, resume = options["out"], options["resume"]
    if resume is not None and (out is not None or config is not None):
        raise UsageError("--resume names the folder and its configuration: leave out --out and CONFIG.toml")
    file = None if config is None else Path(config)
    folder = None
    if resume is not None:
        folder = _resumable(Path(resume))
        file = folder.config
    request = _request(options, file)
    registry = Registry.installed(plugin_files(options, file))
    resolved = resolve(request, registry)
    if file is not None:
        _check_guider_of_file(resolved, request, file, registry)
    if folder is not None:
        _same_configuration(resolved, folder)
        record = folder.record() if folder.begun else {}
        _same_modules(resolved, record, folder.path)
        same_guiders(record, resolved, "put it back, or start a new run")
    rehearse(resolved, registry)
    store = Store.default()
    if options["dry_run"]:
        dry_run(resolved, store, as_json=options["as_json"])
        return
    if folder is None:
        folder = RunFolder.create(None if out is None else Path(out), _folder_name(resolved))
    _go(Experiment(resolved, registry, store, folder, fresh=options["fresh"], command=_command()), options["as_json"])


def sample_command(path: str | None, options: Mapping[str, Any]) -> None:
    """``guideplug sample``: of a run, or of a network of the user's own."""
    guard(options)
    asked = _request({**options, "sample_seed": options["seed"], "seed": None}, None)
    if path is None:
        if "main" not in asked.models:
            raise UsageError("sample what? give the folder of a run, or a network: --model main=PATH_OR_EXPRESSION")
        if "task" not in asked.values:
            raise UsageError("--task is missing: name the task that the network of --model main is for")
        registry = Registry.installed(plugin_files(options, None))
        request = asked
        resolved = resolve(request, registry)
    else:
        registry, resolved = _of_run(Path(path), asked, options)
    rehearse(resolved, registry)
    out = None if options["out"] is None else Path(options["out"])
    folder = RunFolder.create(out, f"{_folder_name(resolved)}-sampled")
    experiment = Experiment(resolved, registry, Store.default(), folder, kind="sample", command=_command())
    _go(experiment, options["as_json"])


def _of_run(path: Path, asked: Request, options: Mapping[str, Any]) -> tuple[Registry, RunConfig]:
    """What is asked for, with a run's configuration, and its networks where the guider still means the same ones."""
    source = RunFolder.existing(path)
    status = source.record().get("status")
    if not source.checkpoint("main").is_file():
        raise UsageError(f"{path} has no trained network yet (its run is {status}): guideplug run --resume {path}")
    for key in ("task", "denoiser"):
        if key in asked.values:
            raise UsageError(f"--{key} is that of the run {path}: leave it out, or leave the folder out")
    models = {file.stem: str(file) for file in sorted((source.path / "denoisers").glob("*.safetensors"))}
    before = {
        key: value for key, value in read_file(source.config).items() if key not in ("models", "selector", "observers")
    }
    plugins = plugin_files(options, source.config)
    values = {**before, **asked.values, "plugins": plugins}
    chosen = {"main": models["main"], **asked.models}
    request = attrs.evolve(asked, values=values, models=chosen, spare_models=models)
    registry = Registry.installed(plugins)
    resolved = resolve(request, registry)
    again = "name it on the command line to guide with it as it is now, or put it back"
    unnamed = resolved if options["guider"] is None else attrs.evolve(resolved, guider=None)
    same_code(source.record(), registry, options["plugins"], again)
    same_guiders(source.record(), unnamed, again)
    other = renewed_roles(resolve(Request(file=source.config, check_files=False), registry), resolved.guider)
    if other - asked.models.keys():
        left = {role: model for role, model in models.items() if role not in other}
        resolved = resolve(attrs.evolve(request, spare_models=left), registry)
    return registry, resolved


def _check_guider_of_file(resolved: RunConfig, request: Request, file: Path, registry: Registry) -> None:
    """Refuse a guider that means other networks than those that the file beside it names."""
    before = resolve(Request(file=file, check_files=False), registry)
    named = read_file(file).get("models", {}).keys() - request.models.keys()
    for role in sorted(renewed_roles(before, resolved.guider) & named):
        raise UsageError(
            f"guider {short(resolved.guider)} asks for another network in the role {role!r} than [models.{role}] of "  # type: ignore[arg-type]
            f"{file}: give --model {role}=..., or take that table out of the file"
        )


def _request(options: Mapping[str, Any], file: Path | None) -> Request:
    values = {key: options[key] for key in DIRECT if options.get(key) is not None}
    if options.get("sample_seed") is not None:
        values["sample_seed"] = options["sample_seed"]
    if options.get("plugins"):
        values["plugins"] = plugin_files(options, file)
    values |= observers_given(options)
    return Request(values=values, models=dict(options["models"]), sets=options["sets"], file=file)


def observers_given(options: Mapping[str, Any]) -> dict[str, list[str]]:
    """The observers of the command line as a configuration's values, where it says who watches."""
    return {} if options["observers"] is None else {"observers": list(options["observers"])}


def plugin_files(options: Mapping[str, Any], file: Path | None) -> list[str]:
    """Local plugins: those that the configuration names, and those of the command line."""
    named: object = []
    if file is not None:
        path = file / "config.toml" if file.is_dir() else file
        try:
            named = parse_toml(path).get("plugins", [])
        except (OSError, ValueError):
            named = []  # `resolve` says what is wrong with the file
    texts = [path for path in named if isinstance(path, str)] if isinstance(named, list) else []
    try:
        return list(dict.fromkeys(str(Path(path).resolve()) for path in (*texts, *options.get("plugins", ()))))
    except (OSError, ValueError, RuntimeError) as error:  # a name that no file has, or links in a circle
        raise UsageError(f"plugins: {error}: give the path of a .py file") from None


def _resumable(path: Path) -> RunFolder:
    folder = RunFolder.existing(path)
    if folder.begun and folder.record().get("status") == "finished":
        raise UsageError(f"--resume {path}: the run is finished; guide it anew with guideplug sample {path}")
    no_links(folder.path)
    return folder


def _same_configuration(resolved: RunConfig, folder: RunFolder) -> None:
    """Refuse to resume under another configuration, naming what differs; anybody may watch."""
    try:
        before = parse_toml(folder.config)
    except (OSError, ValueError) as error:
        raise RunError(f"{folder.config} is damaged ({error}): start the run again in another folder") from None
    now = tomllib.loads(to_toml(resolved))
    before.pop("observers", None)
    now.pop("observers", None)
    changed = [f"{key} was {old} and is {new} now" for key, old, new in differences(before, now)]
    if changed:
        raise UsageError(f"--resume {folder.path}: {'; '.join(changed)}; leave that out, or start a new run")


def _same_modules(resolved: RunConfig, record: Mapping[str, Any], path: Path) -> None:
    """Refuse to resume where code that decides, ours or a plugin's, is another; say it where torch is another."""
    now = code_of(resolved)
    code = differences(record.get("code", now), now)
    if code:
        raise UsageError(
            f"--resume {path}: the code of {', '.join(name for name, _, _ in code)} is not what the run began "
            "with; put it back, or start a new run"
        )
    before_torch = record.get("versions", {}).get("torch", torch.__version__)
    if before_torch != torch.__version__:
        what = f"the run began with torch {before_torch}, and this is {torch.__version__}"
        click.echo(f"note: {what}: its bits will not be those of an undisturbed run", err=True)


def differences(before: Mapping[str, Any], now: Mapping[str, Any], path: str = "") -> list[tuple[str, Any, Any]]:
    """The keys in which two configurations differ, with both values."""
    found: list[tuple[str, Any, Any]] = []
    for key in sorted({*before, *now}):
        old, new = before.get(key), now.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            found += differences(old, new, f"{path}{key}.")
        elif old != new:
            found.append((f"{path}{key}", old, new))
    return found


def _folder_name(config: RunConfig) -> str:
    main = config.main
    selector = main.selector if isinstance(main, MainRecipe) else None
    parts = [config.task, config.guider, selector]
    return "-".join(part.name for part in parts if part is not None)


def _command() -> str:
    return shlex.join(["guideplug", *sys.argv[1:]])


def _go(experiment: Experiment, as_json: bool) -> None:
    console = Console(stderr=as_json)
    config = experiment.config
    experiment.listeners = [] if as_json else [progress(console)]
    for line in () if as_json else notes(config):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    try:
        outcome = experiment.run()
    except Interrupted as interrupted:
        click.echo(f"interrupted; go on with: {experiment.resume}", err=True)
        sys.exit(interrupted.exit_code)
    page = page_told(outcome.folder, experiment.registry, lambda: keep_words(config, outcome, experiment.registry))
    if as_json:
        animation = None if outcome.animation is None else str(outcome.animation)
        paths = {"folder": str(outcome.folder), "figure": str(outcome.figure), "animation": animation}
        paths |= {"page": page}
        click.echo(json.dumps({**paths, **outcome.metrics}, indent=1))
        return
    _tell(console, experiment, config, outcome, page)


def _tell(console: Console, experiment: Experiment, config: RunConfig, outcome: Outcome, page: str | None) -> None:
    title = f"{short(config.task)}, {outcome.metrics['samples']:,} samples"
    header, rows = table_rows(outcome.metrics["arms"], outcome.table, outcome.verdicts)
    if outcome.verdicts and table_width(header, rows) > console.width:  # the differences below, in a table of their own
        print_table(console, title, header[:-1], [row[:-1] for row in rows])
        differences = [[*row[:2], row[-1]] for row in rows if row[-1]]
        print_table(console, "guided less unguided", [*header[:2], header[-1]], differences)
    else:
        print_table(console, title, header, rows)

    def say(line: str) -> None:
        console.print(line, markup=False, highlight=False, soft_wrap=True)

    if any(one.primary for one in outcome.verdicts):
        say("* primary metric of its aspect: the words below rest on these alone; intervals are over samples")
    say(guidance_sentence(config, outcome))
    say(selection_sentence(config, outcome))
    for line in cost_sentences(outcome):
        say(line)
    say(f"figure: {outcome.figure}")
    if outcome.animation is not None:
        say(f"animation: {outcome.animation}")
    if page is not None:
        say(f"page: {page}")
    say(f"folder: {outcome.folder}")
    say("next:")
    for command in next_commands(config, outcome, experiment.registry.names(Guider.kind)):
        say(f"  {command}")
