"""Recipes: how a role's module is obtained.

A recipe is a value that holds everything that decides the weights of one module, so that equal recipes are the same
network, trained once and found again. The abstract class is here; `guideplug.recipes` has training, fine-tuning,
loading, snapshots and data, and plugins add their own.
"""

import abc
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, cast

import attrs
from torch import Tensor, nn

from guideplug.config import Strategy

if TYPE_CHECKING:
    from guideplug.recipes import FineTune, Planned, ReferenceLosses, Snapshot, Synthetic, Train

__all__ = ["Recipe", "Workshop", "architecture", "nested_recipes"]


class Workshop(Protocol):
    """Where recipes are followed: it finds or makes modules, keeps them, and reports progress."""

    def obtain(self, recipe: "Recipe") -> nn.Module:
        """The module of a recipe: found in the store, or made and kept there. In evaluation mode, on the device."""

    def train(self, recipe: "Train | FineTune", module: nn.Module) -> Mapping[str, Any]:
        """Train ``module`` in place; facts about it, such as iterations and seconds."""

    def snapshot(self, recipe: "Snapshot") -> Mapping[str, Tensor]:
        """The weights of a training at an earlier moment, or of another average."""

    def score(self, recipe: "ReferenceLosses") -> tuple[Tensor, float]:
        """The losses of a recipe's denoiser on every noisy example of finite data, (items, streams); and seconds."""

    def synthesize(self, recipe: "Synthetic") -> Tensor:
        """Samples drawn from a recipe's denoiser, (count, *)."""

    def progress(self, recipe: "Recipe", step: int, total: int, loss: float | None = None) -> None:
        """Say that ``step`` of ``total`` steps of making a recipe's module are done; what it raises ends the work.

        Recipes that train by themselves call it before the first step and after each; with the loss now and then.
        """


class Recipe(Strategy):
    """How one module is obtained. Final frozen attrs classes; every field is part of the identity,
    but for options that say that they decide no weight.
    """

    kind: ClassVar[str] = "recipe"
    stored: ClassVar[bool] = True
    """Whether the result is kept in the store; False where making it is no work."""

    @abc.abstractmethod
    def build(self) -> nn.Module:
        """The module before its weights are known: the right architecture, on the CPU."""

    @abc.abstractmethod
    def make(self, module: nn.Module, workshop: Workshop) -> Mapping[str, Any]:
        """Give ``module`` its weights, in place; facts worth keeping beside them."""

    def content(self) -> str:
        """What decides the weights but is no field, such as the hash of a file's bytes."""
        return ""

    def check(self) -> None:
        """Raise what can be known to fail before any work is done, such as a missing file."""

    def evaluates(self) -> "Iterable[Planned]":
        """What making it evaluates: samples that it draws, batches that it asks a network about; nothing by default.

        Each is tried on untrained networks before any work is done, so that what cannot work fails then. The recipes
        that it refers to say theirs.

        Raises:
            GuideplugError: what is known to be wrong.
        """
        return ()

    def among(self, roles: "Mapping[str, Recipe]") -> "Recipe":
        """This recipe in a run whose other roles are obtained so, where it leaves open which of them it uses."""
        return self

    @classmethod
    def from_file(cls, path: str) -> "Recipe | None":
        """What reads a module like those that this makes from a file; None, the default, for a denoiser's weights."""
        return None

    @property
    def title(self) -> str:
        """What messages call its network where it has no role in the run; empty for no name of its own."""
        return ""

    @property
    def iterations(self) -> int | None:
        """How many optimiser steps making it takes, where that is known beforehand; for estimates."""
        return None


def architecture(recipe: Recipe) -> Any:
    """What a recipe's denoiser is built from, a `guideplug.Network`; a fine-tune and a snapshot build what they are of.

    None where a recipe does not say.
    """
    found: Any = recipe
    while found is not None and not hasattr(found, "denoiser"):
        found = getattr(found, "of", None)
    return getattr(found, "denoiser", None)


def nested_recipes(recipe: Recipe) -> Iterator[Recipe]:
    """The recipes that this one refers to directly, in the order of its fields."""
    for attribute in attrs.fields(cast(Any, type(recipe))):
        yield from _recipes_in(getattr(recipe, attribute.name))


def _recipes_in(value: Any) -> Iterator[Recipe]:
    if isinstance(value, Recipe):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _recipes_in(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _recipes_in(item)
