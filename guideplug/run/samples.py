"""Samples from a file of a run or of any origin: checked, and read as arms to measure."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from guideplug.denoise import Condition, from_arrays, is_part, parts_of
from guideplug.errors import UsageError
from guideplug.files.atomic import check_unchanged
from guideplug.files.opening import is_there
from guideplug.files.reading import read_arrays
from guideplug.task import Arm, Task

__all__ = ["check_condition", "read_arms"]

PREFIX = "condition."


def read_arms(path: Path, task: Task) -> list[Arm]:
    """The arms in a file: ``.npy`` with one array (N, *), or ``.npz`` with an array per arm.

    In an ``.npz``, "condition" or "condition.NAME" hold the conditions of the samples (`guideplug.denoise`), and
    "start" their initial noise. Nothing in the file is executed: arrays of objects, which are pickles, are refused.

    Raises:
        UsageError: no such file, another format, or arrays that are no samples of the task.
    """
    arrays = _arrays(path)
    samples = {name: array for name, array in arrays.items() if name != "start" and not is_part(name)}
    if not samples:
        raise UsageError(f"{path} holds no samples: give an array (N, {_shape(task)}) under any name")
    condition = _condition(arrays)
    start = None if "start" not in arrays else _checked(f"{path}: start", arrays["start"], task)
    arms = []
    for name, array in samples.items():
        values = _checked(f"{path}: {name}", array, task)
        where = f"{path}: {name} has {len(array)} samples"
        for part, beside in arrays.items():
            if part not in samples and len(beside) != len(array):
                raise UsageError(f"{where}, {part} has {len(beside)} rows: give one for each sample")
        arms.append(Arm(name, values, condition, start))
    return arms


def check_condition(given: Condition, expected: Condition, path: str, task: Task) -> None:
    """Refuse a condition of another kind than the task's; a missing one is left to the metrics.

    Raises:
        UsageError: the file's kind of condition, and the task's.
    """
    if given is not None and _kind(given) != _kind(expected):
        raise UsageError(
            f"{path}: condition is {_kind(given)}, and samples of task {task.name!r} are drawn under {_kind(expected)}"
        )


def _kind(condition: Condition) -> str:
    """The kind of a condition's rows, in words."""
    parts = sorted(parts_of(condition).items())
    return " and ".join(f"{name}: {_form(part)}" if name else _form(part) for name, part in parts) or "none"


def _form(part: Tensor) -> str:
    whole = not (part.is_floating_point() or part.is_complex())
    return f"{'integers' if whole else 'numbers'} of shape (N{''.join(f', {n}' for n in part.shape[1:])})"


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    if path.is_dir() or not is_there(path):
        problem = "is a folder: give a samples file in it, such as samples.npz" if path.is_dir() else "does not exist"
        raise UsageError(f"{path} {problem}")
    check_unchanged(path)
    try:
        arrays = read_arrays(path)
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{path} is no whole .npy or .npz file of numbers ({error}): write one with numpy.save or numpy.savez; "
            "pickles are not read, since they can execute code"
        ) from None
    for name, array in arrays.items():
        if array.dtype.kind not in "fiub":
            raise UsageError(
                f"{path}: {name} holds {array.dtype}, and samples are numbers: give arrays of numbers only"
            )
        if array.ndim == 0:
            raise UsageError(f"{path}: {name} is a single value: give an array, one row per sample")
    return {name: array.astype(array.dtype.newbyteorder("="), copy=False) for name, array in arrays.items()}


def _checked(where: str, array: NDArray[Any], task: Task) -> Tensor:
    if array.shape[1:] != task.space.shape:
        labels = array.ndim == 1 and array.dtype.kind in "iu"
        raise UsageError(
            f"{where} has shape {array.shape}, and samples of task {task.name!r} are (N, {_shape(task)})"
            + (": call it condition if these are the labels" if labels else "")
        )
    if len(array) < 2:
        raise UsageError(f"{where} has {len(array)} samples: metrics need at least 2")
    if array.dtype.kind != "f":
        raise UsageError(f"{where} is of type {array.dtype}: give floating-point numbers in the units of the task")
    with np.errstate(over="ignore"):
        values = array.astype(np.float32)
    wrong = ~np.isfinite(values.reshape(len(values), -1)).all(1)
    if wrong.any():
        first = int(np.flatnonzero(wrong)[0])
        raise UsageError(f"{where}: {int(wrong.sum())} samples are not finite in float32, the first is number {first}")
    return torch.from_numpy(values)


def _condition(arrays: Mapping[str, NDArray[Any]]) -> Condition:
    if "condition" not in arrays and PREFIX in arrays:
        raise UsageError(f"an array is called {PREFIX!r}: name the part of the condition, as in {PREFIX}text")
    try:
        return from_arrays(arrays)
    except ValueError as error:
        raise UsageError(str(error)) from None


def _shape(task: Task) -> str:
    return ", ".join(map(str, task.space.shape))
