"""Random numbers: counter-based streams, by sample and step."""

from guideplug.rng.keyed import KeyedRandom, SampleKeys, asked_samples
from guideplug.rng.streams import SampleStreams, TrainingStreams, derived_seed, philox
from guideplug.rng.undrawn import undrawn

__all__ = [
    "KeyedRandom",
    "SampleKeys",
    "SampleStreams",
    "TrainingStreams",
    "asked_samples",
    "derived_seed",
    "philox",
    "undrawn",
]
