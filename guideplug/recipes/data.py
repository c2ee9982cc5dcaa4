"""Recipes of training data other than a task's own.

The module of a data recipe holds a finite number of items, numbered from 0, each a clean sample with its condition. A
training draws items uniformly and adds fresh noise; with noise streams it reads items by number.
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
        """The number of items."""

    @abc.abstractmethod
    def items(self, ids: Tensor) -> tuple[Tensor, Condition]:
        """The clean samples (B, *) of some items, by number from 0, and their conditions."""

    def draw(self, sigma: Tensor, streams: TrainingStreams) -> Examples:
        """One noisy item per level in ``sigma`` (B,), drawn uniformly; its number is its id."""
        ids = torch.randint(self.size(), (len(sigma),), generator=streams.generator("data"), device=sigma.device)
        clean, condition = self.items(ids)
        return noised(clean.to(sigma.device), sigma, streams, on_device(condition, sigma.device), ids)


class DataRecipe(Recipe):
    """A recipe of a data set, for `FineTune.on` and `Train.on`. Final frozen attrs classes."""

    gives_data: ClassVar[bool] = True
    free: ClassVar[bool] = True

    @abc.abstractmethod
    def build(self) -> DataModule:
        """A module of the right size, with undefined data."""


def check_data(recipe: Recipe, option: str, others: str = "") -> None:
    """Refuse a recipe of anything but data.

    Args:
        recipe: the value of an option.
        option: the name of the option.
        others: other valid values, such as "a task, or ".

    Raises:
        ValueError: the recipe makes something else, such as a network.
    """
    if not isinstance(recipe, DataRecipe):
        raise ValueError(
            f"{option} is the recipe {recipe.name!r}, which gives no data: give {others}synthetic(of=..., count=...)"
        )
