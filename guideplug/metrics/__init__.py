"""Measures that any task and any loop may use: of two sets of points, of resamples, and paired statistics of measures.

    from guideplug.metrics import frechet_distance, precision_recall

Imported when they are first used, as the names of `guideplug` are.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from guideplug.metrics.bootstrap import paired_bootstrap as paired_bootstrap
    from guideplug.metrics.energy import energy_distance as energy_distance
    from guideplug.metrics.frechet import frechet_distance as frechet_distance
    from guideplug.metrics.frechet import gaussian_wasserstein as gaussian_wasserstein
    from guideplug.metrics.gaussian import Gaussian as Gaussian
    from guideplug.metrics.held_out import Candidates as Candidates
    from guideplug.metrics.held_out import held_out_interval as held_out_interval
    from guideplug.metrics.kernel import KernelDistance as KernelDistance
    from guideplug.metrics.kernel import kernel_distance as kernel_distance
    from guideplug.metrics.manifold import DensityCoverage as DensityCoverage
    from guideplug.metrics.manifold import NeighbourBalls as NeighbourBalls
    from guideplug.metrics.manifold import PrecisionRecall as PrecisionRecall
    from guideplug.metrics.manifold import density_coverage as density_coverage
    from guideplug.metrics.manifold import neighbour_balls as neighbour_balls
    from guideplug.metrics.manifold import precision_recall as precision_recall
    from guideplug.metrics.moments import Moments as Moments
    from guideplug.metrics.neighbours import Neighbours as Neighbours
    from guideplug.metrics.neighbours import nearest_neighbours as nearest_neighbours
    from guideplug.metrics.real_samples import BallCoverage as BallCoverage
    from guideplug.metrics.real_samples import BallDensity as BallDensity
    from guideplug.metrics.real_samples import BallMetric as BallMetric
    from guideplug.metrics.real_samples import BallPrecision as BallPrecision
    from guideplug.metrics.real_samples import BallRecall as BallRecall
    from guideplug.metrics.real_samples import NearestTraining as NearestTraining
    from guideplug.metrics.reference_statistics import ReferenceStatistics as ReferenceStatistics
    from guideplug.metrics.resampled import resampled_coverage as resampled_coverage
    from guideplug.metrics.resampled import resampled_energy_distance as resampled_energy_distance
    from guideplug.metrics.resampled import resampled_frechet_distance as resampled_frechet_distance
    from guideplug.metrics.resampled import resampled_median as resampled_median
    from guideplug.metrics.statistics import Difference as Difference
    from guideplug.metrics.statistics import confidence_interval as confidence_interval
    from guideplug.metrics.transport import sliced_wasserstein as sliced_wasserstein
    from guideplug.metrics.transport import wasserstein as wasserstein

_FILES = {
    "bootstrap": ["paired_bootstrap"],
    "energy": ["energy_distance"],
    "frechet": ["frechet_distance", "gaussian_wasserstein"],
    "gaussian": ["Gaussian"],
    "held_out": ["Candidates", "held_out_interval"],
    "kernel": ["KernelDistance", "kernel_distance"],
    "manifold": [
        "DensityCoverage", "NeighbourBalls", "PrecisionRecall", "density_coverage", "neighbour_balls",
        "precision_recall",
    ],
    "moments": ["Moments"],
    "neighbours": ["Neighbours", "nearest_neighbours"],
    "real_samples": [
        "BallCoverage", "BallDensity", "BallMetric", "BallPrecision", "BallRecall", "NearestTraining",
    ],
    "reference_statistics": ["ReferenceStatistics"],
    "resampled": [
        "resampled_coverage", "resampled_energy_distance", "resampled_frechet_distance", "resampled_median",
    ],
    "statistics": ["Difference", "confidence_interval"],
    "transport": ["sliced_wasserstein", "wasserstein"],
}  # fmt: skip
_WHERE = {name: file for file, names in _FILES.items() for name in names}

__all__ = sorted(_WHERE)


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'guideplug.metrics' has no attribute {name!r}")
    return getattr(import_module(f"guideplug.metrics.{_WHERE[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__, *(name for name in globals() if name.startswith("__"))]
