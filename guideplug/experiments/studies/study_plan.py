"""The plan of a study: its trials resolved to runs, and tried on untrained networks before any training."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager

import attrs

from guideplug.config import named, refused_beforehand, short
from guideplug.errors import ConfigError, ContractError, GuideplugError, RecipeError, nearest
from guideplug.experiments.lengths import check_lengths
from guideplug.experiments.networks import Networks
from guideplug.experiments.studies.answers import trials_of
from guideplug.registry.registry import Registry
from guideplug.run.carried import anywhere
from guideplug.run.preflight import preflight
from guideplug.run.resolve import KEYS, Request, RunConfig, resolve, to_table, to_toml
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
        networks: the distinct stored networks, prerequisites first.
        needs: per trial, the identities of the networks that it samples with.
        common: the values common to all runs, such as the device.
    """

    study: Study
    trials: Sequence[Trial]
    configs: Sequence[RunConfig]
    networks: Networks
    needs: Sequence[Set[str]]
    common: Mapping[str, object]

    @property
    def expression(self) -> str:
        """The expression of the study, with its non-default options."""
        return short(self.study)

    @property
    def axes(self) -> dict[str, list[object]]:
        """The distinct values of each axis."""
        return {name: list(dict.fromkeys(trial.axes[name] for trial in self.trials)) for name in self.trials[0].axes}


@refused_beforehand()
def planned(study: Study, registry: Registry, common: Mapping[str, object]) -> Plan:
    """The plan of a study, with every trial resolved, and tried on untrained networks.

    Args:
        study: the study.
        registry: the plugins.
        common: keys of a run's configuration for all trials, which a trial may override; the ``threads`` that they do
            not name are those of the largest network.

    Raises:
        UsageError: the trial and its fault; nothing has been run.
    """
    try:
        trials = trials_of(study)
    except ContractError:
        raise
    except (ValueError, GuideplugError) as error:
        raise ConfigError(f"{named(study)}: {error}") from None
    if not trials:
        raise ConfigError(f"{named(study)} has no trial: give its lists at least one member each")
    names = set(trials[0].axes)
    places: set[tuple[object, ...]] = set()
    configs = []
    for trial in trials:
        if set(trial.axes) != names:
            raise ConfigError(f"{named(study)}: trial {trial} has other axes than {trials[0]}")
        place = tuple(trial.axes[name] for name in trials[0].axes)
        if place in places:
            raise ConfigError(f"{named(study)}: two trials stand at {trial}")
        places.add(place)
        configs.append(_resolved(study, trial, registry, common))
    if "threads" not in common:
        threads = max(config.threads for config in configs)
        common = {"threads": threads, **common}
        configs = [
            config if _names_threads(trial) else attrs.evolve(config, threads=threads)
            for trial, config in zip(trials, configs, strict=True)
        ]
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
            raise ConfigError(f"{named(study)}: trials have different {name}, {different}: give all the same")
    networks = Networks()
    needs = [
        frozenset(key for role, recipe in config.recipes.items() for key in networks.add(f"{role} of {trial}", recipe))
        for trial, config in zip(trials, configs, strict=True)
    ]
    return Plan(study, trials, configs, networks, needs, common)


def _names_threads(trial: Trial) -> bool:
    return "threads" in trial.run or "threads" in trial.sets


def fingerprint(config: RunConfig) -> str:
    """A hash of all that decides a trial's result but the device: configuration, networks, and their code.

    Plugin files are in it by the code that decides, wherever they are.
    """
    table = {key: value for key, value in to_table(config).items() if key not in ("device", "plugins")}
    networks = {role: identity(recipe) for role, recipe in config.recipes.items()}
    code = code_behind((config.task, config.guider, config.sampler))
    text = json.dumps([anywhere(table), networks, code], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _resolved(study: Study, trial: Trial, registry: Registry, common: Mapping[str, object]) -> RunConfig:
    run = dict(trial.run)
    for key in run:
        if key not in KEYS:
            raise ConfigError(f"{named(study)}, {trial}: a run has no key {key!r}{nearest(key, KEYS)}")
    models = run.pop("models", {})
    if not isinstance(models, Mapping):
        raise ConfigError(f"{named(study)}, {trial}: models is {models!r}: give a mapping of roles")
    request = Request(values={**common, **run}, models=models, sets=tuple(trial.sets.items()), spare_roles=True)
    with _naming_trial(study, trial):
        config = resolve(request, registry)
        roles = {key.split(".")[1] for key in trial.sets if key.startswith("models.")}
        if roles and not roles & config.recipes.keys():
            known = ", ".join(sorted(config.recipes))
            raise RecipeError(f"options are set of {' and '.join(sorted(roles))}, and its roles are {known}")
        check_lengths(config.recipes)
        return config


@contextmanager
def _naming_trial(study: Study, trial: Trial) -> Iterator[None]:
    """Name the study and the trial in errors."""
    try:
        yield
    except GuideplugError as error:
        raise ConfigError(f"{named(study)}, {trial}: {error}") from None
