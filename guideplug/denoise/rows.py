"""Per-row values of a batch."""

from torch import Tensor

__all__ = ["per_row"]


def per_row(values: Tensor, x: Tensor) -> Tensor:
    """Values (B,) or (1,), one per row of x (B, *), with axes of size 1 appended so that they broadcast."""
    return values.reshape(-1, *[1] * (x.ndim - 1))
