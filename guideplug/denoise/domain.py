"""What sampling needs to know, apart from what a task is: the data's space, where samples start, what fits them."""

from typing import Protocol

from attrs import frozen
from torch import Tensor

from guideplug.denoise.condition import Condition
from guideplug.denoise.space import Space
from guideplug.rng import SampleStreams

__all__ = ["DEFAULT_SAMPLER", "Domain", "NoiseDomain", "Start"]

DEFAULT_SAMPLER = "default"
"""The sampler of those that name none: a preset, which a plugin offers."""


@frozen
class Start:
    """Where sampling starts: x (B, *) at the highest noise level, and the conditions to sample under."""

    x: Tensor
    condition: Condition = None


class Domain(Protocol):
    """What samplers and networks need: a task is one, and so is every network (`Leaf`), and `NoiseDomain`.

    Networks are built for one.
    """

    @property
    def space(self) -> Space:
        """Data shape, standard deviation, and noise levels."""

    @property
    def num_labels(self) -> int | None:
        """How many labels a condition chooses from, 0 to num_labels - 1; None where conditions are no labels.

        What other conditions are like is seen at a `start`.
        """

    def start(self, streams: SampleStreams, sigma: float) -> Start:
        """The starts of the samples that ``streams`` numbers, at noise level ``sigma``."""

    def sampler(self) -> str:
        """The expression of the sampler that fits, used where the user names none."""


@frozen
class NoiseDomain:
    """A domain without data: samples start from noise alone, under labels that are drawn evenly where it has some.

    Args:
        space: where samples live.
        num_labels: how many labels a condition chooses from; None for no conditions.
    """

    space: Space
    num_labels: int | None = None

    def start(self, streams: SampleStreams, sigma: float) -> Start:
        """Noise of standard deviation ``sigma``, (B, *shape), and labels (B,)."""
        labels = None if not self.num_labels else streams.integers(self.num_labels, "start label")
        return Start(sigma * streams.normal(self.space.shape, "start noise"), labels)

    def sampler(self) -> str:
        return DEFAULT_SAMPLER
