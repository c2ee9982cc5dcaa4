"""What a recipe answers, checked where it enters: the module that it builds, the weights that it leaves, its facts."""

import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from guideplug.config import breach, described
from guideplug.denoise import fault_of_module
from guideplug.recipe import Builder, Recipe

__all__ = ["built_by", "made_by"]


def built_by(recipe: Recipe) -> nn.Module:
    """The module of a recipe, with undefined weights.

    Raises:
        ContractError: it is no module, or has no weights.
    """
    module = recipe.build()
    if fault := fault_of_module(module):
        raise breach(recipe, fault)
    return module


def made_by(recipe: Recipe, module: nn.Module, builder: Builder) -> Mapping[str, Any]:
    """Make a module; the facts.

    Raises:
        ContractError: weights are not finite, others than those that were built, or the facts are no plain data.
    """
    before = _shapes(module)
    facts = recipe.make(module, builder)
    if not isinstance(facts, Mapping):
        raise breach(recipe, f"returned {described(facts)} for its facts: return a mapping, such as {{}}")
    try:
        json.dumps(dict(facts))
    except (TypeError, ValueError) as error:
        raise breach(recipe, f"returned facts that are no plain data: {error}; give numbers and texts") from None
    after = _shapes(module)
    if after != before:
        name = next(iter({*before.items()} ^ {*after.items()}))[0]
        raise breach(recipe, f"made other weights than it builds, {name}: set those of the module in place")
    bad = [name for name, value in module.named_parameters() if _lacks_numbers(value, torch.isfinite)]
    bad += [name for name, value in module.named_buffers() if _lacks_numbers(value, lambda part: ~torch.isnan(part))]
    if bad:
        raise breach(recipe, f"left weights that are not finite: {', '.join(bad[:3])}; give finite numbers")
    return facts


def _shapes(module: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in module.state_dict().items()}


def _lacks_numbers(value: torch.Tensor, good: Any) -> bool:
    return value.is_floating_point() and not bool(good(value).all())
