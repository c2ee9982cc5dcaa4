"""Statistics of measures that any task may use: paired intervals over samples, and measures of resamples."""

from guideplug.metrics.bootstrap import paired_bootstrap
from guideplug.metrics.resampled import (
    resampled_coverage,
    resampled_energy_distance,
    resampled_frechet_distance,
    resampled_median,
)

__all__ = [
    "paired_bootstrap",
    "resampled_coverage",
    "resampled_energy_distance",
    "resampled_frechet_distance",
    "resampled_median",
]
