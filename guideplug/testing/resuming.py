"""The law of a recipe with its own training: stopped after any step and resumed, it gives the same weights."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor

from guideplug.observe import Observers
from guideplug.recipe import Recipe
from guideplug.run.builder import StoreBuilder
from guideplug.store import Store

__all__ = ["check_resumes"]


class _Stopped(BaseException):
    """The end of a try."""


class _StopAfter:
    """A stop after a number of calls."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def __call__(self) -> None:
        self.left -= 1
        if self.left == 0:
            raise _Stopped


def check_resumes(recipe: Recipe, steps: Sequence[int] = (1, 2, 3)) -> None:
    """Make a recipe's module uninterrupted, and stopped and resumed several times: the weights are the same.

    Args:
        recipe: a short one, of a few steps.
        steps: steps per try before it is stopped; the last try is not stopped.

    Raises:
        AssertionError: the weights differ, or a try did not resume.
    """
    with TemporaryDirectory() as whole, TemporaryDirectory() as stopped:
        undisturbed = _weights_after(recipe, Path(whole), None)
        for count in steps:
            before = _saved(Path(stopped))
            assert _weights_after(recipe, Path(stopped), count) is None, (
                f"{recipe.name} ends before {count} further steps: stop"
            )
            assert _saved(Path(stopped)) != before, f"{recipe.name} kept no state: call builder.checkpoint"
        resumed = _weights_after(recipe, Path(stopped), None)
    assert undisturbed is not None
    assert resumed is not None
    different = [name for name, value in undisturbed.items() if not torch.equal(value, resumed[name])]
    assert not different, f"{recipe.name} stopped and resumed has other {', '.join(different)}: draw by step alone"


def _weights_after(recipe: Recipe, folder: Path, stop_after: int | None) -> dict[str, Tensor] | None:
    """The weights, or None if it was stopped."""
    stop = (lambda: None) if stop_after is None else _StopAfter(stop_after)
    try:
        module = StoreBuilder(Store(folder), torch.device("cpu"), Observers(), stop=stop).obtain(recipe)
    except _Stopped:
        return None
    return dict(module.state_dict())


def _saved(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted(folder.glob("*.partial/state.safetensors"))]
