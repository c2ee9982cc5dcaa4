"""The best of several candidates, such as weights, held out: chosen on other seeds than those it is judged on.

For each seed the candidate that is best on the mean over the other seeds, and its value at the seed itself. Each value
by itself is the result of a candidate chosen on other data; together they depend on each other, because any two of n
choices share n - 2 seeds, and each seed's value decides the choices of all others. Where no candidate is better
than a baseline, Student's interval over such values leaves out 0 in 5 to 24 % of all cases instead of 5 %: the more
often, the less neighbouring candidates have in common, the more of them there are, and the more seeds.

`held_out_interval` takes the variance of their mean as

    s^2 (1/n + 1/(n - 1))   instead of   s^2 / n

Source: Nadeau and Bengio 2003, "Inference for the generalization error", Machine Learning 52, section 3, with one
seed to test on and n - 1 to choose on. It is simpler than resampling seeds with the choice repeated, and holds where
that does not. Simulated rates of false differences (tests/benchmarks/held_out.py, docs/studies.md), 5 and 8 seeds, 4
to 16 candidates: corrected 1 to 6.8 % where neighbouring candidates are alike, up to 8.7 % where each has independent
noise (6.1 % with 5 seeds); Student's 5 to 24 %, resampled .1 to 21 %.
"""

import math
import statistics
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Generic, TypeVar

from attrs import field, frozen

from guideplug.metrics.statistics import Difference, confidence_interval

__all__ = ["Candidates", "held_out_interval"]

K = TypeVar("K", bound=Hashable)


@frozen
class Candidates(Generic[K]):
    """Values of several candidates, of which the best is chosen.

    Args:
        values: of each candidate, by seed; a seed without a value is left out.
        distance: how bad a value is; the smallest mean over seeds is best, and of equal ones the first.
        seeds: over which candidates are chosen; by default all that have a value anywhere.
    """

    values: Mapping[K, Mapping[int, float]]
    distance: Callable[[float], float]
    seeds: Sequence[int] = field()

    @seeds.default
    def _all(self) -> tuple[int, ...]:
        return tuple(sorted({seed for row in self.values.values() for seed in row}))

    @property
    def whole(self) -> Mapping[K, Mapping[int, float]]:
        """The candidates with a value at every seed: means of the others would be of other seeds."""
        return {one: row for one, row in self.values.items() if all(seed in row for seed in self.seeds)}

    def best(self, seeds: Sequence[int] = ()) -> K:
        """The candidate that is best on the mean over some seeds, by default over all.

        Raises:
            ValueError: no candidate has a value at every seed.
        """
        whole, over = self.whole, seeds or self.seeds
        if not whole or not over:
            raise ValueError("no candidate has a value at every seed")
        return min(whole, key=lambda one: statistics.fmean(self.distance(whole[one][seed]) for seed in over))

    def best_of_each(self) -> dict[int, K]:
        """For each seed the candidate that is best on it alone."""
        return {seed: self.best([seed]) for seed in self.seeds}

    def chosen(self) -> dict[int, K]:
        """For each seed the candidate that is best on the others; of one seed its own best."""
        return {seed: self.best([one for one in self.seeds if one != seed]) for seed in self.seeds}

    def held_out(self) -> dict[int, float]:
        """For each seed the value of the candidate that is best on the others; of one seed that of its own best."""
        return {seed: self.values[one][seed] for seed, one in self.chosen().items()}


def held_out_interval(gaps: Sequence[float]) -> Difference | None:
    """The mean of differences that rest on held-out values, one per seed, and its corrected 95 % interval.

    Args:
        gaps: by seed: a held-out value less that of a baseline, or less another held-out one.

    Returns:
        None where `guideplug.confidence_interval` has none.
    """
    naive = confidence_interval(gaps)
    if naive is None:
        return None
    half = (naive.high - naive.mean) * math.sqrt(1 + naive.count / (naive.count - 1))
    return Difference(naive.mean, naive.mean - half, naive.mean + half, naive.count)
