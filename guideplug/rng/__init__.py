"""Random numbers: counter-based streams, by sample and step."""

from guideplug.rng.keyed import Draws, Samples, asked_samples
from guideplug.rng.streams import SampleStreams, TrainingStreams, derived_seed, philox

__all__ = [
    "Draws",
    "SampleStreams",
    "Samples",
    "TrainingStreams",
    "asked_samples",
    "derived_seed",
    "philox",
]
