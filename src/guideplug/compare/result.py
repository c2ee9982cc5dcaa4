"""What a comparison found: a row for each guider, selector, seed and snapshot, and the snapshots that budgets choose.

- equal iterations: the end of each training.
- equal examples: the smallest number of back-propagated examples that any training ends with; of each training the
  snapshot nearest to that number.
- equal time: the smallest total of seconds (`guideplug.compare.costs`) of any training; of each the snapshot nearest to
  it. The training of a selector's reference is reported beside it, and counted in where that was asked for.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias, get_args

import attrs

__all__ = ["BUDGETS", "Budget", "Comparison", "Difference", "Row", "Training"]

Budget: TypeAlias = Literal["time", "examples", "iterations"]
BUDGETS: tuple[Budget, ...] = get_args(Budget)


@attrs.frozen
class Training:
    """One training, at one of its snapshots: what it had cost by then.

    Args:
        selector, seed: which training.
        step: optimiser steps.
        seconds: of training, by the cost of iterations measured alone.
        clocked: as it was clocked, beside whatever ran then.
        reference: seconds that the networks it selects with took, clocked when they were trained.
        seen, scored, backpropagated: examples.
    """

    selector: str
    seed: int
    step: int
    seconds: float
    clocked: float
    reference: float
    seen: int
    scored: int
    backpropagated: int


@attrs.frozen
class Row:
    """The metrics of samples of one snapshot with one guider."""

    guider: str
    selector: str
    seed: int
    step: int
    metrics: Mapping[str, float | None]
    evaluations: float


@attrs.frozen
class Difference:
    """A paired difference to the first arm over the seeds, with its 95 % confidence interval (Student's t)."""

    mean: float
    low: float
    high: float

    @property
    def clear(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.low > 0 or self.high < 0


@attrs.frozen
class Comparison:
    """Everything that a comparison found.

    Args:
        guiders, selectors, seeds: the grid.
        trainings: one for each selector, seed and snapshot.
        rows: what was measured.
        truth: the metrics of true samples.
        metrics: names, which way is better ("higher", "lower", "truth"), and the aspect of each.
        charge_reference: whether a reference's training counts as time.
        costs: seconds of an iteration with each selector.
        seconds: of the comparison itself, by phase.
    """

    guiders: Sequence[str]
    selectors: Sequence[str]
    seeds: Sequence[int]
    trainings: Sequence[Training]
    rows: Sequence[Row]
    truth: Mapping[str, float | None]
    metrics: Mapping[str, Mapping[str, str]]
    charge_reference: bool
    costs: Mapping[str, Mapping[str, Any]]

    @property
    def arms(self) -> list[tuple[str, str]]:
        """Every guider with every selector; the first is what the others are compared with."""
        return [(guider, selector) for selector in self.selectors for guider in self.guiders]

    def spent(self, training: Training, budget: Budget) -> float:
        """What a training had spent of a budget."""
        if budget == "iterations":
            return training.step
        if budget == "examples":
            return training.backpropagated
        return training.seconds + (training.reference if self.charge_reference else 0.0)

    def limit(self, budget: Budget) -> float:
        """How much of a budget every training has: the least that any of them ends with."""
        ends: dict[tuple[str, int], float] = {}
        for training in self.trainings:
            key = training.selector, training.seed
            ends[key] = max(ends.get(key, 0.0), self.spent(training, budget))
        return min(ends.values())

    def chosen(self, budget: Budget) -> dict[tuple[str, int], Training]:
        """The snapshot of each selector and seed that is nearest to the budget."""
        limit = self.limit(budget)
        found: dict[tuple[str, int], Training] = {}
        for training in self.trainings:
            key = training.selector, training.seed
            gap = abs(self.spent(training, budget) - limit)
            if key not in found or gap < abs(self.spent(found[key], budget) - limit):
                found[key] = training
        return found

    def values(self, guider: str, selector: str, metric: str, budget: Budget) -> dict[int, float]:
        """A metric for each seed, at a budget; seeds without a value are left out."""
        steps = {seed: training.step for (name, seed), training in self.chosen(budget).items() if name == selector}
        return {
            row.seed: value
            for row in self.rows
            if (row.guider, row.selector) == (guider, selector) and steps.get(row.seed) == row.step
            if (value := row.metrics.get(metric)) is not None
        }

    def difference(self, guider: str, selector: str, metric: str, budget: Budget) -> Difference | None:
        """The paired difference of an arm to the first one, or None for fewer than two seeds."""
        ours = self.values(guider, selector, metric, budget)
        first = self.values(self.guiders[0], self.selectors[0], metric, budget)
        gaps = [ours[seed] - first[seed] for seed in ours if seed in first]
        return interval(gaps)


def interval(gaps: Sequence[float]) -> Difference | None:
    """The mean of differences and its 95 % confidence interval; None for fewer than two."""
    if len(gaps) < 2:
        return None
    from scipy.stats import t  # half a second to import

    mean = statistics.fmean(gaps)
    half = float(t.ppf(0.975, len(gaps) - 1)) * statistics.stdev(gaps) / math.sqrt(len(gaps))
    return Difference(mean, mean - half, mean + half)
