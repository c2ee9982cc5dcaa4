"""Recipes: how a role's module is obtained; and the builder, which finds or makes modules.

A recipe is a value that holds everything that decides the weights of one module, so that equal recipes are the same
network, trained once and found again. Each recipe holds its own work (`Recipe.make`) and does it with a `Builder`,
which knows places, locks, states and progress, and of no recipe what kind it is. The abstract classes are here;
`guideplug.recipes` has training, fine-tuning, loading, snapshots and data, and plugins add their own.
"""

import abc
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self, cast

import attrs
import torch
from torch import Tensor, nn

from guideplug.config import Duration, Strategy, inner, walk
from guideplug.denoise.api1 import note, own
from guideplug.errors import RecipeError

__all__ = [
    "Builder",
    "Extra",
    "MainRecipe",
    "OpenRoles",
    "Planned",
    "Recipe",
    "Resumable",
    "architecture",
    "extras_under",
    "nested_recipes",
]


class Resumable(Protocol):
    """Work that goes on from its state, such as a training."""

    def state(self) -> tuple[Mapping[str, Tensor], Mapping[str, Any]]:
        """What going on needs: tensors by name, and data that JSON can hold."""

    def load_state(self, tensors: Mapping[str, Tensor], data: Mapping[str, Any]) -> None:
        """Go on from what `state` gave."""


class Builder(Protocol):
    """What recipes are made with: it finds or makes modules, keeps them and the state of their making, and reports."""

    @property
    def device(self) -> torch.device:
        """Where modules are."""

    @property
    def role(self) -> str:
        """What messages call the module that is being made."""

    def obtain(self, recipe: "Recipe") -> nn.Module:
        """The module of a recipe: found in the store, or made and kept there. In evaluation mode, on the device."""

    def checkpoint(self, work: Resumable) -> bool:
        """Keep the state of ``work`` from here on, and go on from what an earlier try left.

        Called once, before the first `progress`. The state is saved after a step from time to time, and before a signal
        ends the work. Nothing is kept for recipes that are not stored.

        Returns:
            Whether an earlier try had left a state, which ``work`` has loaded.

        Raises:
            StoreError: what it left cannot be read.
        """

    def progress(self, step: int, total: float, loss: float | None = None, **details: Any) -> None:
        """Say that ``step`` of ``total`` steps are done: once before the first of this try, then after each.

        After a step the state is saved if it is time, and the work ends if that is asked for.

        Args:
            step: optimiser steps done, those of earlier tries included.
            total: how many there will be.
            loss: the loss, now and then: observers receive the steps that have one.
            details: other fields of the events ``train`` and ``step`` than the usual ones.
        """

    def stop_if_asked(self) -> None:
        """End the work here if that is asked for: for work in parts that are no steps of a training."""

    def keep(self, file: str, tensors: Mapping[str, Tensor]) -> Path:
        """Keep a further file beside the module that is being made; where it lies until the module is stored.

        Args:
            file: its name; one of the form ``snapshot-*.safetensors`` stays with the module, others go when it is done.
            tensors: what it holds.
        """

    def expected(self, recipe: "Recipe") -> "Sequence[Extra]":
        """The further files that other recipes will ask of a recipe's module, as far as that is known beforehand."""

    def stored(self, extras: "Sequence[Extra]") -> Iterator[Mapping[str, Tensor]]:
        """The tensors of further files of one stored module, each read when its turn comes; made if one is missing."""


class Extra(abc.ABC):
    """A further file beside a stored module, such as an average of its training at an earlier moment."""

    of: "Recipe"
    """Whose module it lies beside."""

    @property
    @abc.abstractmethod
    def file(self) -> str:
        """Its name, ``snapshot-*.safetensors``: equal for equal content."""


class Planned:
    """Something that making a recipe's module evaluates; `guideplug.PlannedBatch` and `guideplug.PlannedSampling`."""

    __slots__ = ()

    of: "Recipe"
    """Whose network is evaluated."""
    guider: Any
    """What guides it, a `guideplug.Guider`; None for nothing."""
    models: "Mapping[str, Recipe]"
    """The guider's other networks, by role."""


