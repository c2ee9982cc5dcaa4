"""The metrics of images by their features, beside a reference: its statistics, or its images.

With statistics there is the Fréchet distance. With images there are the kernel distance, precision, recall, density and
coverage of as many images of both, and with training images the median distance to the nearest of them.

The Fréchet distance of N images is biased upwards, by c / N to first order. With d_N and d_N/2, of half the images,
2 d_N - d_N/2 estimates the distance of infinitely many. Source: M. J. Chong and D. Forsyth 2020, "Effectively Unbiased
FID and Inception Score and where to find them", arXiv:1911.07023, section 4, where more counts are fitted by a line.
"""

import statistics
from collections.abc import Mapping, Sequence
from typing import Final, final

import attrs

from guideplug.metrics.gaussian import Gaussian
from guideplug.metrics.kernel import kernel_distance
from guideplug.metrics.manifold import neighbour_balls
from guideplug.metrics.neighbours import Neighbours
from guideplug.metrics.reference_statistics import ReferenceStatistics
from guideplug.run.image_features import ExtractedFeatures

__all__ = ["ASPECTS", "BEST", "RepeatedValue", "image_metrics", "without_bias"]

NEIGHBOURS: Final = 5
FRECHET, HALF, KERNEL = "Fréchet distance", "Fréchet distance at N/2", "kernel distance"
NEAREST = "nearest training image"
ASPECTS: Final[Mapping[str, str]] = {
    FRECHET: "both",
    HALF: "both",
    KERNEL: "both",
    "precision": "fidelity",
    "density": "fidelity",
    "recall": "coverage",
    "coverage": "coverage",
    NEAREST: "memorisation",
}
BEST: Final[Mapping[str, str]] = {FRECHET: "↓", HALF: "", KERNEL: "↓", NEAREST: "≈"}
"""Which values are better; ↑ where there is no other word."""


@final
@attrs.frozen
class RepeatedValue:
    """A metric's values over repeats."""

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """The mean over repeats."""
        return statistics.fmean(self.values)

    @property
    def deviation(self) -> float | None:
        """The standard deviation over repeats; None of a single one."""
        return statistics.stdev(self.values) if len(self.values) > 1 else None

    @property
    def least(self) -> float:
        """The smallest, which papers print of distances."""
        return min(self.values)


def image_metrics(
    parts: Sequence[ExtractedFeatures],
    reference: ReferenceStatistics,
    images: ExtractedFeatures | None,
    training: Sequence[Neighbours],
    seed: int,
) -> dict[str, RepeatedValue]:
    """The metrics of the repeats of an arm.

    Args:
        parts: the features of each repeat.
        reference: the statistics of the reference.
        images: features of the reference's images; None where there are statistics alone.
        training: of each repeat's rows the nearest training image; empty without training images.
        seed: of subsets of the kernel distance.
    """
    values: dict[str, list[float]] = {}
    for part in parts:
        whole, half = (Gaussian.of(moments) for moments in (part.moments, part.halves[0]))
        row = {FRECHET: whole.frechet(reference.gaussian), HALF: half.frechet(reference.gaussian)}
        if images is not None:
            count = min(len(part.rows), len(images.rows))
            samples, true = (rows[:count].to(part.rows.dtype) for rows in (part.rows, images.rows))
            row[KERNEL] = kernel_distance(samples, true, seed=seed).mean
            if count > NEIGHBOURS:
                balls = neighbour_balls(samples, true, NEIGHBOURS)
                row |= {"precision": float(balls.precise.mean()), "density": float(balls.densities.mean())}
                row |= {"recall": float(balls.recalled.mean()), "coverage": float(balls.covered.mean())}
        for name, value in row.items():
            values.setdefault(name, []).append(value)
    for neighbours in training:
        values.setdefault(NEAREST, []).append(float(neighbours.distances.median()))
    return {name: RepeatedValue(tuple(row)) for name, row in values.items()}


def without_bias(metrics: Mapping[str, RepeatedValue]) -> float:
    """The Fréchet distance of infinitely many images, by a line in 1 / N; of the mean over repeats."""
    return 2 * metrics[FRECHET].mean - metrics[HALF].mean
