"""Conditions of samples.

A condition is None, a tensor, or a mapping of names to tensors, each batch first: labels, embeddings, masks, an image.
The meaning of the tensors is not used here. One convention: ``name_mask`` (B, L), a boolean tensor beside ``name``
(B, L, *), marks the valid positions of a sequence. Sequences of unequal length are then padded to the longest with
zeros and False, so that they form one batch.

Only this file distinguishes the three types: `parts_of` returns the tensors by name, and the other functions work on
these.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias, TypeGuard

import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import pad

from guideplug.denoise.rows import per_row
from guideplug.errors import ConditionError

__all__ = [
    "Condition",
    "as_arguments",
    "as_arrays",
    "concatenate",
    "equal_conditions",
    "expand",
    "from_arrays",
    "from_parts",
    "is_condition",
    "labels_of",
    "mapped",
    "mixed_rows",
    "on_device",
    "parts_of",
    "repeated",
    "same_names",
    "select_rows",
]

Condition: TypeAlias = Tensor | Mapping[str, Tensor] | None

ARRAY = "condition"
"""The name of a tensor's array in a file; arrays of a mapping append a dot and their names."""


def is_condition(value: object) -> TypeGuard[Condition]:
    """Whether a value is None, a tensor, or a mapping whose values are tensors."""
    return (
        value is None
        or isinstance(value, Tensor)
        or (isinstance(value, Mapping) and all(isinstance(part, Tensor) for part in value.values()))
    )


def parts_of(condition: Condition) -> dict[str, Tensor]:
    """The tensors of a condition by name: a tensor has the name "", and None has no part."""
    if condition is None:
        return {}
    return dict(condition) if isinstance(condition, Mapping) else {"": condition}


def from_parts(parts: Mapping[str, Tensor]) -> Condition:
    """The condition whose `parts_of` are these."""
    return parts[""] if parts.keys() == {""} else dict(parts) or None


def mapped(condition: Condition, change: Callable[[Tensor], Tensor]) -> Condition:
    """The condition with each tensor replaced by ``change`` of it."""
    if condition is None:
        return None
    if isinstance(condition, Mapping):
        return {name: change(part) for name, part in condition.items()}
    return change(condition)


def labels_of(condition: Condition) -> Tensor | None:
    """The condition if it holds labels, one tensor (B,) of another type than floating point; else None."""
    if isinstance(condition, Tensor) and condition.ndim == 1 and not condition.is_floating_point():
        return condition
    return None


def expand(condition: Condition, batch: int) -> Condition:
    """The condition for ``batch`` samples: one of batch 1 is repeated, any other must match.

    Raises:
        ConditionError: a part is no tensor, has no batch axis, or has a batch that is neither 1 nor ``batch``.
    """
    if isinstance(condition, Mapping):
        return {name: _expand_part(part, batch, f"condition {name!r}") for name, part in condition.items()}
    return None if condition is None else _expand_part(condition, batch, "the condition")


def _expand_part(part: Tensor, batch: int, name: str) -> Tensor:
    if not isinstance(part, Tensor):
        raise ConditionError(f"{name} is a {type(part).__name__}: give a tensor, or a dict of tensors, batch first")
    if part.ndim == 0:
        raise ConditionError(f"{name} has no batch axis: give a tensor of shape (B, ...), not a scalar")
    if part.shape[0] == batch:
        return part
    if part.shape[0] == 1:
        return part.expand(batch, *part.shape[1:])
    raise ConditionError(
        f"{name} has batch {part.shape[0]}, x has batch {batch}: give one row per sample, or a single row"
    )


def on_device(condition: Condition, device: torch.device) -> Condition:
    """The condition with every part on a device."""
    return mapped(condition, lambda part: part.to(device))


def select_rows(condition: Condition, rows: Tensor | slice) -> Condition:
    """The condition of some samples: ``rows`` indexes the batch axis of every part."""
    return mapped(condition, lambda part: part[rows])


def repeated(condition: Condition, copies: int) -> Condition:
    """The condition of ``copies`` batches, one after another."""
    return mapped(condition, lambda part: torch.cat([part] * copies))


def same_names(one: Condition, other: Condition) -> bool:
    """Whether both are None, both a tensor, or both mappings with the same names."""
    return isinstance(one, Mapping) == isinstance(other, Mapping) and parts_of(one).keys() == parts_of(other).keys()


def equal_conditions(one: Condition, other: Condition) -> bool:
    """Whether two conditions are of one kind and have equal rows."""
    if one is other:
        return True
    theirs = parts_of(other)
    return same_names(one, other) and all(
        part.dtype == theirs[name].dtype and torch.equal(part, theirs[name]) for name, part in parts_of(one).items()
    )


def mixed_rows(rows: Tensor, one: Condition, other: Condition) -> Condition:
    """The rows of ``one`` where ``rows`` (B,) is true, and of ``other``, which has the `same_names`, elsewhere."""
    theirs = parts_of(other)
    return from_parts(
        {name: torch.where(per_row(rows, part), part, theirs[name]) for name, part in parts_of(one).items()}
    )


def as_arguments(condition: Condition) -> tuple[tuple[Tensor, ...], Mapping[str, Tensor]]:
    """The arguments for a condition after x and the time: a tensor by position, the parts of a mapping by name."""
    if isinstance(condition, Mapping):
        return (), condition
    return (() if condition is None else (condition,)), {}


def as_arrays(condition: Condition) -> dict[str, NDArray[Any]]:
    """The arrays of a condition on the CPU, named as in files: "condition", or "condition.NAME" per part."""
    return {f"{ARRAY}.{name}" if name else ARRAY: part.numpy() for name, part in parts_of(condition).items()}


def from_arrays(arrays: Mapping[str, NDArray[Any]]) -> Condition:
    """The condition whose arrays, as of `as_arrays`, are among these; None if there are none."""
    if ARRAY in arrays:
        return torch.from_numpy(arrays[ARRAY])
    prefix = f"{ARRAY}."
    named = {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
    return from_parts({name: torch.from_numpy(array) for name, array in named.items()})


def concatenate(conditions: Sequence[Condition]) -> tuple[bool, Condition]:
    """Whether the conditions form one batch, and that batch.

    They do if all are None, or tensors of one trailing shape and type, or mappings with the same names whose parts do;
    parts of unequal length along axis 1 are padded if a mask marks the valid positions.
    """
    first = conditions[0]
    if not all(is_condition(condition) and same_names(first, condition) for condition in conditions):
        return False, None
    together: dict[str, Tensor] = {}
    for name in (names := parts_of(first)):
        parts = [parts_of(condition)[name] for condition in conditions]
        if f"{name}_mask" in names or (name.endswith("_mask") and name.removesuffix("_mask") in names):
            parts = _padded(parts)
        if not _same_kind(parts):
            return False, None
        together[name] = torch.cat(parts)
    return True, together if isinstance(first, Mapping) else from_parts(together)


def _same_kind(parts: Sequence[Tensor]) -> bool:
    first = parts[0]
    return all(
        part.shape[1:] == first.shape[1:] and part.dtype == first.dtype and part.device == first.device
        for part in parts
    )


def _padded(parts: list[Tensor]) -> list[Tensor]:
    if any(part.ndim < 2 for part in parts):
        return parts
    longest = max(part.shape[1] for part in parts)
    return [pad(part, [0, 0] * (part.ndim - 2) + [0, longest - part.shape[1]]) for part in parts]
