"""Networks that answer what they were made with, and formulas of one sample, for tests of shapes."""

import pytest
import torch

from guideplug import Guider, Leaf, Space
from guideplug.config import Reader
from guideplug.registry.registry import Registry

READER = Reader(Registry.installed())
IMAGE = (3, 6, 5)
BATCH = 4
WEIGHTS = [0.0, 1.5, 4.0]
SIGMAS = [20.0, 0.7, 0.02]
GENERATOR = torch.Generator().manual_seed(0)
X, BASE, OTHER = (torch.randn(BATCH, *IMAGE, generator=GENERATOR, dtype=torch.float64) for _ in range(3))
OTHER = 0.8 * BASE + 0.5 * OTHER  # alike, as two networks are


class Given(Leaf):
    """A network that answers what it was made with."""

    def __init__(self, *answers: torch.Tensor) -> None:
        super().__init__(Space(tuple(answers[0].shape[1:])))
        self.answers = list(answers)

    def denoise(self, x, sigma, condition):
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def guided(text, base=BASE, other=OTHER):
    return READER.expression(text, Guider).guide(Given(base), {"weak": Given(other)})


def rows(formula, *tensors, x=X):
    """A formula of one sample, for each sample: the paper's, in NumPy."""
    return torch.stack([torch.from_numpy(formula(*(t[i].numpy() for t in tensors))) for i in range(len(x))])


def diffusers(module):
    return pytest.importorskip(f"diffusers.guiders.{module}")


def close(a, b, rtol=1e-9, atol=1e-9):
    torch.testing.assert_close(a, b, rtol=rtol, atol=atol)
