"""Shared parts of law tests: tolerances, global draws, inputs of other dtypes and devices."""

import copy
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

from guideplug.rng import undrawn

__all__ = ["BATCH", "SIGMAS", "close", "converted", "no_global_draws", "same"]

TOLERANCE = 1e-4
"""Relative float32 tolerance for results that differ in the order of operations alone."""
SIGMAS = (0.02, 0.5, 7.0)
BATCH = 6

T = TypeVar("T")


def close(a: Tensor, b: Tensor) -> bool:
    """Whether two results are equal up to rounding."""
    return a.shape == b.shape and bool(torch.allclose(a, b.to(a.dtype), rtol=TOLERANCE, atol=TOLERANCE))


def same(a: Any, b: Any) -> bool:
    """Whether two conditions, or tensors, or plain data, are the same."""
    if isinstance(a, Tensor) or isinstance(b, Tensor):
        return isinstance(a, Tensor) and isinstance(b, Tensor) and a.shape == b.shape and torch.equal(a, b)
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    return bool(a == b)


def no_global_draws() -> AbstractContextManager[None]:
    """A block that fails if it draws from a global generator."""
    return undrawn(AssertionError)


def converted(value: T, *, dtype: torch.dtype | None = None, device: str | None = None) -> T:
    """A copy of networks, conditions and tensors with another floating-point dtype, or on another device."""
    moved: Any = copy.deepcopy(value)
    if isinstance(moved, torch.nn.Module):
        return cast(T, moved.to(device=device, dtype=dtype))
    if isinstance(moved, Tensor):
        kind = dtype if moved.is_floating_point() else None
        return cast(T, moved.to(device=device or moved.device, dtype=kind or moved.dtype))
    if isinstance(moved, dict):
        for key in list(moved):
            moved[key] = converted(moved[key], dtype=dtype, device=device)
    return cast(T, moved)
