"""Recipes of modules for roles, and the builder, which finds or makes modules.

A recipe is a value with everything that decides the weights of one module, so that equal recipes are the same network,
trained once and found again. Each recipe implements its own work (`Recipe.make`) with a `Builder`, which manages files,
locks, states and progress for all kinds of recipes. The abstract classes are here; `guideplug.recipes` has training,
fine-tuning, loading, snapshots and data, and plugins add their own.
"""

import abc
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self, cast, runtime_checkable

import attrs
import torch
from torch import Tensor, nn

from guideplug.config import Duration, Strategy, inner, walk
from guideplug.config.libraries import missing_libraries
from guideplug.denoise import Leaf
from guideplug.denoise.api1 import note, own
from guideplug.errors import RecipeError

__all__ = [
    "Builder",
    "Extra",
    "MainRecipe",
    "Observable",
    "OpenRoles",
    "Planned",
    "Recipe",
    "Resumable",
    "architecture",
    "extras_under",
    "nested_recipes",
]


class Resumable(Protocol):
    """Resumable work, such as a training."""

    def state(self) -> tuple[Mapping[str, Tensor], Mapping[str, Any]]:
        """The state for resuming: tensors by name, and plain data for JSON."""

    def load_state(self, tensors: Mapping[str, Tensor], data: Mapping[str, Any]) -> None:
        """Restore the state from `state`."""


@runtime_checkable
class Observable(Protocol):
    """Resumable work whose networks are observed along the way (`guideplug.Listener.on_moment`), such as a training."""

    step: int
    """Finished optimiser steps."""

    def reached(self, unit: str) -> float:
        """The finished amount in a unit of duration: it, ex or s."""

    def current(self) -> Mapping[str, Callable[[], Leaf]]:
        """Copies of the current networks, by the names of their weights, such as "raw"; made when called."""


class Builder(Protocol):
    """The environment of recipes: it finds, makes and stores modules, saves states of unfinished work, and reports."""

    @property
    def device(self) -> torch.device:
        """The device of modules."""

    @property
    def role(self) -> str:
        """The role of the module that is being made, for messages."""

    def obtain(self, recipe: "Recipe") -> nn.Module:
        """The module of a recipe: found in the store, or made and stored. In evaluation mode, on the device."""

    def checkpoint(self, work: Resumable) -> bool:
        """Save the state of ``work`` from now on, and load the state of an earlier attempt.

        Called once, before the first `progress`. The state is saved at intervals after a step, and before a signal ends
        the work. Nothing is saved for recipes that are not stored. Work that is `Observable` is observed.

        Returns:
            Whether ``work`` has loaded the state of an earlier attempt.

        Raises:
            StoreError: the state of an earlier attempt cannot be read.
        """

    def progress(self, step: int, total: float, loss: float | None = None, **details: Any) -> None:
        """Report that ``step`` of ``total`` steps are finished: once before the first of this attempt, then after each.

        After a step the state is saved if it is due, and the work ends on request.

        Args:
            step: the number of finished optimiser steps, those of earlier attempts included.
            total: the total number of steps.
            loss: the loss, at intervals: observers receive the steps with a loss.
            details: additional fields of the events ``train`` and ``step``.
        """

    def stop_if_asked(self) -> None:
        """End the work here on request, for work in parts other than training steps."""

    def keep(self, file: str, tensors: Mapping[str, Tensor]) -> Path:
        """Save a further file beside the module that is being made; its path until the module is stored.

        Args:
            file: its name; ``snapshot-*.safetensors`` files are stored with the module, others removed at the end.
            tensors: its content.
        """

    def expected(self, recipe: "Recipe") -> "Sequence[Extra]":
        """The further files of a recipe's module that other recipes will need, as far as known beforehand."""

    def stored(self, extras: "Sequence[Extra]") -> Iterator[Mapping[str, Tensor]]:
        """The tensors of further files of one stored module, read lazily; missing files are made."""


class Extra(abc.ABC):
    """A further file beside a stored module, such as an average of its training at an earlier moment."""

    of: "Recipe"
    """The recipe of the module."""

    @property
    @abc.abstractmethod
    def file(self) -> str:
        """Its name, ``snapshot-*.safetensors``: equal for equal content."""


class Planned:
    """A declared evaluation in making a recipe: `guideplug.PlannedBatch` or `guideplug.PlannedSampling`."""

    __slots__ = ()

    of: "Recipe"
    """The recipe of the evaluated network."""
    guider: Any
    """Its `guideplug.Guider`, or None."""
    models: "Mapping[str, Recipe]"
    """The guider's other networks, by role."""


