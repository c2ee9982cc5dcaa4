"""Guiders: functions from a denoiser to a guided denoiser."""

import abc
import functools
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, cast

import attrs

from guideplug.config import Strategy, breach, described, inner, named, walk
from guideplug.denoise import Denoiser, Weight, WeightSchedule
from guideplug.errors import ConfigError, DenoiserError, RecipeError
from guideplug.recipe import Recipe
from guideplug.task import Task

__all__ = ["Guider", "guided_by", "inner_guiders", "needs_of", "nested_guiders", "opposite", "weight_of"]

WRAP = "make one of a network by guideplug.wrap(network, shape, predicts=...)"
"""What to do with a network that is no denoiser yet."""


class Guider(Strategy):
    """Guidance as an equation between denoisers.

    A guider is a final frozen attrs class whose fields are its options. Weights follow one convention: ``weight`` is
    off at 1, as in base + (weight - 1) * (base - guide). Its type is ``float | WeightSchedule``; the equation is the
    same for both.
    """

    kind: ClassVar[str] = "guider"

    def __init_subclass__(cls, **options: Any) -> None:
        """Let `guide` check what it is given: a class of attrs is made twice, and is adapted once."""
        super().__init_subclass__(**options)
        method = cls.__dict__.get("guide")
        if inspect.isfunction(method) and not hasattr(method, "__wrapped__"):
            cls.guide = _checking(method)  # type: ignore[method-assign]

    @abc.abstractmethod
    def guide(self, base: Denoiser, models: Mapping[str, Denoiser]) -> Denoiser:
        """The guided denoiser.

        Args:
            base: the denoiser to guide.
            models: other denoisers of the same space, by role; in a run those of `needs` are present.
        """

    def needs(self, task: "Task", main: "Recipe") -> Mapping[str, "Recipe | str | None"]:
        """The required roles besides the main one, with their default recipes.

        By default the needs of the guiders in its options.

        Args:
            task: the task of the run.
            main: the training recipe of the guided network, with its selector, or the task's if that network is not
                trained from scratch. A recipe derived from it for another network omits the selector; see
                `Task.recipe`.

        Returns:
            Per role a recipe, or its expression, in which ``main`` is the main network's recipe and omitted options are
            the run's; or None without a default: the user must then give a network.

        Raises:
            GuideplugError: two inner guiders use one role for different networks.
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
        """Hashes of files and code named by the options, which decide the guidance too.

        Part of the identity of recipes that use guided samples, and stored in a run's record.
        """
        return ""

    def may_use(self) -> Sequence[str]:
        """Optional roles: used if the user gives them a network."""
        return list(dict.fromkeys(role for guider in inner_guiders(self) for role in guider.may_use()))


def guided_by(guider: Guider, base: Denoiser, models: Mapping[str, Denoiser]) -> Denoiser:
    """The result of `Guider.guide`, checked to be a denoiser of the base's space.

    Raises:
        ContractError: it is something else.
        DenoiserError: the guider combines denoisers of different spaces.
        KeyError: the guider asked for a role that ``models`` lacks.
    """
    try:
        point = guider.guide(base, models)
    except KeyError:
        raise
    except DenoiserError as error:
        raise DenoiserError(f"{named(guider)}: {error}") from None
    if not isinstance(point, Denoiser):
        raise breach(
            guider, f"returned {described(point)} from guide: return a denoiser, an expression of base and models"
        )
    if point.space.shape != base.space.shape:
        raise breach(
            guider,
            f"returned a denoiser of shape {tuple(point.space.shape)} for a base of shape {tuple(base.space.shape)}: "
            "return one of the base's space",
        )
    return point


def needs_of(guider: Guider, task: "Task", main: "Recipe") -> Mapping[str, "Recipe | str | None"]:
    """The result of `Guider.needs`, checked.

    Raises:
        ContractError: it is no mapping of role names to recipes, expressions or None.
    """
    needs = guider.needs(task, main)
    if not isinstance(needs, Mapping):
        raise breach(guider, f"returned {described(needs)} from needs: return a mapping of roles to recipes or None")
    for role, recipe in needs.items():
        if not isinstance(role, str) or not (recipe is None or isinstance(recipe, Recipe | str)):
            raise breach(
                guider,
                f"returned needs with {described(recipe)} for the role {role!r}: return a recipe, its expression or "
                "None for each role",
            )
    return needs


class _MissingNetwork(DenoiserError, KeyError):
    """A role without a network; its first argument is the role."""

    def __init__(self, role: str, guider: str, roles: Sequence[str]) -> None:
        super().__init__(role)
        self._message = (
            f"guider {guider!r} needs the network of the role {role!r}: give it in models, as in "
            f"guide(main, {{{role!r}: network}}); models has {', '.join(map(repr, roles)) or 'none'}"
        )

    def __str__(self) -> str:
        return self._message


class _Networks(Mapping[str, Any]):
    """Networks by role, for a guider: each is looked up, and checked, when the guider asks for it."""

    def __init__(self, models: Mapping[str, Any], guider: str) -> None:
        self._models, self._guider = models, guider

    def __getitem__(self, role: str) -> Any:
        try:
            network = self._models[role]
        except KeyError:
            raise _MissingNetwork(role, self._guider, list(self)) from None
        _refuse_other(self._guider, role, network, Denoiser | Weight)
        return network

    def __contains__(self, role: object) -> bool:
        return role in self._models

    def __iter__(self) -> Iterator[str]:
        return iter(self._models)

    def __len__(self) -> int:
        return len(self._models)


def _refuse_other(guider: str, role: str, network: object, expected: Any) -> None:
    if not isinstance(network, expected):
        raise DenoiserError(f"guider {guider!r}: {role} is {_shown(network)}, and no denoiser: {WRAP}")


def _checking(method: Callable[..., Denoiser]) -> Callable[..., Denoiser]:
    """A guider's `guide` that refuses what are no denoisers, and names a missing role."""

    @functools.wraps(method)
    def guide(self: Guider, base: Denoiser, models: Mapping[str, Denoiser]) -> Denoiser:
        if not isinstance(models, Mapping):
            raise DenoiserError(
                f"guider {self.name!r}: models is {_shown(models)}: give the other networks by role, as in "
                "{'weak': network}, or {} without any"
            )
        _refuse_other(self.name, "base", base, Denoiser)
        return method(self, base, _Networks(models, self.name))

    return guide


