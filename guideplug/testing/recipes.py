"""The laws of a recipe: its options decide its module and the identity that it is stored under."""

import torch
from torch import nn

from guideplug.config import Strategy, inner, short
from guideplug.guide import Guider
from guideplug.recipe import Recipe
from guideplug.recipes import PlannedBatch, PlannedSampling
from guideplug.sample import Sampler
from guideplug.store.identity import identity
from guideplug.testing.law import Laws, must
from guideplug.testing.law_helpers import no_global_draws
from guideplug.testing.strategies import STRATEGY

__all__ = ["RECIPE", "check_recipe"]

RECIPE: Laws[Recipe] = Laws()


def check_recipe(recipe: Recipe) -> None:
    """The laws of a recipe: its options decide its module and its identity. Nothing is made."""
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


@RECIPE.add(
    "what guides or samples in it is tried before any work",
    "let evaluates() yield a PlannedSampling or a PlannedBatch for each guider and sampler that make uses",
)
def _says_what_it_evaluates(recipe: Recipe) -> None:
    planned = list(recipe.evaluates())
    must(all(isinstance(item, PlannedSampling | PlannedBatch) for item in planned), "evaluates() yields something else")
    used = [value for value in inner(recipe, Strategy) if isinstance(value, Guider | Sampler)]
    must(bool(planned) or not used, f"it has {' and '.join(short(value) for value in used)}, and evaluates() is empty")


@RECIPE.add("its identity is the same each time", "what content() says is a hash of what decides the weights")
def _identity(recipe: Recipe) -> None:
    must(identity(recipe) == identity(recipe))
