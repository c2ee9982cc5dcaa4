"""Use of an earlier run's folder: resume the run unchanged, or sample its networks with another guider."""

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import attrs
import torch

from guideplug.config import command_line, short
from guideplug.errors import RunError, UsageError
from guideplug.files.display import display_path
from guideplug.files.opening import check_inside, list_folder, walk_folder
from guideplug.files.project import ProjectPlugin
from guideplug.guide import nested_guiders
from guideplug.registry.registry import Registry
from guideplug.run.carried import anywhere
from guideplug.run.code import code_of, code_of_plugin
from guideplug.run.folder import RunFolder
from guideplug.run.prepare import Resolved, plugin_files
from guideplug.run.resolve import ConfigFile, Request, RunConfig, read_file, resolve, to_toml

__all__ = [
    "check_networks",
    "check_same",
    "differences",
    "no_links",
    "other_torch",
    "request_of_networks",
    "resumable",
]

GUIDED_ANEW = "name it on the command line to guide with it as it is now, or put it back"


# Resumed runs


def resumable(path: Path) -> RunFolder:
    """The folder of an unfinished run.

    Raises:
        UsageError: the run has ended, there is none, or the folder holds a link.
    """
    folder = RunFolder.existing(path)
    if folder.begun and folder.record().get("status") == "finished":
        raise UsageError(f"--resume {path}: the run is finished; guide it anew with {command_line('sample', path)}")
    no_links(folder.path)
    return folder


def no_links(folder: Path) -> None:
    """Refuse to write into a folder that holds links, which may lead outside of it.

    Raises:
        UsageError: the first link, or too many files.
    """
    try:
        files = walk_folder(folder)
    except ValueError as error:
        raise UsageError(f"--resume {folder}: {error}, and no folder of results is like that") from None
    for file in files:
        if file.is_symlink():
            raise UsageError(
                f"--resume {display_path(folder)}: {display_path(file)} is a link, and nothing is written elsewhere: "
                "put a copy there"
            )


def check_same(run: Resolved, folder: Path, before: ConfigFile, record: Mapping[str, Any]) -> None:
    """Refuse to resume under another configuration or with other code, naming the differences; observers may differ.

    Args:
        run: the run to resume.
        folder: its folder.
        before: the folder's configuration.
        record: its ``run.json``; empty if the run was killed before writing one.

    Raises:
        UsageError: the configuration, or the code of a module, is another.
        RunError: the code or the files of a guider are others.
    """
    now = tomllib.loads(to_toml(run.config))
    now.pop("observers", None)
    kept = {key: value for key, value in before.values.items() if key != "observers"}
    rows = differences(kept, now)
    if any(old is None for _, old, _ in rows):  # an absent key, as of an earlier version, has its default
        kept = tomllib.loads(to_toml(resolve(Request(file=before, check_files=False), run.registry)))
        rows = differences({key: value for key, value in kept.items() if key != "observers"}, now)
    changed = [f"{key} was {old} and is {new} now" for key, old, new in rows]
    if changed:
        raise UsageError(f"--resume {display_path(folder)}: {'; '.join(changed)}; leave that out, or start a new run")
    code_now = code_of(run.config)
    code = differences(record.get("code", code_now), code_now)
    if code:
        raise UsageError(
            f"--resume {display_path(folder)}: the code of {', '.join(name for name, _, _ in code)} is not what the "
            "run began with; put it back, or start a new run"
        )
    _same_guiders(record, run.config, "put it back, or start a new run")


def other_torch(record: Mapping[str, Any]) -> str | None:
    """A note if the run began with another version of torch, whose bits differ."""
    before = record.get("versions", {}).get("torch", torch.__version__)
    if before == torch.__version__:
        return None
    change = f"the run began with torch {before}, and this is {torch.__version__}"
    return f"{change}: its bits will not be those of an undisturbed run"


def differences(before: Mapping[str, Any], now: Mapping[str, Any], path: str = "") -> list[tuple[str, Any, Any]]:
    """The keys in which two configurations differ, with both values."""
    rows: list[tuple[str, Any, Any]] = []
    for key in sorted({*before, *now}):
        old, new = before.get(key), now.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            rows += differences(old, new, f"{path}{key}.")
        elif old != new:
            rows.append((f"{path}{key}", old, new))
    return rows


