"""What samples are compared with: fresh true samples, and the density levels that hold given shares of the data.

The true samples are others than those of the arm "truth", one set for all arms of a run; distances from them are
therefore the noise of counting in that arm.
"""

from functools import lru_cache
from typing import Protocol, cast

import torch
from torch import Tensor

from guideplug import Context, SampleStreams
from guideplug_mixture.data import draw_points
from guideplug_mixture.density import Gaussians

__all__ = ["density_of", "levels", "reference"]

NUM_REFERENCE = 16384
NUM_LEVELS = 65536


class HasDensity(Protocol):
    """The interface of tasks with a Gaussian mixture as density."""

    @property
    def density(self) -> Gaussians: ...


def density_of(context: Context) -> Gaussians:
    """The density of the task's data."""
    return cast(HasDensity, context.task).density


def reference(context: Context) -> tuple[Tensor, Tensor]:
    """16,384 true samples (N, 2), and the number of the group that each is of (N,)."""
    streams = SampleStreams(context.seed, range(NUM_REFERENCE))
    return context.once("reference", lambda: draw_points(density_of(context), streams, "reference"))


@lru_cache(maxsize=16)
def levels(density: Gaussians, shares: tuple[float, ...]) -> tuple[float, ...]:
    """For each share of the data, the log density that it lies above: quantiles over 65,536 true samples."""
    true, _ = draw_points(density, SampleStreams(0, range(NUM_LEVELS)), "levels")
    below = torch.tensor([1 - share for share in shares], dtype=torch.float64)
    return tuple(density.log_prob(true.double()).quantile(below).tolist())