@attrs.frozen
class OpenRoles:
    """Roles that a recipe leaves open, which a run fills as it fills its own if they are those of its main network.

    Args:
        of: the recipe whose network they go with.
        needs: the roles, and how to obtain them unless the user says otherwise; as `Guider.needs`.
        who: what needs them, in messages.
    """

    of: "Recipe"
    needs: "Mapping[str, Recipe | str | None]"
    who: str


class Recipe(Strategy):
    """How one module is obtained. Final frozen attrs classes; every field is part of the identity,
    but for options that say that they decide no weight.
    """

    kind: ClassVar[str] = "recipe"
    stored: ClassVar[bool] = True
    """Whether the result is kept in the store; False where making it is no work."""
    gives_data: ClassVar[bool] = False
    """Whether its module is training data, a `guideplug.DataModule`."""
    free: ClassVar[bool] = False
    """Whether it costs no training beyond what it rests on (`rests_on`); for comparisons at equal cost."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        among = own(cls, "among")
        if among is not None:
            note(cls, among, "has a new name: call it with_roles")
            cls.with_roles = among  # type: ignore[method-assign]
            del cls.among

    @abc.abstractmethod
    def build(self) -> nn.Module:
        """The module before its weights are known: the right architecture, on the CPU."""

    @abc.abstractmethod
    def make(self, module: nn.Module, builder: Builder) -> Mapping[str, Any]:
        """Give ``module`` its weights, in place; facts worth keeping beside them, such as ``seconds``."""

    def content(self) -> str:
        """What decides the weights but is no field, such as the hash of a file's bytes."""
        return ""

    def check(self) -> None:
        """Raise what can be known to fail before any work is done, such as a missing file."""

    def evaluates(self) -> Iterable[Planned]:
        """What making it evaluates: samples that it draws, batches that it asks a network about; nothing by default.

        Each is tried on untrained networks before any work is done, so that what cannot work fails then. The recipes
        that it refers to say theirs.

        Raises:
            GuideplugError: what is known to be wrong.
        """
        return ()

    def cautions(self) -> Iterable[str]:
        """What is suspicious about it as the recipe of a run's main network, a line each: its data, say."""
        return ()

    @classmethod
    def from_file(cls, path: str) -> "Recipe | None":
        """What reads a module like those that this makes from a file; None, the default, for a denoiser's weights."""
        return None

    # Its place among other recipes

    def with_roles(self, roles: "Mapping[str, Recipe]") -> "Recipe":
        """This recipe in a run whose other roles are obtained so, where it leaves open which of them it uses."""
        return self

    def among(self, roles: "Mapping[str, Recipe]") -> "Recipe":
        """The old name of `with_roles`."""
        warnings.warn("plugin API 1: among is now called with_roles", DeprecationWarning, stacklevel=2)
        return self.with_roles(roles)

    @property
    def open_roles(self) -> OpenRoles | None:
        """The roles of its guider that it names no network for; None, the default, where there are none."""
        return None

    def filled(self, models: "Mapping[str, Recipe]") -> "Recipe":
        """This recipe with networks for its `open_roles`."""
        return self

    def rests_on(self) -> "Iterable[tuple[Recipe, Duration | None]]":
        """The recipes that it is made of, and up to which moment it needs their trainings; None for the end."""
        return ((inner, None) for inner in nested_recipes(self))

    def prerequisites(self) -> "Iterable[Recipe]":
        """Recipes that it obtains beside those that it refers to, and whose seconds count as its own."""
        return ()

    # What it says of itself

    @property
    def title(self) -> str:
        """What messages call its network where it has no role in the run; empty for no name of its own."""
        return ""

    @property
    def loaded_from(self) -> str:
        """The file that its weights were read from, for citations; empty where they came about otherwise."""
        return ""

    @property
    def training_seed(self) -> int | None:
        """The seed that decides its training, for a run's record; None for what is no training."""
        return None

    # Its training, where it is one

    @property
    def iterations(self) -> int | None:
        """How many optimiser steps making it takes, where that is known beforehand; for estimates."""
        return None

    def estimate(self) -> float | None:
        """The seconds that making it will take on this machine, estimated from a few steps; None where unknown."""
        return None

    @property
    def duration(self) -> Duration | None:
        """How long it trains; None, the default, for a recipe that is no training of a duration.

        One of a duration in seconds is stored as what it reached: its facts name the ``iterations``.
        """
        return None

    @property
    def open_ended(self) -> bool:
        """Whether only making it tells how many iterations it has."""
        return self.duration is not None and self.duration.unit == "s"

    def with_duration(self, duration: Duration) -> "Recipe":
        """The same for another duration.

        Raises:
            RecipeError: it has no duration.
        """
        raise RecipeError(f"{self.name} has no duration that could be {duration}: it is no training")

    def begin(self, builder: Builder) -> Any:
        """Its training at its beginning, a `guideplug.train.Training`, for measuring what an iteration costs.

        Raises:
            RecipeError: it has no duration.
        """
        raise RecipeError(f"{self.name} has no iterations that could be measured: it is no training")

    def moment(self, at: Duration) -> "Recipe":
        """Its network at an earlier moment of its training.

        Raises:
            RecipeError: it has no duration.
        """
        raise RecipeError(f"{self.name} has no moment {at}: it is no training")

    def at_most(self, training: "Recipe", at: Duration) -> "Recipe | None":
        """For a moment of ``training``: the same, or that at ``at`` where it is later. None for other recipes."""
        return None

    # Further files beside stored modules

    def asks_for(self) -> Iterable[Extra]:
        """The further files of other recipes' modules that making it takes, said beforehand so that they are kept."""
        return ()

    def extras(self) -> Sequence[Extra]:
        """The further files that are kept beside its module whether somebody asks for them or not."""
        return ()

    def make_extras(
        self, extras: Sequence[Extra], builder: Builder, keep: Callable[[str, Mapping[str, Tensor]], None]
    ) -> None:
        """Make further files of a module that is stored already, such as by training once more up to a moment.

        Args:
            extras: those that are missing.
            builder: for the modules that it needs, and `Builder.stop_if_asked`.
            keep: takes each file's name and tensors.

        Raises:
            RecipeError: there are none of it.
        """
        raise RecipeError(f"{self.name} has no further files, and {extras[0].file} is asked of it")


