"""What samplers and tasks ask of the random streams of some samples."""

from collections.abc import Sequence
from typing import Protocol, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["Streams"]


class Streams(Protocol):
    """The random streams of some samples: a sample's draws do not depend on the others of its batch.

    A draw is named by its purpose and the sampler's step. The purposes of ours are "start noise" and "start label" of a
    `Domain`, and "churn" and "step noise" of samplers.
    """

    @property
    def seed(self) -> int:
        """The seed of all samples."""

    @property
    def indices(self) -> Sequence[int] | NDArray[np.int64]:
        """The samples' numbers."""

    @property
    def device(self) -> torch.device:
        """Where draws are put."""

    def __len__(self) -> int:
        """The number of samples, B."""

    def to(self, device: torch.device | str) -> Self:
        """The same streams, whose draws are put on another device."""

    def uniform(self, shape: Sequence[int], purpose: str, step: int = 0) -> Tensor:
        """Uniform draws in (0, 1), float64, (B, *shape).

        Raises:
            GuideplugError: such streams do not give this draw, or not now; so do the others.
        """

    def normal(self, shape: Sequence[int], purpose: str, step: int = 0) -> Tensor:
        """Standard normal draws, float32, (B, *shape)."""

    def integers(self, high: int, purpose: str, step: int = 0) -> Tensor:
        """Integers in [0, high), int64, (B,)."""
