"""The random streams that users choose by name."""

from collections.abc import Mapping, Sequence
from typing import Final, Protocol

import torch

from guideplug.rng.protocol import Streams
from guideplug.rng.replayed import ReplayedStreams
from guideplug.rng.streams import SampleStreams

__all__ = ["DEFAULT_STREAMS", "STREAMS", "MakeStreams"]


class MakeStreams(Protocol):
    """Streams of some samples: a class of `Streams`."""

    def __call__(self, seed: int, indices: Sequence[int], device: torch.device = ...) -> Streams:
        """The streams of the samples numbered ``indices``."""


DEFAULT_STREAMS: Final = "counter"
STREAMS: Final[Mapping[str, MakeStreams]] = {DEFAULT_STREAMS: SampleStreams, "edm2": ReplayedStreams}
"""``counter``, random access by (seed, sample, purpose, step); ``edm2``, a generator per sample in EDM2's order."""
