"""The module of a recipe as a denoiser."""

from torch import nn

from guideplug.denoise import Leaf
from guideplug.errors import RecipeError

__all__ = ["denoiser_of", "named_denoiser"]


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
