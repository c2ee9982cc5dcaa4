"""Random numbers: streams by sample and step, counter-based or replayed, and generators of training steps."""

from guideplug.rng.choice import DEFAULT_STREAMS, STREAMS, MakeStreams
from guideplug.rng.keyed import KeyedRandom, SampleKeys, asked_samples
from guideplug.rng.protocol import Streams
from guideplug.rng.replayed import ReplayedStreams
from guideplug.rng.streams import SampleStreams, TrainingStreams, derived_seed, philox
from guideplug.rng.undrawn import draws_undone, undrawn

__all__ = [
    "DEFAULT_STREAMS",
    "STREAMS",
    "KeyedRandom",
    "MakeStreams",
    "ReplayedStreams",
    "SampleKeys",
    "SampleStreams",
    "Streams",
    "TrainingStreams",
    "asked_samples",
    "derived_seed",
    "draws_undone",
    "philox",
    "undrawn",
]