@attrs.frozen
class OpenRoles:
    """Roles that a recipe leaves open; a run fills them like its own, unless they belong to another network.

    Args:
        of: the recipe of the network that the roles belong to; None for roles of the task, whatever the network.
        needs: the roles with their default recipes, as in `Guider.needs`.
        who: the strategy that needs them, for messages.
    """

    of: "Recipe | None"
    needs: "Mapping[str, Recipe | str | None]"
    who: str


class Recipe(Strategy):
    """The recipe of one module. Final frozen attrs classes; every field is part of the identity,
    except options that decide no weight.
    """

    kind: ClassVar[str] = "recipe"
    stored: ClassVar[bool] = True
    """Whether the result is stored; False if making it takes no work."""
    gives_data: ClassVar[bool] = False
    """Whether its module is training data, a `guideplug.DataModule`."""
    free: ClassVar[bool] = False
    """Whether it costs no training besides that of `rests_on`; for comparisons at equal cost."""

    libraries: ClassVar[Mapping[str, str]] = {}
    """Libraries that it imports and that are an extra of its distribution: the requirement by import name."""

    @classmethod
    def missing_libraries(cls) -> Iterator[str]:
        """A line per missing library of ``libraries``, with how to install it."""
        return missing_libraries(cls.libraries)

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        among = own(cls, "among")
        if among is not None:
            note(cls, among, "has a new name: call it with_roles")
            cls.with_roles = among  # type: ignore[method-assign]
            del cls.among

    @abc.abstractmethod
    def build(self) -> nn.Module:
        """The module with undefined weights: the right architecture, on the CPU."""

    @abc.abstractmethod
    def make(self, module: nn.Module, builder: Builder) -> Mapping[str, Any]:
        """Set the weights of ``module`` in place; facts to store with them, such as ``seconds``."""

    def content(self) -> str:
        """Deciding content besides the fields, such as the hash of a file's bytes."""
        return ""

    def check(self) -> None:
        """Raise errors that are known before any work, such as a missing file."""

    def evaluates(self) -> Iterable[Planned]:
        """The evaluations in making it: samplings and batches; empty by default.

        Each is tried on untrained networks before any work, so that invalid combinations fail early. Recipes that it
        refers to declare their own.

        Raises:
            GuideplugError: the recipe is known to be invalid.
        """
        return ()

    def cautions(self) -> Iterable[str]:
        """Suspicious properties of it as a run's main recipe, such as of its data, a line each."""
        return ()

    @classmethod
    def from_file(cls, path: str) -> "Recipe | None":
        """The recipe that reads such a module from a file; None, the default, for a denoiser's weights."""
        return None

    # Relations to other recipes

    @property
    def viewed(self) -> "Recipe | None":
        """The recipe whose module this recipe's is a view of, with no parameters of its own; None, the default.

        Such a module is made by `view`, and its weights are stored nowhere.
        """
        return None

    def view(self, module: nn.Module) -> nn.Module:
        """The view of the module of `viewed`.

        Raises:
            RecipeError: the recipe is no view, or the module has none.
        """
        raise RecipeError(f"{self.name} is no view of another recipe's module")

    def with_roles(self, roles: "Mapping[str, Recipe]") -> "Recipe":
        """This recipe in a run with these recipes of other roles, for recipes that choose among them."""
        return self

    def among(self, roles: "Mapping[str, Recipe]") -> "Recipe":
        """The old name of `with_roles`."""
        warnings.warn("plugin API 1: among is now called with_roles", DeprecationWarning, stacklevel=2)
        return self.with_roles(roles)

    def with_architecture(self, of_file: "Callable[..., Any]") -> "Recipe":
        """This recipe in a run, for recipes of files that may leave their architecture to the files.

        Args:
            of_file: the `guideplug.Network` that a file of weights names, by its path, and where it holds several
                networks by the key of one.
        """
        return self

    @property
    def open_roles(self) -> OpenRoles | None:
        """The roles of its guider or selector without a network; None, the default, if there are none."""
        return None

    def filled(self, models: "Mapping[str, Recipe]") -> "Recipe":
        """This recipe with networks for its `open_roles`."""
        return self

    def rests_on(self) -> "Iterable[tuple[Recipe, Duration | None]]":
        """The recipes that it is made from, with the durations of their trainings that it needs; None for the end."""
        return ((inner, None) for inner in nested_recipes(self))

    def prerequisites(self) -> "Iterable[Recipe]":
        """Recipes that it obtains besides those that it refers to; their seconds count as its own."""
        return ()

    # Descriptions

    @property
    def title(self) -> str:
        """The name of its network in messages if it has no role in the run; empty for none."""
        return ""

    @property
    def loaded_from(self) -> str:
        """The file of its weights, for citations; empty for weights from elsewhere."""
        return ""

    @property
    def training_seed(self) -> int | None:
        """The seed of its training, for a run's record; None for other recipes."""
        return None

    # Training

    @property
    def iterations(self) -> int | None:
        """The number of optimiser steps, for estimates; None if unknown beforehand."""
        return None

    def estimate(self) -> float | None:
        """The expected seconds on this machine, estimated from a few steps; None if unknown."""
        return None

    @property
    def duration(self) -> Duration | None:
        """The duration of its training; None, the default, for other recipes.

        A training with a duration in seconds is stored with the ``iterations`` that it reached, in its facts.
        """
        return None

    @property
    def open_ended(self) -> bool:
        """Whether its number of iterations is known only afterwards."""
        return self.duration is not None and self.duration.unit == "s"

    def with_duration(self, duration: Duration) -> "Recipe":
        """The same training with another duration.

        Raises:
            RecipeError: the recipe has no duration.
        """
        raise RecipeError(f"{self.name} has no duration that could be {duration}: it is no training")

    def begin(self, builder: Builder) -> Any:
        """Its training at the start, a `guideplug.train.Training`, for measuring the cost of an iteration.

        Raises:
            RecipeError: the recipe has no duration.
        """
        raise RecipeError(f"{self.name} has no iterations that could be measured: it is no training")

    def moment(self, at: Duration) -> "Recipe":
        """Its network at an earlier step of its training.

        Raises:
            RecipeError: the recipe has no duration.
        """
        raise RecipeError(f"{self.name} has no moment {at}: it is no training")

    def at_most(self, training: "Recipe", at: Duration) -> "Recipe | None":
        """For a snapshot of ``training``: the same, or that at ``at`` if it is later. None for other recipes."""
        return None

    # Further files beside stored modules

    def asks_for(self) -> Iterable[Extra]:
        """The further files of other recipes' modules that it needs, declared so that they are stored."""
        return ()

    def extras(self) -> Sequence[Extra]:
        """The further files that are always stored with its module."""
        return ()

    def make_extras(
        self, extras: Sequence[Extra], builder: Builder, keep: Callable[[str, Mapping[str, Tensor]], None]
    ) -> None:
        """Make further files of a stored module, such as by repeating the training up to a step.

        Args:
            extras: the missing files.
            builder: the builder, for needed modules and `Builder.stop_if_asked`.
            keep: a function that stores a file, by name and tensors.

        Raises:
            RecipeError: the recipe has no further files.
        """
        raise RecipeError(f"{self.name} has no further files, and {extras[0].file} is asked of it")


