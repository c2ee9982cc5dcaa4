"""Paired differences with confidence intervals, over seeds by Student's t."""

import math
import statistics
from collections.abc import Sequence

import attrs

__all__ = ["Difference", "confidence_interval"]


@attrs.frozen
class Difference:
    """A paired difference of two arms over ``count`` seeds or samples, with its 95 % confidence interval."""

    mean: float
    low: float
    high: float
    count: int

    @property
    def clear(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.low > 0 or self.high < 0


def confidence_interval(gaps: Sequence[float]) -> Difference | None:
    """The mean of differences and its 95 % confidence interval.

    None for fewer than two, and if all are equal and not 0: metrics that count samples are discrete, so that a few
    seeds may agree by chance, and an interval of width 0 would be overconfident.
    """
    if len(gaps) < 2 or (gaps[0] != 0 and len(set(gaps)) == 1):
        return None
    from scipy.stats import t  # half a second to import

    mean = statistics.fmean(gaps)
    half = float(t.ppf(0.975, len(gaps) - 1)) * statistics.stdev(gaps) / math.sqrt(len(gaps))
    return Difference(mean, mean - half, mean + half, len(gaps))
