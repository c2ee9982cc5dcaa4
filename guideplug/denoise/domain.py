"""The part of a task that sampling needs: the data's space, initial states, and the default sampler."""

from typing import Protocol

from attrs import frozen
from torch import Tensor

from guideplug.denoise.condition import Condition
from guideplug.denoise.space import Space
from guideplug.rng import Streams

__all__ = ["DEFAULT_SAMPLER", "FLOW_SAMPLER", "Domain", "NoiseDomain", "Start"]

DEFAULT_SAMPLER = "default"
"""The sampler of domains that name none: a preset of a plugin."""

FLOW_SAMPLER = "flow"
"""The sampler of flow networks: a preset of a plugin."""


@frozen
class Start:
    """Initial states of sampling: x (B, *) at the highest noise level, and the conditions."""

    x: Tensor
    condition: Condition = None


class Domain(Protocol):
    """The interface of samplers and networks to data: tasks, networks (`Leaf`) and `NoiseDomain` implement it.

    Networks are built for a domain.
    """

    @property
    def space(self) -> Space:
        """Data shape, standard deviation, and noise levels."""

    @property
    def num_labels(self) -> int | None:
        """The number of labels, 0 to num_labels - 1; None if conditions are not labels.

        A `start` shows the form of other conditions.
        """

    def start(self, streams: Streams, sigma: float) -> Start:
        """The initial states of the samples numbered by ``streams``, at noise level ``sigma``."""

    def sampler(self) -> str:
        """The expression of the default sampler."""


@frozen
class NoiseDomain:
    """A domain without data: samples start from noise, under uniformly drawn labels if it has any.

    Args:
        space: the space of the samples.
        num_labels: the number of labels; None for no conditions.
    """

    space: Space
    num_labels: int | None = None

    def start(self, streams: Streams, sigma: float) -> Start:
        """Noise of standard deviation ``sigma``, (B, *shape), and labels (B,)."""
        noise = streams.normal(self.space.shape, "start noise")  # first: streams may give draws in this order alone
        return Start(sigma * noise, streams.integers(self.num_labels, "start label") if self.num_labels else None)

    def sampler(self) -> str:
        return DEFAULT_SAMPLER
