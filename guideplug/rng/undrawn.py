"""Global random generators, from which nothing that decides a result may be drawn."""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import numpy as np
import torch

__all__ = ["draws_undone", "undrawn"]


def _states() -> dict[str, Any]:
    numpy = cast(tuple[Any, ...], np.random.get_state())  # noqa: NPY002 - to see whether someone used it
    return {
        "torch's": torch.random.get_rng_state().numpy().tobytes(),
        "NumPy's": (numpy[1].tobytes(), *numpy[2:]),
        "Python's": random.getstate(),
    }


@contextmanager
def undrawn(refusal: Callable[[str], Exception]) -> Iterator[None]:
    """A block that draws from no global generator on the host.

    Args:
        refusal: the error of what broke the contract that it is given in words.

    Raises:
        Exception: the refusal, where something was drawn.
    """
    before = _states()
    yield
    for name, state in _states().items():
        if state != before[name]:
            raise refusal(f"drew from {name} global generator: draw from the streams or the generator that is given")


@contextmanager
def draws_undone() -> Iterator[None]:
    """A block after which Python's generator is as before, such as the first import of a library that draws."""
    before = random.getstate()
    try:
        yield
    finally:
        random.setstate(before)
