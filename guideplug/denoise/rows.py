"""Values of rows: one number for each sample of a batch, beside the samples."""

from torch import Tensor

__all__ = ["per_row"]


def per_row(values: Tensor, x: Tensor) -> Tensor:
    """Values (B,) or (1,), one for each row of x (B, *), with axes of size 1 so that they broadcast over the row."""
    return values.reshape(-1, *[1] * (x.ndim - 1))
