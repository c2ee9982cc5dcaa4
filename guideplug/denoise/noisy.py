"""Noisy samples: the floating-point tensors x that denoisers are evaluated at, and their noise levels."""

import torch
from torch import Tensor

from guideplug.errors import DenoiserError

__all__ = ["check_noisy", "wide"]


def check_noisy(x: Tensor) -> None:
    """Refuse what are no noisy samples.

    Raises:
        DenoiserError: x holds integers or truth values, such as the bytes of an image.
    """
    if not x.is_floating_point():
        raise DenoiserError(
            f"x is of type {str(x.dtype).removeprefix('torch.')}: noisy samples are floating-point numbers in the "
            "units of the data; bytes of images in [-1, 1] are x.float() / 127.5 - 1"
        )


def wide(dtype: torch.dtype) -> torch.dtype:
    """The type of computations on samples of a type: float32, or the type itself if it is wider."""
    return torch.promote_types(dtype, torch.float32)
