"""The commands worth trying after a run: its networks guided otherwise, and its guider explained.

What the command line or a configuration gave (task, architecture, sampler, networks of roles, local plugins) is in each
command, so that it does what it says for this run, and passes the same checks.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import attrs

from guideplug.config import command_line, format_value, short, write
from guideplug.errors import GuideplugError
from guideplug.files.display import display_path
from guideplug.files.opening import is_there
from guideplug.guide import Guider, inner_guiders
from guideplug.recipe import MainRecipe
from guideplug.registry.registry import Registry
from guideplug.run.earlier import request_of_networks
from guideplug.run.folder import RunFolder
from guideplug.run.outcome import Outcome
from guideplug.run.preflight import preflight
from guideplug.run.resolve import Request, RunConfig, resolve, to_table

__all__ = ["next_commands"]


def next_commands(config: RunConfig, outcome: Outcome, registry: Registry, *, build: bool = True) -> list[str]:
    """Two commands worth trying next; of a run without a guider none, unless an installed one suits it.

    Args:
        config: the run.
        outcome: what came of it.
        registry: its plugins.
        build: whether untrained networks may be built, to find a guider for a run without one.
    """
    folder = outcome.folder
    if config.guider is None:
        guided = next(_guided(folder, registry), None) if build else None
        if guided is None or guided.guider is None:
            return []
        return [_sampling(folder, guided.guider), _explaining(guided, folder, registry)]
    return [_sampling(folder, _another(config.guider, outcome)), _explaining(config, folder, registry)]


def _sampling(folder: Path, guider: Guider) -> str:
    return command_line("sample", Path(display_path(folder)), "--guider", short(guider))


def _explaining(config: RunConfig, folder: Path, registry: Registry) -> str:
    """The command that explains a run's guider, with the run's sampler and the networks in its folder."""
    assert config.guider is not None
    main, words = config.main, ["explain", short(config.guider), "--task", short(config.task)]
    default = resolve(Request(values={"task": format_value(write(config.task))}, check_files=False), registry)
    if isinstance(main, MainRecipe) and isinstance(default.main, MainRecipe) and main.denoiser != default.main.denoiser:
        words += ["--denoiser", short(main.denoiser)]
    if config.sampler != default.sampler:
        words += ["--sampler", short(config.sampler)]
    files = {role: RunFolder(folder).checkpoint(role) for role in _given_roles(config, registry)}
    models = {role: file for role, file in files.items() if is_there(file)}
    return command_line(*words, plugins=config.plugins, models=models)


def _given_roles(config: RunConfig, registry: Registry) -> list[str]:
    """The roles of the guider, and the main one, whose networks are others than without ``--model``."""
    assert config.guider is not None
    table = {key: value for key, value in to_table(config).items() if key not in ("models", "selector", "report")}
    main = [] if "denoiser" in table else ["main"]
    try:
        default = resolve(Request(values=table, check_files=False), registry).models
    except GuideplugError:  # a role has no default
        default = {}
    like = config.main if isinstance(config.main, MainRecipe) else config.task.recipe("main", None)
    needed = {*config.guider.needs(config.task, cast(Any, like)), *config.guider.may_use()}
    given = [role for role, recipe in config.models.items() if role in needed and default.get(role) != recipe]
    return [*main, *given]


def _another(guider: Guider, outcome: Outcome) -> Guider:
    """The next guider to try: half as strong after a net loss, else 1.5 times as strong; or an inner guider."""
    judged = [verdict for verdict in outcome.verdicts if verdict.primary and verdict.aspect != "accuracy"]
    factor = 0.5 if sum(verdict.gain for verdict in judged) < 0 else 1.5
    for option, off in (("weight", 1.0), ("omega", 0.0)):
        strength = getattr(guider, option, None)
        if isinstance(strength, float) and strength != off:
            with contextlib.suppress(ValueError):
                changed = round(off + factor * (strength - off), 4)
                return cast(Guider, attrs.evolve(cast(Any, guider), **{option: changed}))
    return next(inner_guiders(guider), guider)


def _guided(folder: Path, registry: Registry) -> Iterator[RunConfig]:
    """The run's networks under each installed guider that needs no options and passes the checks of a run."""
    for name in registry.names(Guider.kind):
        with contextlib.suppress(GuideplugError, MemoryError, RuntimeError):
            request = request_of_networks(RunFolder.existing(folder), Request(values={"guider": name}))
            config = resolve(request, registry)
            preflight(config, registry)
            yield config
