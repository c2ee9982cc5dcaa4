"""Guiders: what turns a denoiser into a guided one."""

import abc
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, cast

import attrs

from guideplug.config import Strategy, inner, walk
from guideplug.denoise import Denoiser, WeightSchedule
from guideplug.errors import ConfigError, RecipeError
from guideplug.recipe import Recipe
from guideplug.task import Task

__all__ = ["Guider", "inner_guiders", "nested_guiders", "opposite", "weight_of"]


class Guider(Strategy):
    """Guidance as an equation between denoisers.

    A guider is a final frozen attrs class whose fields are its options. Weights follow one convention: ``weight`` is
    off at 1, as in base + (weight - 1) * (base - guide). Its type is ``float | WeightSchedule``; the equation is the
    same for both.
    """

    kind: ClassVar[str] = "guider"

    @abc.abstractmethod
    def guide(self, base: Denoiser, models: Mapping[str, Denoiser]) -> Denoiser:
        """The guided denoiser.

        Args:
            base: what is guided.
            models: other denoisers of the same space, by role; those that `needs` names are there in a run.
        """

    def needs(self, task: "Task", main: "Recipe") -> Mapping[str, "Recipe | str | None"]:
        """The roles it needs beside the main one, and how to obtain them unless the user says otherwise.

        A guider made of others needs what they need, which is the default here.

        Args:
            task: the task of the run.
            main: how what is guided is trained, with its selector, or how the task trains where it is not trained from
                scratch; a recipe derived from it for another network leaves the selector out, as `Task.recipe` does.

        Returns:
            For each role a recipe, or its expression, in which ``main`` is the main network's recipe and what is not
            said is the run's; or None where there is no way to know, and the run asks the user.

        Raises:
            GuideplugError: two guiders in it use one role for different networks.
        """
        recipes: dict[str, Recipe | str | None] = {}
        for guider in inner_guiders(self):
            for role, recipe in guider.needs(task, main).items():
                if recipes.setdefault(role, recipe) != recipe:
                    raise RecipeError(
                        f"guider {self.name!r}: the role {role!r} is used for two different networks; give one of its "
                        f"guiders another role, as in model=other where {guider.name} has that option"
                    )
        return recipes

    def content(self) -> str:
        """What decides the guidance beyond the options: hashes of the files and of the code that they name.

        Part of the identity of what is made by guided samples, and noted in a run's record.
        """
        return ""

    def may_use(self) -> Sequence[str]:
        """Roles that it has a use for where the user gives them a network, and does without elsewhere."""
        return list(dict.fromkeys(role for guider in inner_guiders(self) for role in guider.may_use()))


def inner_guiders(guider: Guider) -> Iterator[Guider]:
    """The guiders among a guider's options."""
    return inner(guider, Guider)


def nested_guiders(guider: Guider | None) -> Iterator[Guider]:
    """A guider and all those that it is made of; of none, none."""
    return walk(guider, Guider)


def weight_of(guider: Guider) -> float | WeightSchedule:
    """The value of a guider's option ``weight``, off at 1.

    Raises:
        ConfigError: it has no such option.
    """
    if all(attribute.name != "weight" for attribute in attrs.fields(cast(Any, type(guider)))):
        raise ConfigError(
            f"guider {guider.name!r} has no option weight, so it does not say what it steers away from: "
            "give one that has, such as cfg or autoguidance, and put the other guiders around the whole"
        )
    weight = cast(Any, guider).weight
    return weight if isinstance(weight, WeightSchedule) else float(weight)


def opposite(guider: Guider, base: Denoiser, models: Mapping[str, Denoiser]) -> Denoiser:
    """What a guider steers away from: its own answer at weight 0, where the base does not count.

    For a guider that treats its base and its opposite differently from a weighted sum (projection, thresholds, a weight
    of the moment), around any other: ``Combine([base, opposite(guider, base, models)], function)``.

    Args:
        guider: one with an option ``weight``, by the convention of `Guider`.
        base, models: as `Guider.guide` takes them.

    Raises:
        ConfigError: it has no option ``weight``.
    """
    weight_of(guider)
    return cast(Guider, attrs.evolve(cast(Any, guider), weight=0.0)).guide(base, models)
