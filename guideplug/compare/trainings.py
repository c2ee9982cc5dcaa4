"""Which trainings a comparison pays for: those of its arms, and those under the networks that selectors score with.

A reference need not be a training itself: a snapshot is a share of one, a fine-tuned network stands on another, samples
are drawn from a third. What such a recipe cost is what the distinct trainings under it cost, each as far as it was
needed. What a loaded file or a plugin's own recipe cost nobody knows: it is named, and counts as 0.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from guideplug.config import Duration
from guideplug.recipe import MainRecipe, Recipe
from guideplug.store import identity

__all__ = ["Needed", "iteration_of", "needed_for", "plain"]


@attrs.frozen
class Needed:
    """The trainings under some recipes.

    Args:
        trainings: each with the step up to which it is needed, None for its end; no training twice.
        unknown: the names of recipes whose cost nobody knows.
    """

    trainings: tuple[tuple[Recipe, int | None], ...]
    unknown: tuple[str, ...]


def needed_for(recipes: Iterable[Recipe]) -> Needed:
    """The distinct trainings under recipes, in the order in which they can be made."""
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
    """A name for the work of one iteration: equal for trainings that differ only in seeds and in how long they are."""
    return identity(_seedless(recipe.with_duration(Duration(1, "it"))))


def _seedless(value: Any) -> Any:
    """A recipe with every seed in it 0."""
    if isinstance(value, Mapping):
        return {name: _seedless(item) for name, item in value.items()}
    if not isinstance(value, Recipe):
        return value
    fields = {field.name: getattr(value, field.name) for field in attrs.fields(type(value))}  # type: ignore[arg-type]
    changed = {name: 0 if name == "seed" else _seedless(item) for name, item in fields.items()}
    return attrs.evolve(value, **changed)  # type: ignore[misc]