def _shown(value: object) -> str:
    """A value in few words."""
    if value is None or isinstance(value, bool | int | float | str):
        return repr(value)
    return f"a {type(value).__name__}"


def inner_guiders(guider: Guider) -> Iterator[Guider]:
    """The guiders in a guider's options."""
    return inner(guider, Guider)


def nested_guiders(guider: Guider | None) -> Iterator[Guider]:
    """A guider and all guiders inside it; empty for None."""
    return walk(guider, Guider)


def weight_of(guider: Guider) -> float | WeightSchedule:
    """The value of a guider's option ``weight``, off at 1.

    Raises:
        ConfigError: the guider has no option ``weight``.
    """
    if all(attribute.name != "weight" for attribute in attrs.fields(cast(Any, type(guider)))):
        raise ConfigError(
            f"guider {guider.name!r} has no option weight, so it does not say what it steers away from: "
            "give one that has, such as cfg or autoguidance, and put the other guiders around the whole"
        )
    weight = cast(Any, guider).weight
    return weight if isinstance(weight, WeightSchedule) else float(weight)


def opposite(guider: Guider, base: Denoiser, models: Mapping[str, Denoiser]) -> Denoiser:
    """The denoiser that a guider moves away from: its guided denoiser at weight 0, without the base.

    For guiders around any other that do not combine base and opposite as a weighted sum (projection, thresholds, a
    dynamic weight): ``Combine([base, opposite(guider, base, models)], function)``.

    Args:
        guider: a guider with an option ``weight``, by the convention of `Guider`.
        base, models: as in `Guider.guide`.

    Raises:
        ConfigError: the guider has no option ``weight``.
    """
    weight_of(guider)
    return cast(Guider, attrs.evolve(cast(Any, guider), weight=0.0)).guide(base, models)