class MainRecipe(Recipe):
    """A training from scratch described by a run's own keys: a task's recipe of the main network.

    Final classes have at least these options; ``task``, ``denoiser`` and ``seed`` are keys of a run's configuration,
    ``options`` its table ``[train]``, ``selector`` its selector and ``models`` the selector's networks.
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
        """The same recipe with other values of some options."""
        changed: Self = attrs.evolve(cast(Any, self), **changes)
        return changed

    @abc.abstractmethod
    def reading(self, path: str, denoiser: Any) -> Recipe:
        """The recipe of a `guideplug.Network` for the same task with weights from a file."""


def architecture(recipe: Recipe) -> Any:
    """The `guideplug.Network` of a recipe's denoiser; for a fine-tune and a snapshot that of their training.

    None for recipes without one.
    """
    inner: Any = recipe
    while inner is not None and not hasattr(inner, "denoiser"):
        inner = getattr(inner, "of", None)
    return getattr(inner, "denoiser", None)


def extras_under(recipe: Recipe) -> Iterator[Extra]:
    """The further files needed by a recipe and by recipes that it refers to."""
    for nested in walk(recipe, Recipe):
        yield from nested.asks_for()


def nested_recipes(recipe: Recipe) -> Iterator[Recipe]:
    """The recipes that a recipe refers to directly, in the order of its fields."""
    return inner(recipe, Recipe)
