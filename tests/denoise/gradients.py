"""Functions that a gradient is taken of, and a network that records how it was called."""

import torch

from guideplug.denoise import (
    Leaf,
    Space,
)
from guideplug.testing import example_condition


class Watched(Leaf):
    """A network with parameters that notes with which modes it was asked."""

    def __init__(self, mean=0.1, std=0.5):
        super().__init__(Space((2,), sigma_data=std))
        self.mean, self.std = torch.nn.Parameter(torch.tensor(mean)), std
        self.modes = []

    def denoise(self, x, sigma, condition):
        self.modes.append((torch.is_grad_enabled(), x.requires_grad))
        variance = sigma[:, None] ** 2
        return (self.std**2 * x + variance * (self.mean + 0.1 * x.sin())) / (self.std**2 + variance)


def bowl(x, sigma, condition):
    """log N(x; 1, 1 + sigma^2), whose gradient is (1 - x) / (1 + sigma^2)."""
    return -0.5 * ((x - 1) ** 2).sum(1) / (1 + sigma**2)


def towards(x, sigma, condition):
    """log N(x; the condition's, 1)."""
    goal = 0.0 if condition is None else condition.to(x.dtype)[:, None]
    return -0.5 * ((x - goal) ** 2).sum(1)


def given(kind="none", batch=4):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(batch, 2, generator=generator), example_condition(kind, batch, generator)


def by_differences(function, x, step=1e-5):
    """The gradient of the sum of (B,) values, by central differences in float64."""
    slope = torch.zeros_like(x)
    for index in range(x.shape[1]):
        shift = torch.zeros_like(x)
        shift[:, index] = step
        slope[:, index] = (function(x + shift) - function(x - shift)) / (2 * step)
    return slope
