"""Conditions of samples.

A condition is None, a tensor, or a mapping or list of conditions; every tensor in it is batch first: labels,
embeddings, masks, an image. Mappings and lists may be nested, as networks of text to image take them, and a None inside
is an argument that is None. The meaning of the tensors is not used here.

`parts_of` returns the tensors by name, ``text``, ``added.text_embeds`` or ``images[0]``, and the other functions work
on these. Only this file, `guideplug.denoise.condition_batch`, which forms batches of conditions, and
`guideplug.denoise.condition_file`, which writes their arrays, distinguish the types.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias, TypeGuard, cast

import torch
from torch import Tensor

from guideplug.denoise.rows import per_row
from guideplug.errors import ConditionError

__all__ = [
    "Condition",
    "as_arguments",
    "equal_conditions",
    "expand",
    "for_networks",
    "form_of",
    "in_type",
    "is_condition",
    "labels_of",
    "mapped",
    "mixed_rows",
    "on_device",
    "parts_of",
    "repeated",
    "same_form",
    "select_rows",
    "with_parts",
]

Condition: TypeAlias = Tensor | Mapping[str, "Condition"] | Sequence["Condition"] | None

ALLOWED = "give a tensor, batch first, as in torch.tensor([3, 7]), or a dict or list of such tensors"


def is_condition(value: object) -> TypeGuard[Condition]:
    """Whether a value is None, a tensor, or a mapping by name or a list of conditions."""
    if isinstance(value, Mapping):
        return all(isinstance(name, str) and is_condition(part) for name, part in value.items())
    if isinstance(value, list | tuple):
        return all(map(is_condition, value))
    return value is None or isinstance(value, Tensor)


def _walked(condition: Condition, change: Callable[[str, Tensor], Any], name: str = "") -> Any:
    """The condition with each tensor replaced by ``change`` of its name and itself."""
    if isinstance(condition, Mapping):
        prefix = f"{name}." if name else ""
        return {key: _walked(part, change, f"{prefix}{key}") for key, part in condition.items()}
    if isinstance(condition, list | tuple):
        parts = [_walked(part, change, f"{name}[{index}]") for index, part in enumerate(condition)]
        return parts if isinstance(condition, list) else tuple(parts)
    return None if condition is None else change(name, cast(Tensor, condition))


def parts_of(condition: Condition) -> dict[str, Tensor]:
    """The tensors of a condition by name: a tensor alone has the name "", and None has no part."""
    parts: dict[str, Tensor] = {}
    _walked(condition, parts.setdefault)
    return parts


def with_parts(like: Condition, parts: Mapping[str, Tensor]) -> Condition:
    """The condition of the form of ``like`` whose `parts_of` are these."""
    return cast(Condition, _walked(like, lambda name, _: parts[name]))


def mapped(condition: Condition, change: Callable[[Tensor], Tensor]) -> Condition:
    """The condition with each tensor replaced by ``change`` of it."""
    return cast(Condition, _walked(condition, lambda _, part: change(part)))


def form_of(condition: Condition) -> object:
    """The condition without its values, to be compared: equal for conditions that differ in tensors alone."""
    if isinstance(condition, list | tuple):
        return [form_of(part) for part in condition]
    if isinstance(condition, Mapping):
        return {name: form_of(part) for name, part in condition.items()}
    return type(None) if condition is None else Tensor


def same_form(one: Condition, other: Condition) -> bool:
    """Whether two conditions have tensors, and None, at the same places."""
    return form_of(one) == form_of(other)


def labels_of(condition: Condition) -> Tensor | None:
    """The condition if it holds labels, one tensor (B,) of another type than floating point; else None."""
    if isinstance(condition, Tensor) and condition.ndim == 1 and not condition.is_floating_point():
        return condition
    return None


def expand(condition: Condition, batch: int) -> Condition:
    """The condition for ``batch`` samples: a part of batch 1 is repeated, any other must match.

    Raises:
        ConditionError: a part is no tensor, has no batch axis, or has a batch that is neither 1 nor ``batch``.
    """
    return cast(Condition, _walked(condition, lambda name, part: _expand_part(part, batch, name)))


def _expand_part(part: Tensor, batch: int, name: str) -> Tensor:
    whose = f"condition {name!r}" if name else "the condition"
    if not isinstance(part, Tensor):
        shown = repr(part) if isinstance(part, int | float) else f"a {type(part).__name__}"
        raise ConditionError(f"{whose} is {shown}: {ALLOWED}")
    if part.ndim == 0:
        raise ConditionError(f"{whose} has no batch axis: give a tensor of shape (B, ...), not a scalar")
    if part.shape[0] == batch:
        return part
    if part.shape[0] == 1:
        return part.expand(batch, *part.shape[1:])
    per_sample = "; a list holds parts, not samples: pad its tensors to one, with a mask" if name.endswith("]") else ""
    raise ConditionError(
        f"{whose} has batch {part.shape[0]}, x has batch {batch}: give one row per sample, or a single row{per_sample}"
    )


def on_device(condition: Condition, device: torch.device) -> Condition:
    """The condition with every part on a device."""
    return mapped(condition, lambda part: part.to(device))


def in_type(condition: Condition, dtype: torch.dtype) -> Condition:
    """The condition with its floating-point parts in a type; labels and masks stay."""
    return mapped(condition, lambda part: part.to(dtype) if part.is_floating_point() else part)


def select_rows(condition: Condition, rows: Tensor | slice) -> Condition:
    """The condition of some samples: ``rows`` indexes the batch axis of every part."""
    return mapped(condition, lambda part: part[rows])


def repeated(condition: Condition, copies: int) -> Condition:
    """The condition of ``copies`` batches, one after another."""
    return mapped(condition, lambda part: torch.cat([part] * copies))


def equal_conditions(one: Condition, other: Condition) -> bool:
    """Whether two conditions are of one form and have equal rows."""
    if one is other:
        return True
    theirs = parts_of(other)
    return same_form(one, other) and all(
        part.dtype == theirs[name].dtype and torch.equal(part, theirs[name]) for name, part in parts_of(one).items()
    )


def mixed_rows(rows: Tensor, one: Condition, other: Condition) -> Condition:
    """The rows of ``one`` where ``rows`` (B,) is true, and of ``other``, which has the `same_form`, elsewhere."""
    theirs = parts_of(other)
    mixed = {name: torch.where(per_row(rows, part), part, theirs[name]) for name, part in parts_of(one).items()}
    return with_parts(one, mixed)


def for_networks(condition: Condition) -> Condition:
    """The condition without the parts for weights, whose names have a dot and so are no names of arguments."""
    if isinstance(condition, Mapping) and any("." in name for name in condition):
        return {name: part for name, part in condition.items() if "." not in name} or None
    return condition


def as_arguments(condition: Condition) -> tuple[tuple[Condition, ...], Mapping[str, Condition]]:
    """The arguments for a condition after x and the time: a mapping by name, a tensor or list by position."""
    if isinstance(condition, Mapping):
        return (), condition
    return (() if condition is None else (condition,)), {}
