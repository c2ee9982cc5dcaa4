"""The plan of a sweep: one run's networks under an expression with a range, ``autoguidance(weight=1:3:0.25)``.

The range may be of any option, and several may vary together in ``zip(...)``; the networks are the same at each number.
"""

from collections.abc import Sequence
from pathlib import Path

import attrs

from guideplug.config import Reader, along_range, short
from guideplug.errors import ConfigError, GuideplugError
from guideplug.guide import Guider, needs_of
from guideplug.recipe import MainRecipe
from guideplug.registry.registry import Registry
from guideplug.run.arms import check_weights
from guideplug.run.preflight import guided
from guideplug.run.resolve import Request, RunConfig
from guideplug.run.sampled import prepare_sample

__all__ = ["SweepPlan", "plan_sweep"]


@attrs.frozen
class SweepPlan:
    """A sweep that can begin.

    Args:
        expression: with its range.
        option: the name of the option that varies.
        weights: its values.
        guiders: one for each.
        config: the run with the first guider.
        registry: the run's plugins.
    """

    expression: str
    option: str
    weights: tuple[float, ...]
    guiders: tuple[Guider, ...]
    config: RunConfig
    registry: Registry


def plan_sweep(folder: Path | None, request: Request) -> SweepPlan:
    """The sweep of a request whose guider has a range, tried on untrained networks.

    Args:
        folder: that of an earlier run, or None for networks of the user's own.
        request: the user's request.

    Raises:
        GuideplugError: the range is none, a value is refused, networks differ between values, or what is wrong with
            the run.
    """
    expression = str(request.values["guider"])
    places = along_range(expression)
    if len(places) < 2:
        raise ConfigError(f"{expression} is a range of one number: write the number, or a larger range")
    prepared = prepare_sample(folder, attrs.evolve(request, values={**request.values, "guider": places[0][2]}))
    config, registry = prepared.run.config, prepared.run.registry
    reader = Reader(registry)
    guiders = [reader.expression(text, Guider, "guider") for _, _, text in places[1:]]
    assert config.guider is not None
    guiders = [config.guider, *guiders]
    _check_same_networks(guiders, config)
    for guider in guiders:
        check_weights(guider, config.samples)
        try:
            guided(guider, prepared.preflight.networks)
        except GuideplugError as error:
            raise ConfigError(f"guider {short(guider)}: {error}") from None
    weights = tuple(number for _, number, _ in places)
    return SweepPlan(expression, places[0][0], weights, tuple(guiders), config, registry)


def _check_same_networks(guiders: Sequence[Guider], config: RunConfig) -> None:
    """Refuse a range over what decides networks: it would be trainings that are compared."""
    main = config.main if isinstance(config.main, MainRecipe) else config.task.recipe("main", None)
    if main is None:
        return
    first = needs_of(guiders[0], config.task, main)
    for guider in guiders[1:]:
        if needs_of(guider, config.task, main) != first:
            raise ConfigError(
                f"{short(guider)} needs other networks than {short(guiders[0])}: a sweep guides the same networks; "
                "trainings are the arms of a comparison"
            )
