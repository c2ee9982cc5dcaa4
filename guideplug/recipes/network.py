"""The network of a recipe: its module as a denoiser, and the training that it stems from."""

from typing import Any

from torch import nn

from guideplug.denoise import Leaf
from guideplug.errors import RecipeError
from guideplug.recipe import MainRecipe, Recipe
from guideplug.task import Task

__all__ = ["denoiser_of", "main_of", "named_denoiser"]


def denoiser_of(module: nn.Module) -> Leaf:
    """The module, checked to be a denoiser.

    Raises:
        RecipeError: the module is something else, such as data.
    """
    if not isinstance(module, Leaf):
        raise RecipeError(f"a {type(module).__name__} is no denoiser: give a recipe of a denoiser for this role")
    return module


def named_denoiser(module: nn.Module, role: str) -> Leaf:
    """The module of a role, checked to be a denoiser, with the role set for messages.

    Raises:
        RecipeError: the module is something else, such as data.
    """
    if not isinstance(module, Leaf):
        raise RecipeError(f"the recipe of the role {role!r} gives a {type(module).__name__}, which is no denoiser")
    module.role = role
    return module


def main_of(recipe: Recipe, task: Task) -> Any:
    """The training from scratch that a recipe's network stems from, which guiders and selectors receive.

    That of the task's main network where there is none, as for weights from a file.
    """
    inner: Any = recipe
    while inner is not None and not isinstance(inner, MainRecipe):
        inner = getattr(inner, "of", None)
    return inner or task.recipe("main", None)
