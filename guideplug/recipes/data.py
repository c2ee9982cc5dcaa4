"""Recipes of data: what a network is trained on where that is not a task's own data.

A data recipe gives a module that holds a finite number of items, numbered from 0, each a clean sample and the condition
that belongs to it. A training draws items with equal chance and adds fresh noise; with noise streams it asks for items
by number.
"""

import abc
from typing import ClassVar

import torch
from torch import Tensor, nn

from guideplug.denoise import Condition, on_device
from guideplug.recipe import Recipe
from guideplug.rng import TrainingStreams
from guideplug.task import Examples, noised

__all__ = ["DataModule", "DataRecipe", "check_data"]


class DataModule(nn.Module, abc.ABC):
    """A finite number of samples with their conditions, as training data."""

    @abc.abstractmethod
    def size(self) -> int:
        """How many items there are."""

    @abc.abstractmethod
    def items(self, ids: Tensor) -> tuple[Tensor, Condition]:
        """The clean samples (B, *) of some items, by number from 0, and their conditions."""

    def draw(self, sigma: Tensor, streams: TrainingStreams) -> Examples:
        """One noisy item for each level in ``sigma`` (B,), each with equal chance; its number is its id."""
        ids = torch.randint(self.size(), (len(sigma),), generator=streams.generator("data"), device=sigma.device)
        clean, condition = self.items(ids)
        return noised(clean.to(sigma.device), sigma, streams, on_device(condition, sigma.device), ids)


class DataRecipe(Recipe):
    """How a data set is obtained; `FineTune.on` and `Train.on` take it. Final frozen attrs classes."""

    gives_data: ClassVar[bool] = True
    free: ClassVar[bool] = True

    @abc.abstractmethod
    def build(self) -> DataModule:
        """The data before they are known, of the right size."""


def check_data(recipe: Recipe, option: str, others: str = "") -> None:
    """Refuse a recipe that gives no data.

    Args:
        recipe: what an option was given.
        option: which one.
        others: what else it may be given, such as "a task, or ".

    Raises:
        ValueError: it makes something else, such as a network.
    """
    if not isinstance(recipe, DataRecipe):
        raise ValueError(
            f"{option} is the recipe {recipe.name!r}, which gives no data: give {others}synthetic(of=..., count=...)"
        )
