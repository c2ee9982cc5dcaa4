"""Dropped conditions: examples that are trained under the null condition."""

from collections.abc import Mapping

from torch import Tensor

from guideplug.denoise import Condition, concatenate, mixed_rows, parts_of, same_form, select_rows, why_apart
from guideplug.errors import ConditionError

__all__ = ["dropped"]


def dropped(condition: Condition, null: Condition, drop: Tensor, masks: Mapping[str, str] | None = None) -> Condition:
    """The condition (B,), with rows of the null condition (B,) where ``drop`` (B,) is true.

    Args:
        condition, null, drop: the rows.
        masks: the masks of sequences, which are padded where lengths differ (`guideplug.denoise.concatenate`).

    Raises:
        ConditionError: the two conditions form no batch.
    """
    if condition is not None and _alike(condition, null):
        return mixed_rows(drop, null, condition)
    reason = "there is none" if condition is None else why_apart([condition, null], masks)
    if reason:
        raise ConditionError(
            "condition_dropout: the network's null condition is not of the kind of the data's conditions "
            f"({reason}); set it to 0"
        )
    _, both = concatenate([null, condition], masks)
    return mixed_rows(drop, select_rows(both, slice(len(drop))), select_rows(both, slice(len(drop), None)))


def _alike(one: Condition, other: Condition) -> bool:
    """Whether two conditions are of one form, with rows of the same shapes."""
    theirs = parts_of(other)
    return same_form(one, other) and all(part.shape == theirs[name].shape for name, part in parts_of(one).items())
