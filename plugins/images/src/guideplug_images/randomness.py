"""Global random numbers for code that knows no other: seeded for a block, and restored after it."""

import contextlib
import random
from collections.abc import Iterator

import numpy as np
import torch

__all__ = ["restored_random_numbers", "seed_random_numbers"]


@contextlib.contextmanager
def restored_random_numbers() -> Iterator[None]:
    """A block after which the global generators of torch (CPU), NumPy and Python are as before."""
    states = random.getstate(), np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng(devices=[]):
        try:
            yield
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])  # noqa: NPY002


def seed_random_numbers(seed: int) -> None:
    """Seed these generators; the seed is from 0 to 2**32 - 1, as NumPy's."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    torch.default_generator.manual_seed(seed)
