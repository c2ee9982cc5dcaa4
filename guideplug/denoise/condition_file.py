"""The arrays of a condition in a file: ``condition``, ``condition.text``, ``condition.added.text_embeds``,
``condition.images[0]``; ``condition.image:none``, False per sample, stands for a None inside.

Of names in mappings the characters ``%.[]:`` are written as ``%2E`` and so on. Types that numpy lacks, such as
bfloat16, are written as float32; a tuple is read back as a list.
"""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from guideplug.denoise.condition import Condition, parts_of

__all__ = ["as_arrays", "from_arrays", "is_part"]

ARRAY = "condition"
NONE = ":none"
ESCAPES = {ord(character): f"%{ord(character):02X}" for character in "%.[]:"}
STEP = re.compile(r"\.([^.\[\]:]+)|\[(\d+)\]")
"""A step of a name: ``.text``, of a mapping, or ``[0]``, of a list."""


def is_part(array: str) -> bool:
    """Whether an array of this name belongs to a condition."""
    return array == ARRAY or array.startswith((f"{ARRAY}.", f"{ARRAY}["))


def as_arrays(condition: Condition) -> dict[str, NDArray[Any]]:
    """The arrays of a condition on the CPU, by name."""
    rows = next((len(part) for part in parts_of(condition).values()), 0)
    return {} if condition is None else dict(_named(condition, ARRAY, rows))


def _named(condition: Condition, name: str, rows: int) -> list[tuple[str, NDArray[Any]]]:
    if condition is None:
        return [(f"{name}{NONE}", np.zeros(rows, bool))]
    if isinstance(condition, Tensor):
        return [(name, _array(condition))]
    if isinstance(condition, Mapping):
        steps = [(f".{key.translate(ESCAPES)}", part) for key, part in condition.items()]
    else:
        steps = [(f"[{index}]", part) for index, part in enumerate(condition)]
    return [pair for step, part in steps for pair in _named(part, f"{name}{step}", rows)]


def _array(part: Tensor) -> NDArray[Any]:
    plain = (torch.float16, torch.float32, torch.float64)
    return (part.float() if part.is_floating_point() and part.dtype not in plain else part).numpy()


def from_arrays(arrays: Mapping[str, NDArray[Any]]) -> Condition:
    """The condition whose arrays, as of `as_arrays`, are among these; None if there are none.

    Raises:
        ValueError: an array holds what others hold parts of, as ``condition`` beside ``condition.text``.
    """
    tree: dict[str | int, Any] = {}
    for name in filter(is_part, arrays):
        *steps, last = ["", *_steps(name.removesuffix(NONE).removeprefix(ARRAY))]
        place: Any = tree
        for step in steps:
            place = place.setdefault(step, {}) if isinstance(place, dict) else None
        if not isinstance(place, dict) or last in place:
            raise ValueError(f"{name} is an array beside arrays of parts of it: leave one of them out")
        place[last] = None if name.endswith(NONE) else torch.from_numpy(arrays[name])
    condition: Condition = _lists(tree.get(""))
    return condition


def _steps(name: str) -> list[str | int]:
    return [int(index) if index else unquote(key) for key, index in STEP.findall(name)]


def _lists(tree: Any) -> Any:
    """The tree with a list for each mapping of numbers."""
    if not isinstance(tree, dict):
        return tree
    if all(isinstance(key, int) for key in tree):
        return [_lists(tree[key]) for key in sorted(tree)]
    return {key: _lists(part) for key, part in tree.items()}
