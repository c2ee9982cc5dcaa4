"""Preflight: the plan of a run, tried on untrained networks."""

import functools
from collections.abc import Mapping
from typing import Any, cast

import torch
from attrs import frozen
from torch import nn

from guideplug.config import breach, described, named, plugin_errors, refused_beforehand, walk
from guideplug.denoise import Denoiser, Weight
from guideplug.errors import (
    ConditionError,
    ConfigError,
    DenoiserError,
    DivergenceError,
    GuideplugError,
    RecipeError,
    SelectionError,
)
from guideplug.features import Features
from guideplug.guide import Guider, guided_by
from guideplug.recipe import Recipe, architecture, nested_recipes
from guideplug.recipes import PlannedBatch, PlannedSampling
from guideplug.recipes.network import named_denoiser
from guideplug.recipes.python_ref import ImportedNetwork, raised
from guideplug.registry.registry import Registry
from guideplug.rng import STREAMS
from guideplug.run.made import built_by
from guideplug.run.measure import metrics_of
from guideplug.run.resolve import RunConfig
from guideplug.run.task_answers import check_true_samples
from guideplug.run.tried import StreamsOf, first_levels, objecting, start_of, try_batch, try_network, try_sampling
from guideplug.store import Store, identity

__all__ = ["Preflight", "denoiser_of", "guided", "planned_networks", "preflight"]


FEW = 1_000_000
"""Most weights of a network that is built twice."""


@frozen
class Preflight:
    """A run's guided denoiser on untrained networks.

    Args:
        point: the guided denoiser, or the main network where nothing guides it.
        networks: the module of each role; a network, or a guidance weight.
    """

    point: Denoiser
    networks: Mapping[str, Any]


def preflight(config: RunConfig, registry: Registry) -> Preflight:
    """Draw two guided samples from a run's untrained networks: incompatible parts fail before any work.

    The guiders and samplers of every recipe of the run are tried as well (`Recipe.evaluates`), observers are checked,
    and features loaded.

    Args:
        config: the run.
        registry: for further metrics.

    Raises:
        GuideplugError: the objection of an observer, the guider, the sampler, a network or a metric.
    """
    try:
        with refused_beforehand():
            for observer in config.observers:
                observer.check()
            check_true_samples(config.task, metrics_of(config.task, registry))
            for features in walk(config.task, cast(Any, Features)):
                _check_features(features)
            return _preflight(config)
    except (ConditionError, DenoiserError, DivergenceError, SelectionError) as error:
        raise ConfigError(str(error)) from error


@functools.cache
def _check_features(features: Features) -> None:
    """Load features, once for all arms of a comparison: their network may be large."""
    features.loaded()


def _preflight(config: RunConfig) -> Preflight:
    untrained = _Untrained()
    built: dict[str, Any] = {}
    for role, recipe in config.recipes.items():
        try:
            built[role] = denoiser_of(untrained.module(recipe), role)
        except ValueError as error:
            raise ConfigError(f"the network of the role {role!r} for task {config.task.name!r}: {error}") from None
        except RecipeError as error:
            raise RecipeError(f"{named(recipe)}: {error}") from None
    point = guided(config.guider, built) if config.guider is not None else built["main"]
    _try_alone(config, built, *first_levels(config.sampler, point, config.task))
    tried: list[Recipe] = []
    for role, recipe in config.recipes.items():
        _try_planned(role, recipe, untrained, tried)
    try_sampling(point, config.guider, config.sampler, config.task, _streams_of(config))
    return Preflight(point, built)


def _streams_of(config: RunConfig) -> StreamsOf:
    """The streams of a run's samples."""
    return functools.partial(STREAMS[config.streams], config.sample_seed)


def _try_alone(config: RunConfig, built: Mapping[str, Any], sigma: float, toward: float) -> None:
    """Evaluate each network alone, so that a failing one is named."""
    start = start_of(config.task, sigma, _streams_of(config))
    with torch.no_grad():
        for role, network in built.items():
            if isinstance(network, Weight):
                continue
            try:
                with plugin_errors():
                    try_network(network, start, sigma, toward)
            except DenoiserError as error:
                raise DenoiserError(f"the network of the role {role!r}: {error}") from None
            except GuideplugError:
                raise
            except Exception as error:
                if not isinstance(architecture(config.recipes[role]), ImportedNetwork):
                    raise
                raise DenoiserError(
                    f"the network of the role {role!r} raised {raised(error)} when it was asked for x of shape "
                    f"{tuple(start.x.shape)}"
                ) from error


