"""Estimates of time for dry runs: a training that diverges in its first steps is a wrong configuration."""

from collections.abc import Hashable, Iterable, Mapping
from typing import Any

import attrs

from guideplug.errors import ConfigError, DivergenceError
from guideplug.recipe import Recipe

__all__ = ["estimated_seconds", "estimates_of"]


def estimated_seconds(recipe: Recipe) -> float | None:
    """The expected seconds of making a recipe's module; None if unknown.

    Raises:
        ConfigError: its training diverges in the steps of the estimate.
    """
    try:
        return recipe.estimate()
    except DivergenceError as error:
        raise ConfigError(f"{error}") from None


def estimates_of(recipes: Iterable[Recipe]) -> list[float | None]:
    """The `estimated_seconds` of each recipe; of those that differ in seeds alone the first is timed.

    Raises:
        ConfigError: as `estimated_seconds`.
    """
    seconds: dict[Hashable, float | None] = {}
    keys = []
    for recipe in recipes:
        keys.append(key := _seedless(recipe))
        if key not in seconds:
            seconds[key] = estimated_seconds(recipe)
    return [seconds[key] for key in keys]


def _seedless(value: Any) -> Hashable:
    """Options within options without the seeds, of recipes and of tasks, which decide no time."""
    if attrs.has(type(value)):
        names = [field.name for field in attrs.fields(type(value)) if field.name.rpartition("_")[2] != "seed"]
        return type(value), *((name, _seedless(getattr(value, name))) for name in names)
    if isinstance(value, Mapping):
        return tuple((key, _seedless(value[key])) for key in sorted(value))
    if isinstance(value, list | tuple):
        return tuple(map(_seedless, value))
    assert isinstance(value, Hashable)
    return value
