"""Statistics of measures that any task may use: paired intervals over samples, and measures of resamples."""

from guideplug.metrics.bootstrap import paired_bootstrap
from guideplug.metrics.held_out import Candidates, held_out_interval
from guideplug.metrics.resampled import (
    resampled_coverage,
    resampled_energy_distance,
    resampled_frechet_distance,
    resampled_median,
)
from guideplug.metrics.statistics import Difference, confidence_interval

__all__ = [
    "Candidates",
    "Difference",
    "confidence_interval",
    "held_out_interval",
    "paired_bootstrap",
    "resampled_coverage",
    "resampled_energy_distance",
    "resampled_frechet_distance",
    "resampled_median",
]
