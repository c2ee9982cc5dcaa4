"""Training data from a mixture of Gaussians: a finite set that is drawn once, or points drawn anew without end.

The set comes from one random stream a point, keyed by a seed: the first 500 of 1,000 points are the 500 of a smaller
set. Targets are the clean points, never the exact denoised ones, so that a finite set is all that training knows.
"""

from typing import final

import torch
from attrs import evolve, frozen
from torch import Tensor
from torch.utils.data import TensorDataset

from guideplug import Examples, FiniteData, SampleStreams, Streams, TrainingStreams, noised
from guideplug_mixture.density import Gaussians

__all__ = ["Fixed", "Fresh", "draw_points"]


def draw_points(density: Gaussians, streams: Streams, purpose: str) -> tuple[Tensor, Tensor]:
    """A clean point (B, 2) for each stream, and the number of its group (B,); on the CPU."""
    on_cpu = streams.to("cpu")
    uniform, normal = on_cpu.uniform((), f"{purpose} component"), on_cpu.normal((2,), f"{purpose} point")
    points, components = density.place(uniform, normal)
    return points, density.groups[components]


@final
@frozen(eq=False)
class Fresh:
    """Points drawn anew in each step.

    Args:
        density: what from.
    """

    density: Gaussians

    def draw(self, sigma: Tensor, streams: TrainingStreams) -> tuple[Examples, Tensor]:
        """One example for each level (B,), without its condition, and its group (B,)."""
        generator = streams.generator("data", "cpu")
        uniform = torch.rand(len(sigma), generator=generator, dtype=torch.float64)
        clean, components = self.density.place(uniform, torch.randn(len(sigma), 2, generator=generator))
        return noised(clean.to(sigma.device), sigma, streams), self.density.groups[components].to(sigma.device)


@final
class Fixed:
    """A finite set of points.

    Args:
        density: what from.
        count: how many.
        seed: decides them.
    """

    def __init__(self, density: Gaussians, count: int, seed: int) -> None:
        self.points, self.groups = draw_points(density, SampleStreams(seed, range(count)), "data")
        self.data = FiniteData(TensorDataset(self.points, self.groups))

    def draw(self, sigma: Tensor, streams: TrainingStreams) -> tuple[Examples, Tensor]:
        """One example for each level (B,), without its condition, and its group (B,)."""
        examples = self.data.draw(sigma, streams)
        assert isinstance(examples.condition, Tensor)
        return evolve(examples, condition=None), examples.condition
