"""Conditions: what a sample is drawn under.

A condition is None, a tensor, or a mapping of names to tensors, each batch first: labels, embeddings, masks, an image.
Nothing here knows what the tensors mean. The one convention is that ``name_mask`` (B, L), a boolean tensor beside
``name`` (B, L, *), says which positions of a sequence are there: sequences of unequal length are then padded to the
longest with zeros and False, so that they can go through a network as one batch.
"""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn.functional import pad

from guideplug.errors import ConditionError

__all__ = ["Condition", "concatenate", "expand", "on_device", "repeated", "select_rows"]

Condition: TypeAlias = Tensor | Mapping[str, Tensor] | None


def expand(condition: Condition, batch: int) -> Condition:
    """The condition for ``batch`` samples: one of batch 1 is repeated, any other must match.

    Raises:
        ConditionError: a part is no tensor, has no batch axis, or has a batch that is neither 1 nor ``batch``.
    """
    if condition is None:
        return None
    if isinstance(condition, Mapping):
        return {name: _expand_part(part, batch, f"condition {name!r}") for name, part in condition.items()}
    return _expand_part(condition, batch, "the condition")


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
    if condition is None:
        return None
    if isinstance(condition, Mapping):
        return {name: part.to(device) for name, part in condition.items()}
    return condition.to(device)


def select_rows(condition: Condition, rows: Tensor | slice) -> Condition:
    """The condition of some samples: ``rows`` indexes the batch axis of every part."""
    if condition is None:
        return None
    if isinstance(condition, Mapping):
        return {name: part[rows] for name, part in condition.items()}
    return condition[rows]


def repeated(condition: Condition, copies: int) -> Condition:
    """The condition of ``copies`` batches, one after another."""
    if condition is None:
        return None
    if isinstance(condition, Mapping):
        return {name: torch.cat([part] * copies) for name, part in condition.items()}
    return torch.cat([condition] * copies)


def concatenate(conditions: Sequence[Condition]) -> tuple[bool, Condition]:
    """Whether the conditions can go through a network as one batch, and that batch.

    They can when all are None, or tensors of one trailing shape and type, or mappings with the same names whose parts
    can; parts of unequal length along axis 1 are padded where a mask says which positions are there.
    """
    first = conditions[0]
    if first is None:
        return all(condition is None for condition in conditions), None
    if isinstance(first, Tensor):
        parts = [condition for condition in conditions if isinstance(condition, Tensor)]
        if len(parts) < len(conditions) or not _same_kind(parts):
            return False, None
        return True, torch.cat(parts)
    mappings = [condition for condition in conditions if isinstance(condition, Mapping)]
    if len(mappings) < len(conditions) or any(mapping.keys() != first.keys() for mapping in mappings):
        return False, None
    together: dict[str, Tensor] = {}
    for name in first:
        parts = [mapping[name] for mapping in mappings]
        if f"{name}_mask" in first or (name.endswith("_mask") and name.removesuffix("_mask") in first):
            parts = _padded(parts)
        if not _same_kind(parts):
            return False, None
        together[name] = torch.cat(parts)
    return True, together


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
