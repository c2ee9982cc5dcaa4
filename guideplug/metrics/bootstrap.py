"""A paired bootstrap over samples: how sure the difference of two arms is, whose samples come in pairs.

Two arms of a run start from the same noise, so sample i of one and sample i of the other are a pair. Resamples draw
pairs with replacement and compute the difference anew; with T the difference and T*_q the q quantile over resamples,
the 95 % interval is [2 T - T*_.975, 2 T - T*_.025] (the basic bootstrap: Davison and Hinkley, "Bootstrap Methods and
their Application" 1997, section 2.4), by scipy. Unlike the interval of the quantiles, it takes out the bias that
resampling adds to a distance. Distances that are quadratic near their minimum get intervals that are too wide where
both arms are near the truth: a difference is told too rarely there, not too often.
"""

import warnings
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from guideplug.metrics.statistics import Difference

__all__ = ["paired_bootstrap"]

RESAMPLES = 1000
ROUNDING = 1e-9
MOST_WEIGHTS = 1 << 21
"""Weights held at once."""


def paired_bootstrap(
    differences: Callable[[Tensor], Tensor], count: int, *, seed: int = 0, resamples: int = RESAMPLES
) -> list[Difference | None]:
    """Differences between two arms and their 95 % intervals over samples.

    Args:
        differences: of weights, float64 (R, count), a row per resample: K differences of each, float64 (K, R).
        count: samples of each arm, at least 2.
        seed: of the resamples.
        resamples: how many.

    Returns:
        The K differences of the samples as they are, with intervals; None where one is not finite in some resample.
    """
    from scipy.stats import DegenerateDataWarning, bootstrap  # half a second to import

    def of_indices(indices: NDArray[np.int64], axis: int = -1) -> NDArray[np.float64]:
        rows = np.atleast_2d(indices)
        cells = rows + count * np.arange(len(rows))[:, None]
        counts = np.bincount(cells.ravel(), minlength=count * len(rows)).reshape(len(rows), count)
        values: NDArray[np.float64] = differences(torch.from_numpy(counts).double()).numpy()
        return values if indices.ndim > 1 else values[:, 0]

    once = differences(torch.ones(1, count, dtype=torch.float64))[:, 0].tolist()
    with warnings.catch_warnings(), np.errstate(invalid="ignore"):  # what is not finite is looked for below
        warnings.simplefilter("ignore", DegenerateDataWarning)
        interval = bootstrap(
            (np.arange(count),),
            of_indices,
            vectorized=True,
            n_resamples=resamples,
            batch=max(MOST_WEIGHTS // count, 1),
            method="basic",
            rng=np.random.default_rng(seed),
        ).confidence_interval
    return [
        Difference(value, _settled(low, high - low), _settled(high, high - low), count)
        if np.isfinite([value, low, high]).all()
        else None
        for value, low, high in zip(once, interval.low.tolist(), interval.high.tolist(), strict=True)
    ]


def _settled(bound: float, width: float) -> float:
    """A bound that is 0 but for rounding is 0: measures that count come in steps, and an end at 0 leaves it in."""
    return 0.0 if abs(bound) <= ROUNDING * width else bound
