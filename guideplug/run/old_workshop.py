"""The `Workshop` methods of plugin API 1, for recipes written for it, with a warning."""

import warnings
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from guideplug.recipe import Recipe

__all__ = ["OldWorkshop", "without_recipe"]


def _warn(old: str, now: str) -> None:
    warnings.warn(f"plugin API 1: workshop.{old}: write {now}", DeprecationWarning, stacklevel=3)


def without_recipe(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """The arguments of ``progress`` without the recipe that came first in API 1."""
    if not arguments or not isinstance(arguments[0], Recipe):
        return arguments
    _warn("progress(recipe, step, total)", "builder.progress(step, total)")
    return arguments[1:]


class OldWorkshop:
    """The methods of a workshop that named kinds of recipes: each recipe now does that work itself."""

    def train(self, recipe: Any, module: nn.Module) -> Mapping[str, Any]:
        """See `guideplug.recipes.training_recipe.TrainingRecipe.train`."""
        _warn("train(recipe, module)", "recipe.train(module, builder)")
        facts: Mapping[str, Any] = recipe.train(module, self)
        return facts

    def snapshot(self, recipe: Any) -> Mapping[str, Tensor]:
        """See `guideplug.Snapshot.weights`."""
        _warn("snapshot(recipe)", "recipe.weights(builder)")
        weights: Mapping[str, Tensor] = recipe.weights(self)
        return weights

    def score(self, recipe: Any) -> tuple[Tensor, float]:
        """See `guideplug.recipes.ReferenceLosses.score`."""
        _warn("score(recipe)", "recipe.score(builder)")
        losses, seconds = recipe.score(self)
        return losses, seconds

    def synthesize(self, recipe: Any) -> Tensor:
        """See `guideplug.Synthetic.draw`."""
        _warn("synthesize(recipe)", "recipe.draw(builder)")
        samples: Tensor = recipe.draw(self)
        return samples
