"""Noise: levels and random streams."""

from guideplug.noise.levels import LogNormal, LogUniform, NoiseDistribution, grid_position, sigma_grid
from guideplug.noise.streams import SampleStreams, TrainingStreams, derived_seed, philox

__all__ = [
    "LogNormal",
    "LogUniform",
    "NoiseDistribution",
    "SampleStreams",
    "TrainingStreams",
    "derived_seed",
    "grid_position",
    "philox",
    "sigma_grid",
]
