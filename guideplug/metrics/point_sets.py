"""Sets of points, checked before they are measured: matrices (N, D) of finite numbers, a row per sample."""

from torch import Tensor

__all__ = ["check_pair", "check_points"]


def check_points(points: Tensor, name: str, least: int = 1) -> None:
    """Refuse what is no set of points.

    Args:
        points: (N, D), floating-point, N >= ``least``, D >= 1.
        name: of the argument, for the message.
        least: how many rows are needed.

    Raises:
        TypeError: no tensor.
        ValueError: another shape, fewer rows, whole numbers, or a value that is not finite.
    """
    if not isinstance(points, Tensor):
        raise TypeError(f"{name} is of type {type(points).__name__}: give a torch tensor (N, D), a row per sample")
    shape = tuple(points.shape)
    if points.ndim != 2 or points.shape[1] < 1:
        raise ValueError(f"{name} has shape {shape}: give a matrix (N, D), a row per sample, as {name}.flatten(1)")
    if len(points) < least:
        raise ValueError(f"{name} has shape {shape}, {len(points)} rows: give at least {least}")
    if not points.is_floating_point():
        raise ValueError(f"{name} is of {points.dtype}: give floating-point numbers, as {name}.float()")
    finite = points.isfinite().all(1)
    if not finite.all():
        raise ValueError(f"{name} holds a value that is not finite, first in row {int((~finite).nonzero()[0, 0])}")


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
