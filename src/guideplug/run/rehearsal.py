"""Before the work: what will be done, and whether it can work together, tried on untrained networks."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from attrs import frozen
from torch import nn

from guideplug.config import short
from guideplug.denoise import Denoiser, Leaf, Start, Uphill, Weight, taken
from guideplug.draws import check_null
from guideplug.errors import ConditionError, ConfigError, DenoiserError, RecipeError
from guideplug.guide import Guider
from guideplug.imported import ImportedNetwork, raised
from guideplug.noise import SampleStreams
from guideplug.recipe import Recipe, architecture
from guideplug.recipes import FineTune, Train
from guideplug.run.config import RunConfig
from guideplug.sample import planned_evaluations
from guideplug.store import Store, identity

__all__ = ["Rehearsed", "denoiser_of", "guided", "planned_networks", "rehearse"]


@frozen
class Rehearsed:
    """A run's guided denoiser on untrained networks.

    Args:
        point: the guided denoiser, or the main network where nothing guides it.
        networks: the module of each role; a network, or a guidance weight.
    """

    point: Denoiser
    networks: Mapping[str, Any]


def rehearse(config: RunConfig) -> Rehearsed:
    """A run's networks, untrained, guided and asked for two samples: what cannot work together fails before work.

    Raises:
        GuideplugError: the objection of the guider, the sampler or a network.
    """
    try:
        return _rehearsed(config)
    except (ConditionError, DenoiserError) as error:
        raise ConfigError(str(error)) from None


def _rehearsed(config: RunConfig) -> Rehearsed:
    built: dict[str, Any] = {}
    for role, recipe in config.recipes.items():
        same = next((built[other] for other in built if config.recipes[other] == recipe), None)
        try:
            built[role] = denoiser_of(recipe.build() if same is None else same, role)
        except ValueError as error:
            raise ConfigError(f"the network of the role {role!r}: {error}") from None
    _check_nulls(config, built)
    point = guided(config.guider, built) if config.guider is not None else built["main"]
    try:
        sigma, toward, *_ = config.sampler.sigmas(point)
    except ValueError as error:
        raise ConfigError(f"sampler {short(config.sampler)} for task {config.task.name!r}: {error}") from None
    start = config.task.start(SampleStreams(config.sample_seed, range(2)), sigma)
    with torch.no_grad():
        for role, network in built.items():
            network.eval()
            if isinstance(network, Weight):
                continue
            try:
                network(start.x, sigma, start.condition, toward=toward, step=(sigma, toward))
            except DenoiserError as error:
                raise DenoiserError(f"the network of the role {role!r}: {error}") from None
            except Exception as error:
                if not isinstance(architecture(config.recipes[role]), ImportedNetwork):
                    raise
                raise DenoiserError(
                    f"the network of the role {role!r} raised {raised(error)} when it was asked for x of shape "
                    f"{tuple(start.x.shape)}"
                ) from error
        levels = [(sigma, toward), *_first_gradients(point, config, start)]
        for level in dict.fromkeys(levels):
            _try(point, config, *level)
    return Rehearsed(point, built)


def _check_nulls(config: RunConfig, built: Mapping[str, Any]) -> None:
    """Refuse a training that drops conditions where a network that learns or scores has no null condition."""
    for role, recipe in config.recipes.items():
        if not isinstance(recipe, Train | FineTune) or not recipe.options.condition_dropout:
            continue
        check_null(built[role])
        if not isinstance(recipe, Train) or recipe.selector is None:
            continue
        selector = recipe.selector.lasting(recipe.options.duration)
        plan = selector.plan(recipe.options.batch, selector.init())
        scored = recipe.models if plan.guider is not None else {plan.reference}
        for name, inner in recipe.models.items():
            if name in scored:
                same = next((built[other] for other in built if config.recipes[other] == inner), None)
                check_null(denoiser_of(inner.build(), name) if same is None else same)


def _try(point: Denoiser, config: RunConfig, sigma: float, toward: float | None) -> None:
    start = config.task.start(SampleStreams(config.sample_seed, range(2)), sigma)
    step = None if toward is None else (sigma, toward)
    value = point.trajectory()(start.x, sigma, start.condition, toward=toward, step=step)
    slopes = taken(point, sigma, conditional=start.condition is not None, toward=toward, step=step)
    if slopes and not bool(torch.isfinite(value).all()):
        raise DenoiserError(
            f"with {' and '.join(slopes)} the guided samples are not finite at sigma {sigma:.4g}, for two samples of "
            f"task {config.task.name!r}: return finite numbers that have finite gradients"
        )


def _first_gradients(point: Denoiser, config: RunConfig, start: Start) -> Iterator[tuple[float, float | None]]:
    """The evaluations of a trajectory that are the first to take some gradient, for those know more ways to fail."""
    if not any(isinstance(module, Uphill) for module in point.modules()):
        return
    known: set[str] = set()
    streams = SampleStreams(config.sample_seed, range(len(start.x)))
    for one in planned_evaluations(config.sampler, point, start.x, start.condition, streams):
        if set(one.gradients) - known:
            yield one.sigma, one.toward
        known.update(one.gradients)


def guided(guider: Guider, models: Mapping[str, Denoiser]) -> Denoiser:
    """The guider's denoiser over ``models["main"]``."""
    others = {role: model for role, model in models.items() if role != "main"}
    try:
        return guider.guide(models["main"], others)
    except KeyError as error:
        raise RecipeError(
            f"guider {guider.name!r} asked for the role {error.args[0]!r}, which its needs() does not name"
        ) from None
    except TypeError:
        weights = [role for role, model in others.items() if isinstance(model, Weight)]
        if not weights:
            raise
        raise RecipeError(
            f"guider {guider.name!r} cannot use what it was given: {' and '.join(weights)} is a guidance weight, and "
            "where a denoiser is asked for only a denoiser will do"
        ) from None


def denoiser_of(module: nn.Module, role: str) -> Any:
    """The module that a role's recipe gave, if it is a denoiser, which learns its role, for messages.

    Or a guidance weight, for a guider that asks for one in a role.
    """
    if isinstance(module, Weight) and role != "main":
        return module
    if not isinstance(module, Leaf):
        raise RecipeError(f"the recipe of the role {role!r} gives a {type(module).__name__}, which is no denoiser")
    module.role = role
    return module


def planned_networks(config: RunConfig, store: Store) -> list[tuple[str, Recipe, str]]:
    """Each role, its recipe, and what will happen: "found", "trained", "resumed", "loaded"."""
    plan: dict[str, tuple[str, Recipe, str]] = {}
    for role, recipe in config.recipes.items():
        key = identity(recipe)
        if not recipe.stored:
            what = "loaded"
        elif store.find(key) is not None:
            what = "found"
        else:
            what = "resumed" if (store.root / f"{key}.partial").is_dir() else "trained"
        plan.setdefault(key, (role, recipe, what))
    return list(plan.values())