class _Untrained:
    """Untrained modules, in evaluation mode; equal recipes have one."""

    def __init__(self) -> None:
        self._built: list[tuple[Recipe, nn.Module]] = []

    def module(self, recipe: Recipe) -> nn.Module:
        """The module of a recipe."""
        for known, module in self._built:
            if known == recipe:
                return module
        module = (built_by(recipe) if recipe.viewed is None else recipe.view(self.module(recipe.viewed))).eval()
        self._check_own(recipe, module)
        self._built.append((recipe, module))
        return module

    def _check_own(self, recipe: Recipe, module: nn.Module) -> None:
        """Refuse a network with weights of another one, or, if small, with weights that its seed does not decide."""
        network = getattr(module, "built_by", None)
        if network is None:
            return
        known = {id(weights) for _, other in self._built for weights in other.parameters()}
        if any(id(weights) in known for weights in module.parameters()):
            raise breach(network, "built a network that shares weights with another: build new layers in each call")
        if sum(weights.numel() for weights in module.parameters()) <= FEW:
            state, again = module.state_dict(), recipe.build().state_dict()
            if not all(torch.equal(weights.nan_to_num(), again[name].nan_to_num()) for name, weights in state.items()):
                raise breach(network, "built other weights for the same seed: draw them from torch's generator")

    def denoiser(self, recipe: Recipe, role: str) -> Any:
        """The denoiser of a recipe that is no role of the run, or has its role name already."""
        if any(known == recipe for known, _ in self._built):
            return self.module(recipe)
        return denoiser_of(self.module(recipe), role)


def _try_planned(role: str, recipe: Recipe, untrained: _Untrained, tried: list[Recipe]) -> None:
    """Try the evaluations of making a recipe's module, and of the recipes that it refers to."""
    if recipe in tried:
        return
    tried.append(recipe)
    for inner in nested_recipes(recipe):
        _try_planned(role, inner, untrained, tried)
    try:
        for planned in recipe.evaluates():
            if not isinstance(planned, PlannedBatch | PlannedSampling):
                raise breach(recipe, f"evaluates {described(planned)}: give PlannedBatch or PlannedSampling")
            models = {name: untrained.denoiser(other, name) for name, other in planned.models.items()}
            main = untrained.denoiser(planned.of, role)
            point = main if planned.guider is None else guided(planned.guider, {**models, "main": main})
            if isinstance(planned, PlannedBatch):
                try_batch(point, planned, main)
            else:
                try_sampling(point, planned.guider, planned.sampler, planned.task)
    except (GuideplugError, ValueError) as error:
        raise ConfigError(f"the role {role!r}, recipe {recipe.name!r}: {error}") from error


def guided(guider: Guider, models: Mapping[str, Denoiser]) -> Denoiser:
    """The guider's denoiser over ``models["main"]``."""
    others = {role: model for role, model in models.items() if role != "main"}
    with objecting(named(guider), "choose another guider"):
        try:
            return guided_by(guider, models["main"], others)
        except KeyError as error:
            raise RecipeError(
                f"{named(guider)} asked for the role {error.args[0]!r}, which its needs() does not name"
            ) from None
        except TypeError:
            weights = [role for role, model in others.items() if isinstance(model, Weight)]
            if not weights:
                raise
            raise RecipeError(
                f"{named(guider)} cannot use what it was given: {' and '.join(weights)} is a guidance weight, "
                "and where a denoiser is asked for only a denoiser will do"
            ) from None


def denoiser_of(module: nn.Module, role: str) -> Any:
    """A role's module, a denoiser with its role set for messages, or a guidance weight."""
    if isinstance(module, Weight) and role != "main":
        return module
    return named_denoiser(module, role)


def planned_networks(config: RunConfig, store: Store) -> list[tuple[str, Recipe, str]]:
    """Each role, its recipe, and its status: "found", "trained", "resumed", "loaded"."""
    plan: dict[str, tuple[str, Recipe, str]] = {}
    for role, recipe in config.recipes.items():
        key = identity(recipe)
        if not recipe.stored:
            status = "loaded"
        elif store.find(key) is not None:
            status = "found"
        else:
            status = "resumed" if (store.root / f"{key}.partial").is_dir() else "trained"
        plan.setdefault(key, (role, recipe, status))
    return list(plan.values())
