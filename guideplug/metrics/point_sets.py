"""Sets of points, checked before they are measured: matrices (N, D) of finite numbers, a row per sample."""

import torch
from torch import Tensor

__all__ = ["check_pair", "check_points"]


def check_points(points: Tensor, name: str, least: int = 1) -> None:
    """Refuse what is no set of points.

    Args:
        points: (N, D), float32 or float64, N >= ``least``, D >= 1.
        name: of the argument, for the message.
        least: how many rows are needed.

    Raises:
        TypeError: no tensor.
        ValueError: another shape, fewer rows, another dtype, or a value that is not finite.
    """
    if not isinstance(points, Tensor):
        raise TypeError(f"{name} is of type {type(points).__name__}: give a torch tensor (N, D), a row per sample")
    shape = tuple(points.shape)
    if points.ndim != 2 or points.shape[1] < 1:
        raise ValueError(f"{name} has shape {shape}: give a matrix (N, D), a row per sample, as {name}.flatten(1)")
    if len(points) < least:
        raise ValueError(f"{name} has shape {shape}, {len(points)} rows: give at least {least}")
    if points.dtype not in (torch.float32, torch.float64):  # torch computes no distances of half precision
        raise ValueError(f"{name} is of {points.dtype}: give float32 or float64, as {name}.float()")
    finite = points.isfinite().all(1)
    if not finite.all():
        row = int((~finite).nonzero()[0, 0])
        raise ValueError(
            f"{name}: a value is not finite, first in the point of row {row}; where points are features, the samples "
            "themselves may be finite"
        )


def check_pair(samples: Tensor, true: Tensor, least: int = 1) -> None:
    """Refuse what are no two sets of points of one space.

    Args:
        samples: (N, D), N >= ``least``.
        true: (M, D), M >= ``least``, of the same dtype and device.
        least: how many rows of each are needed.

    Raises:
        TypeError: as `check_points`.
        ValueError: as `check_points`; or different widths, dtypes or devices.
    """
    check_points(samples, "samples", least)
    check_points(true, "true", least)
    if samples.shape[1] != true.shape[1]:
        raise ValueError(f"samples has {samples.shape[1]} columns and true {true.shape[1]}: give both the same columns")
    if samples.dtype != true.dtype:
        raise ValueError(f"samples is of {samples.dtype} and true of {true.dtype}: give both the same, as .double()")
    if samples.device != true.device:
        raise ValueError(f"samples is on {samples.device} and true on {true.device}: move both to one device")
