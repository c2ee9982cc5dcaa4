"""Lengths of an experiment's trainings: each is known beforehand, so that its network is trained once for all runs."""

from collections.abc import Mapping

from guideplug.config import walk
from guideplug.errors import RecipeError
from guideplug.recipe import Recipe

__all__ = ["check_lengths"]


def check_lengths(recipes: Mapping[str, Recipe]) -> None:
    """Refuse trainings limited by time: each job would train a network of its own.

    Args:
        recipes: the recipes of a run by role.

    Raises:
        RecipeError: a recipe, or one inside it, is open-ended; its role and its duration.
    """
    for role, recipe in recipes.items():
        for part in walk(recipe, Recipe):
            if part.open_ended:
                where = "" if part is recipe else f" a {part.name} recipe inside it has"
                raise RecipeError(
                    f"{role}:{where} duration {part.duration}: a time is another length in every job, and each would "
                    "train a network of its own; give iterations or examples, as in 4096it"
                )
