"""The trainings that a comparison counts: those of its arms, and those that selectors' scoring networks depend on.

A reference may depend on trainings indirectly: by a snapshot, a fine-tuning, or drawn samples. Its cost is that of the
distinct trainings that it depends on, each up to the needed step. The cost of a loaded file or of a plugin's own recipe
is unknown: it is named, and counts as 0.
"""

from collections.abc import Iterable
from typing import Any, cast

import attrs

from guideplug.config import Duration, rewrite
from guideplug.recipe import MainRecipe, Recipe
from guideplug.store import identity

__all__ = ["Needed", "iteration_of", "needed_for", "plain"]


@attrs.frozen
class Needed:
    """The trainings that recipes depend on.

    Args:
        trainings: each with the step up to which it is needed, None for its end; no training twice.
        unknown: the names of recipes of unknown cost.
    """

    trainings: tuple[tuple[Recipe, int | None], ...]
    unknown: tuple[str, ...]


def needed_for(recipes: Iterable[Recipe]) -> Needed:
    """The distinct trainings that recipes depend on, prerequisites first."""
    trainings: dict[str, tuple[Recipe, int | None]] = {}
    unknown: dict[str, None] = {}

    def look(recipe: Recipe, until: int | None) -> None:
        for inner, moment in recipe.rests_on():
            look(inner, None if moment is None else int(moment.amount))
        if recipe.duration is not None:
            key = identity(recipe)
            before = trainings.get(key)
            if before is None or (before[1] is not None and (until is None or until > before[1])):
                trainings[key] = recipe, until
        elif not recipe.free:
            unknown[recipe.name] = None

    for recipe in recipes:
        look(recipe, None)
    return Needed(tuple(trainings.values()), tuple(unknown))


def plain(recipe: Recipe) -> Recipe:
    """The training without selection."""
    return recipe.with_options(selector=None, models={}) if isinstance(recipe, MainRecipe) else recipe


def iteration_of(recipe: Recipe) -> str:
    """A key of the work of one iteration: equal for trainings that differ only in seeds and duration."""
    return identity(rewrite(recipe.with_duration(Duration(1, "it")), _seedless, Recipe))


def _seedless(recipe: Recipe) -> Recipe:
    """The recipe with its seed, if it has one, replaced by 0."""
    cls = cast(Any, type(recipe))
    return cast(Recipe, attrs.evolve(cast(Any, recipe), seed=0)) if "seed" in attrs.fields_dict(cls) else recipe
