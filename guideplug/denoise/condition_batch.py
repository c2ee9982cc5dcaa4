"""Several conditions as one batch, for one call of a network.

Conditions of one form whose tensors agree in type and trailing shape are concatenated. Sequences of unequal length,
``name`` (B, L, *), are padded with zeros to the longest, where a mask (B, L) beside them, False or 0 at the padding,
marks the valid positions: ``name_mask`` by convention, or the name that the network declares (`Leaf.masks`). A network
that declares a mask takes sequences without one too; these count as valid throughout.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

from guideplug.denoise.condition import Condition, is_condition

__all__ = ["concatenate", "why_apart"]

Masks = Mapping[str, str]


class _Apart(Exception):
    """The reason why conditions form no batch, in words."""


def concatenate(conditions: Sequence[Condition], masks: Masks | None = None) -> tuple[bool, Condition]:
    """Whether the conditions form one batch, and that batch.

    Args:
        conditions: at least one, each of any batch.
        masks: the names of masks by those of the sequences that they belong to; others are ``name_mask``.
    """
    try:
        return True, _joined(conditions, masks or {}, "")
    except _Apart:
        return False, None


def why_apart(conditions: Sequence[Condition], masks: Masks | None = None) -> str:
    """Why the conditions form no batch, as in ``text is of lengths 5 and 3, and has no mask``; empty where they do."""
    try:
        _joined(conditions, masks or {}, "")
    except _Apart as reason:
        return str(reason)
    return ""


def _joined(conditions: Sequence[Condition], masks: Masks, name: str) -> Condition:
    if not all(map(is_condition, conditions)):
        raise _Apart(f"{name or 'a condition'} is none that a network takes")
    if all(condition is None for condition in conditions):
        return None
    tensors = [condition for condition in conditions if isinstance(condition, Tensor)]
    if len(tensors) == len(conditions):
        return _concatenated(tensors, name)
    mappings = [condition for condition in conditions if isinstance(condition, Mapping)]
    if len(mappings) == len(conditions):
        return _joined_mappings(mappings, masks, f"{name}." if name else "")
    lists = [condition for condition in conditions if isinstance(condition, list | tuple)]
    if len(lists) < len(conditions):
        kinds = " and ".join(dict.fromkeys(map(_kind, conditions)))
        raise _Apart(f"{name or 'the condition'} is {kinds}")
    if len({len(parts) for parts in lists}) > 1:
        raise _Apart(f"{name or 'the condition'} has {' and '.join(str(len(parts)) for parts in lists)} parts")
    return [_joined(parts, masks, f"{name}[{index}]") for index, parts in enumerate(zip(*lists, strict=True))]


def _joined_mappings(mappings: Sequence[Mapping[str, Condition]], masks: Masks, prefix: str) -> Condition:
    mappings = _with_masks(mappings, masks)
    names = list(mappings[0])
    for mapping in mappings[1:]:
        if missing := set(names) ^ set(mapping):
            raise _Apart(f"{prefix}{min(missing)} is in one and not in another")
    together: dict[str, Condition] = {}
    mask_of = {name: masks.get(name, f"{name}_mask") for name in names}
    marked = {name for name, mask in mask_of.items() if isinstance(mappings[0].get(mask), Tensor)}
    sequences = marked | {mask_of[name] for name in marked}
    for name in names:
        parts = [mapping[name] for mapping in mappings]
        together[name] = _joined(_padded(parts) if name in sequences else parts, masks, f"{prefix}{name}")
    return together


def _with_masks(mappings: Sequence[Mapping[str, Condition]], masks: Masks) -> list[Mapping[str, Condition]]:
    """The mappings with masks of valid positions where one is declared and needed, and is missing or None."""
    filled = [dict(mapping) for mapping in mappings]
    for name, mask in masks.items():
        sequences = [part for mapping in filled if isinstance(part := mapping.get(name), Tensor) and part.ndim > 1]
        if len(sequences) < len(filled):
            continue
        known = [part for mapping in filled if isinstance(part := mapping.get(mask), Tensor)]
        if not known and len({part.shape[1] for part in sequences}) == 1:
            continue
        dtype = known[0].dtype if known else torch.bool
        for mapping, part in zip(filled, sequences, strict=True):
            if mapping.get(mask) is None:
                mapping[mask] = torch.ones(part.shape[:2], dtype=dtype, device=part.device)
    return list(filled)


def _concatenated(parts: Sequence[Tensor], name: str) -> Tensor:
    first = parts[0]
    for part in parts[1:]:
        if part.shape[1:] != first.shape[1:]:
            raise _Apart(_other_shape(first, part, name))
        if part.dtype != first.dtype or part.device != first.device:
            types = " and ".join(f"{str(one.dtype)[6:]} on {one.device}" for one in (first, part))
            raise _Apart(f"{name or 'the condition'} is {types}")
    return torch.cat(list(parts))


def _other_shape(one: Tensor, other: Tensor, name: str) -> str:
    if min(one.ndim, other.ndim) > 1 and one.shape[2:] == other.shape[2:]:
        return f"{name or 'the condition'} is of lengths {one.shape[1]} and {other.shape[1]}, and has no mask"
    shapes = " and ".join(f"(B{''.join(f', {n}' for n in part.shape[1:])})" for part in (one, other))
    return f"{name or 'the condition'} is of shapes {shapes}"


def _padded(parts: Sequence[Condition]) -> Sequence[Condition]:
    tensors = [part for part in parts if isinstance(part, Tensor) and part.ndim > 1]
    if len(tensors) < len(parts):
        return parts
    longest = max(part.shape[1] for part in tensors)
    return [pad(part, [0, 0] * (part.ndim - 2) + [0, longest - part.shape[1]]) for part in tensors]


def _kind(condition: Condition) -> str:
    if condition is None:
        return "none"
    return "a tensor" if isinstance(condition, Tensor) else "a dict" if isinstance(condition, Mapping) else "a list"
