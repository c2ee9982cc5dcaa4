"""The laws of a recipe: what it builds is decided by its options, and so is the identity that it is kept under."""

import torch
from torch import nn

from guideplug.recipe import Recipe, nested_recipes
from guideplug.store.identity import identity
from guideplug.testing.law import Laws, must
from guideplug.testing.strategies import STRATEGY
from guideplug.testing.tried import no_global_draws

__all__ = ["RECIPE", "check_recipe"]

RECIPE: Laws[Recipe] = Laws()


def check_recipe(recipe: Recipe) -> None:
    """The laws of a recipe: what it builds is decided by its options, and so is its identity. Nothing is made."""
    STRATEGY.check(recipe)
    RECIPE.check(recipe)


@RECIPE.add("it builds a module", "return the untrained module from build, an nn.Module", premise=True)
def _builds(recipe: Recipe) -> None:
    built = recipe.build()
    must(isinstance(built, nn.Module), f"build() returned a {type(built).__name__}")


@RECIPE.add("building leaves global generators alone", "build networks with a seed of the recipe's own, under a fork")
def _draws_nothing(recipe: Recipe) -> None:
    with no_global_draws():
        recipe.build()


@RECIPE.add("equal recipes build equal modules", "decide initial weights by the options, such as a seed")
def _repeats(recipe: Recipe) -> None:
    first, second = (recipe.build().state_dict() for _ in range(2))
    must(first.keys() == second.keys(), "they have other parameters")
    must(all(map(torch.equal, first.values(), second.values())))


@RECIPE.add("its identity is the same each time", "what content() says is a hash of what decides the weights")
def _identity(recipe: Recipe) -> None:
    must(identity(recipe) == identity(recipe))
    must(all(isinstance(inner, Recipe) for inner in nested_recipes(recipe)))
