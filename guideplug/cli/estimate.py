"""Estimates of time for dry runs: a training that diverges in its first steps is a wrong configuration."""

from guideplug.errors import ConfigError, DivergenceError
from guideplug.recipe import Recipe

__all__ = ["estimated_seconds"]


def estimated_seconds(recipe: Recipe) -> float | None:
    """The expected seconds of making a recipe's module; None if unknown.

    Raises:
        ConfigError: its training diverges in the steps of the estimate.
    """
    try:
        return recipe.estimate()
    except DivergenceError as error:
        raise ConfigError(f"{error}") from None
