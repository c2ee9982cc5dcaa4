"""Estimates of time for dry runs: a training that diverges in its first steps is a wrong configuration."""

import re
from collections.abc import Iterable

from guideplug.errors import ConfigError, DivergenceError
from guideplug.recipe import Recipe

__all__ = ["estimated_seconds", "estimates_of"]

_SEEDS = re.compile(r"seed=-?[0-9]+")
"""Seeds in the text of a recipe, of recipes and of tasks: what differs in them alone takes the same time."""


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
    seconds: dict[str, float | None] = {}
    keys = []
    for recipe in recipes:
        keys.append(key := _SEEDS.sub("", repr(recipe)))
        if key not in seconds:
            seconds[key] = estimated_seconds(recipe)
    return [seconds[key] for key in keys]