class MainRecipe(Recipe):
    """A training from scratch that a run's own keys describe: what a task offers for its main network.

    Final classes have at least these options; ``task``, ``denoiser`` and ``seed`` are keys of a run's configuration,
    ``options`` its table ``[train]``, ``selector`` its selector and ``models`` the networks that it needs.
    """

    task: Any
    denoiser: Any
    options: Any
    seed: int
    selector: Any
    models: Mapping[str, Recipe]
    on: Recipe | None
    start: Recipe | None

    def with_options(self, **changes: Any) -> Self:
        """The same with other values for some of its options."""
        changed: Self = attrs.evolve(cast(Any, self), **changes)
        return changed

    @abc.abstractmethod
    def reading(self, path: str, denoiser: Any) -> Recipe:
        """The recipe of a network for the same task whose weights are in a file, of a `guideplug.Network`."""


def architecture(recipe: Recipe) -> Any:
    """What a recipe's denoiser is built from, a `guideplug.Network`; a fine-tune and a snapshot build what they are of.

    None where a recipe does not say.
    """
    inner: Any = recipe
    while inner is not None and not hasattr(inner, "denoiser"):
        inner = getattr(inner, "of", None)
    return getattr(inner, "denoiser", None)


def extras_under(recipe: Recipe) -> Iterator[Extra]:
    """The further files that a recipe and those that it refers to ask for."""
    for nested in walk(recipe, Recipe):
        yield from nested.asks_for()


def nested_recipes(recipe: Recipe) -> Iterator[Recipe]:
    """The recipes that this one refers to directly, in the order of its fields."""
    return inner(recipe, Recipe)
