"""Samples in a file, from a run or from anywhere: read with every check, as arms to be measured."""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.lib.npyio import NpzFile
from numpy.typing import NDArray

from guideplug.denoise import Condition
from guideplug.errors import UsageError
from guideplug.task import Arm, Task

__all__ = ["check_condition", "read_arms"]

PREFIX = "condition."


def read_arms(path: Path, task: Task) -> list[Arm]:
    """The arms in a file: ``.npy`` with one array (N, *), or ``.npz`` with one array for each arm.

    In an ``.npz``, "condition" or "condition.NAME" are what the samples were drawn under, and "start" the noise that
    they came from. Nothing in the file is executed: arrays of objects, which are pickles, are refused.

    Raises:
        UsageError: no such file, another format, or arrays that are no samples of the task.
    """
    arrays = _arrays(path)
    named = {name: array for name, array in arrays.items() if name not in ("condition", "start")}
    samples = {name: array for name, array in named.items() if not name.startswith(PREFIX)}
    if not samples:
        raise UsageError(f"{path} holds no samples: give an array (N, {_shape(task)}) under any name")
    condition = _condition(arrays)
    start = arrays.get("start")
    found = []
    for name, array in samples.items():
        _check(f"{path}: {name}", array, task)
        where = f"{path}: {name} has {len(array)} samples"
        for part, values in arrays.items():
            if part not in samples and len(values) != len(array):
                raise UsageError(f"{where}, {part} has {len(values)} rows: give one for each sample")
        known = None if start is None else torch.from_numpy(start.astype(np.float32))
        found.append(Arm(name, torch.from_numpy(array.astype(np.float32)), condition, known))
    if start is not None:
        _check(f"{path}: start", start, task)
    return found


def check_condition(given: Condition, expected: Condition, path: str, task: Task) -> None:
    """Refuse a condition of another kind than the task's; none at all is left to the metrics.

    Raises:
        UsageError: what the file has, and what the task's samples are drawn under.
    """
    if given is not None and _kind(given) != _kind(expected):
        raise UsageError(
            f"{path}: condition is {_kind(given)}, and samples of task {task.name!r} are drawn under {_kind(expected)}"
        )


def _kind(condition: Condition) -> str:
    """A condition in words: what each row is."""
    if condition is None:
        return "none"
    if isinstance(condition, Mapping):
        return " and ".join(f"{name}: {_kind(part)}" for name, part in sorted(condition.items()))
    whole = not (condition.is_floating_point() or condition.is_complex())
    return f"{'integers' if whole else 'numbers'} of shape (N{''.join(f', {n}' for n in condition.shape[1:])})"


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    if not path.is_file():
        what = "is a folder: give a samples file in it, such as samples.npz" if path.is_dir() else "does not exist"
        raise UsageError(f"{path} {what}")
    try:
        with path.open("rb") as file:
            found = np.load(file, allow_pickle=False)
            arrays = dict(found) if isinstance(found, NpzFile) else {"samples": found}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        why = " ".join(str(error).split()) or type(error).__name__
        raise UsageError(
            f"{path} is no whole .npy or .npz file of numbers ({why}): write one with numpy.save or numpy.savez; "
            "pickles are not read, since they can execute code"
        ) from None
    for name, array in arrays.items():
        if array.ndim == 0:
            raise UsageError(f"{path}: {name} is a single value: give an array, one row a sample")
    return arrays


def _check(where: str, array: NDArray[Any], task: Task) -> None:
    if array.shape[1:] != task.space.shape:
        raise UsageError(f"{where} has shape {array.shape}, and samples of task {task.name!r} are (N, {_shape(task)})")
    if len(array) < 2:
        raise UsageError(f"{where} has {len(array)} samples: metrics need at least 2")
    if array.dtype.kind != "f":
        raise UsageError(f"{where} is of type {array.dtype}: give floating-point numbers in the units of the task")
    wrong = ~np.isfinite(array.reshape(len(array), -1)).all(1)
    if wrong.any():
        first = int(np.flatnonzero(wrong)[0])
        raise UsageError(f"{where}: {int(wrong.sum())} samples are not finite, the first is number {first}")


def _condition(arrays: Mapping[str, NDArray[Any]]) -> Condition:
    if "condition" in arrays:
        return torch.from_numpy(arrays["condition"])
    parts = {name.removeprefix(PREFIX): array for name, array in arrays.items() if name.startswith(PREFIX)}
    return {name: torch.from_numpy(array) for name, array in parts.items()} or None


def _shape(task: Task) -> str:
    return ", ".join(map(str, task.space.shape))