# Networks sampled with another guider


def request_of_networks(folder: RunFolder, request: Request) -> Request:
    """A request with a run's configuration, and its networks as spare models for roles that mean the same ones.

    Args:
        folder: of the run.
        request: values that override it.

    Raises:
        UsageError: the run has no network yet, or the request names what only the run decides.
    """
    status = folder.record().get("status")
    weights = {file.stem: str(file) for file in _networks(folder, "*.safetensors")}
    views = {file.stem for file in _networks(folder, "*.json")} - weights.keys()
    if "main" not in weights.keys() | views:
        raise UsageError(
            f"{display_path(folder.path)} has no trained network yet (its run is {status}): "
            f"{command_line('run', '--resume', Path(display_path(folder.path)))}"
        )
    for key in ("task", "denoiser"):
        if key in request.values:
            raise UsageError(
                f"--{key} is that of the run {display_path(folder.path)}: leave it out, or leave the folder out"
            )
    before = read_file(folder.config, folder.path).values
    models = weights | {role: _view(before, folder.checkpoint(role)) for role in sorted(views)}
    kept = {key: value for key, value in before.items() if key not in ("models", "selector", "observers")}
    plugins = plugin_files(before.get("plugins", []), request.values.get("plugins", ()))
    return attrs.evolve(
        request,
        values={**kept, **request.values, "plugins": plugins},
        models={"main": models["main"], **request.models},
        spare_models=models,
        spare_guider=before.get("guider"),
    )


def _networks(folder: RunFolder, pattern: str) -> list[Path]:
    """The files of a run's networks."""
    place = folder.path / "denoisers"
    try:
        files = list_folder(place, pattern, folder.path)
        for place in files:
            check_inside(place, folder.path)
    except ValueError as error:
        raise UsageError(f"{place} cannot be used: {error}") from None
    return files


def _view(config: Mapping[str, Any], weights: Path) -> Any:
    """The recipe of a role without weights of its own, a view, as in the run's configuration.

    Raises:
        RunError: the configuration has none for the role: the weights are missing.
    """
    models = config.get("models", {})
    if not isinstance(models.get(weights.stem), dict):
        raise RunError(f"{weights} is missing: put it back, or run again")
    return models[weights.stem]


def check_networks(run: Resolved, record: Mapping[str, Any], request: Request) -> None:
    """Refuse to guide a run's networks with a changed plugin or guider of its record that the request does not name.

    Args:
        run: what is to be sampled.
        record: ``run.json``.
        request: the request beside the folder.

    Raises:
        RunError: which plugin or guider.
    """
    _same_plugins(record, run.registry, request.values.get("plugins", ()), GUIDED_ANEW)
    if "guider" not in request.values:
        _same_guiders(record, run.config, GUIDED_ANEW)


def _same_plugins(record: Mapping[str, Any], registry: Registry, named: Iterable[str], advice: str) -> None:
    """Refuse local plugins that have changed since, are depended on, and are not named anew."""
    local = {plugin.name: plugin for plugin in registry.plugins if plugin.digest}
    fresh = {Path(file).stem for file in named if not isinstance(file, ProjectPlugin)}
    for row in _rows(record, "plugins"):
        plugin, before = local.get(str(row.get("name"))), row.get("decides")
        if plugin is None or plugin.name in fresh or row.get("sha256") == plugin.digest:
            continue
        now = code_of_plugin(plugin)
        if before != now:
            raise RunError(
                f"plugin {plugin.name} has changed since the run was made, in what networks or samples depend on (its "
                f"code was {before or 'not noted'}, and is {now} now); {advice}"
            )


def _same_guiders(record: Mapping[str, Any], config: RunConfig, advice: str) -> None:
    """Refuse guiders that name code or files that have changed since."""
    recorded = {anywhere(guider.get("guider")): guider.get("content") for guider in _rows(record, "guiders")}
    for guider in nested_guiders(config.guider):
        before = recorded.get(anywhere(short(guider)))
        if before is not None and before != guider.content():
            raise RunError(
                f"the code or the files of guider {short(guider)} have changed since the run was made; {advice}"
            )


def _rows(record: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    rows = record.get(key)
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
