"""The plan of a study: its trials resolved to runs, and tried on untrained networks before any training."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager

import attrs

from guideplug.compare.trainings import needed_for
from guideplug.config import short, walk
from guideplug.errors import ConfigError, GuideplugError, RecipeError
from guideplug.recipe import Recipe
from guideplug.registry.registry import Registry
from guideplug.run.preflight import preflight
from guideplug.run.resolve import Request, RunConfig, resolve, to_table, to_toml
from guideplug.store import code_behind, identity
from guideplug.study import Study, Trial

__all__ = ["Plan", "fingerprint", "planned"]

_SEEDS = re.compile(r"seed ?= ?[0-9]+")
"""Seeds in a configuration: runs that differ in them alone are tried once."""


@attrs.frozen
class Plan:
    """A study that is ready to run.

    Args:
        study: the study, with its options.
        trials: its trials.
        configs: the run of each trial.
        networks: the distinct stored networks with their names, prerequisites first.
        needs: per trial, the indices of the networks that it needs.
        common: the values common to all runs, such as the device.
    """

    study: Study
    trials: Sequence[Trial]
    configs: Sequence[RunConfig]
    networks: Sequence[tuple[str, Recipe]]
    needs: Sequence[Set[int]]
    common: Mapping[str, object]

    @property
    def expression(self) -> str:
        """The expression of the study, with its non-default options."""
        return short(self.study)

    @property
    def axes(self) -> dict[str, list[object]]:
        """The distinct values of each axis."""
        return {name: list(dict.fromkeys(trial.axes[name] for trial in self.trials)) for name in self.trials[0].axes}


def planned(study: Study, registry: Registry, common: Mapping[str, object]) -> Plan:
    """The plan of a study, with every trial resolved, and tried on untrained networks.

    Args:
        study: the study.
        registry: the plugins.
        common: keys of a run's configuration for all trials, which a trial may override.

    Raises:
        UsageError: the trial and its fault; nothing has been run.
    """
    try:
        trials = list(study.trials())
    except (ValueError, GuideplugError) as error:
        raise ConfigError(f"study {study.name!r}: {error}") from None
    if not trials:
        raise ConfigError(f"study {study.name!r} has no trial: give its lists at least one member each")
    names = set(trials[0].axes)
    places: set[tuple[object, ...]] = set()
    configs = []
    for trial in trials:
        if set(trial.axes) != names:
            raise ConfigError(f"study {study.name!r}: trial {trial} has other axes than {trials[0]}")
        place = tuple(trial.axes[name] for name in trials[0].axes)
        if place in places:
            raise ConfigError(f"study {study.name!r}: two trials stand at {trial}")
        places.add(place)
        configs.append(_resolved(study, trial, registry, common))
    tried: set[str] = set()
    for trial, config in zip(trials, configs, strict=True):
        key = _SEEDS.sub("", to_toml(config))
        if key not in tried:
            tried.add(key)
            with _naming_trial(study, trial):
                preflight(config, registry)
    for name in ("threads", "device"):
        different = list(dict.fromkeys(getattr(config, name) for config in configs))
        if len(different) > 1:
            raise ConfigError(f"study {study.name!r}: trials have different {name}, {different}: give all the same")
    return Plan(study, trials, configs, *_networks(trials, configs), common)


def _networks(
    trials: Sequence[Trial], configs: Sequence[RunConfig]
) -> tuple[list[tuple[str, Recipe]], list[frozenset[int]]]:
    networks: dict[str, tuple[str, Recipe]] = {}
    needs: list[set[str]] = []
    for trial, config in zip(trials, configs, strict=True):
        needs.append(set())
        for role, recipe in config.recipes.items():
            for kept in _kept(recipe):
                key = identity(kept)
                networks.setdefault(key, (f"{role} of {trial}", kept))
                needs[-1].add(key)
    keys = sorted(networks, key=lambda key: len(needed_for([networks[key][1]]).trainings))
    places = {key: place for place, key in enumerate(keys)}
    return [networks[key] for key in keys], [frozenset(places[key] for key in keys_of_trial) for keys_of_trial in needs]


def fingerprint(config: RunConfig) -> str:
    """A hash of all that decides a trial's result but the device: configuration, networks, and their code."""
    table = {key: value for key, value in to_table(config).items() if key != "device"}
    networks = {role: identity(recipe) for role, recipe in config.recipes.items()}
    code = code_behind((config.task, config.guider, config.sampler))
    text = json.dumps([table, networks, code], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _kept(recipe: Recipe) -> list[Recipe]:
    """The stored recipes of a recipe: itself, or those that it depends on if it is not stored."""
    return [part for part in walk(recipe, Recipe, into=lambda part: not part.stored) if part.stored]


def _resolved(study: Study, trial: Trial, registry: Registry, common: Mapping[str, object]) -> RunConfig:
    run = dict(trial.run)
    models = run.pop("models", {})
    if not isinstance(models, Mapping):
        raise ConfigError(f"study {study.name!r}, {trial}: models is {models!r}: give a mapping of roles")
    request = Request(values={**common, **run}, models=models, sets=tuple(trial.sets.items()), spare_roles=True)
    with _naming_trial(study, trial):
        config = resolve(request, registry)
        roles = {key.split(".")[1] for key in trial.sets if key.startswith("models.")}
        if roles and not roles & config.recipes.keys():
            known = ", ".join(sorted(config.recipes))
            raise RecipeError(f"options are set of {' and '.join(sorted(roles))}, and its roles are {known}")
        return config


@contextmanager
def _naming_trial(study: Study, trial: Trial) -> Iterator[None]:
    """Name the study and the trial in errors."""
    try:
        yield
    except GuideplugError as error:
        raise ConfigError(f"study {study.name!r}, {trial}: {error}") from None
