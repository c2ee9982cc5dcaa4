"""The results of a comparison: a row per guider, selector, seed and snapshot, and the snapshot per budget.

- equal iterations: the end of each training.
- equal examples: the smallest number of back-propagated examples that any training ends with; of each training the
  snapshot nearest to that number.
- equal time: the smallest total of seconds (`costs`) of any training; of each the snapshot nearest to it. The training
  of a selector's reference is reported separately, and included on request.

The nearest snapshot may lie before or after the budget. If that of any training is further from the budget than `NEAR`,
its selector misses the budget: the arm stays in the tables, marked, and no conclusion is drawn from it.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, Literal, TypeAlias, get_args

import attrs

from guideplug.experiments.comparison.costs import Cost
from guideplug.metrics.statistics import Difference, confidence_interval

__all__ = ["BUDGETS", "NEAR", "Arm", "Budget", "Comparison", "Miss", "Row", "Training"]

Arm: TypeAlias = tuple[str, str]
"""A guider and a selector."""
Budget: TypeAlias = Literal["time", "examples", "iterations"]
BUDGETS: tuple[Budget, ...] = get_args(Budget)
NEAR = 0.03
"""Largest distance of a training's spending from a budget, as a share of the budget.

The default 100 snapshots are this near to any budget from a sixth of a training on, and the price of an iteration is
hardly more accurate. A larger difference in spending may itself explain a difference in a metric."""


@attrs.frozen
class Training:
    """A training at one of its snapshots, and its cost up to there.

    Args:
        selector, seed: which training.
        step: optimiser steps.
        seconds: of training, by the price of iterations measured alone.
        clocked: seconds of training by the clock, under the load at the time.
        reference: seconds of the trainings of its scoring networks, by the price of their iterations.
        reference_clocked: their seconds by the clock.
        seen, scored, backpropagated: examples.
    """

    selector: str
    seed: int
    step: int
    seconds: float
    clocked: float
    reference: float
    reference_clocked: float
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
class Miss:
    """A budget that a selector's trainings miss, for the training furthest from it.

    Args:
        selector, seed: which training.
        budget: which budget.
        spent: the spending of its snapshot nearest to the budget.
        reference: the reference's share of it; 0 if not charged.
        limit: the budget.
        apart: optimiser steps between its snapshots around the budget; above 1, more snapshots would be nearer.
    """

    selector: str
    budget: Budget
    seed: int
    spent: float
    reference: float
    limit: float
    apart: int

    @property
    def off(self) -> float:
        """Excess of the spending over the budget, as a share of it; negative if below."""
        return (self.spent - self.limit) / self.limit if self.limit > 0 else math.inf


@attrs.frozen
class Comparison:
    """The results of a comparison.

    Args:
        guiders, selectors, seeds: the grid.
        trainings: one for each selector, seed and snapshot.
        rows: the measurements.
        truth: the metrics of true samples.
        metrics: names, with the better direction ("higher", "lower", "truth"), the aspect and the formula of each.
        charge_reference: whether a reference's training counts as time.
        costs: the price of an iteration with each selector, and of its iterations without selection.
        unknown: per selector, its scoring networks of unknown cost, which counts as 0.
        busy: the prices measured on a busy machine, in words.
        phases: per selector, the shares of its trainings' clocked time, and evaluations in scoring: means.
        needs_end: the name of the learning rate's schedule if it depends on a training's end, or None.
        shared_guides, shared_references: per guider and selector that has some, the roles whose networks trainings of
            several seeds share (`guideplug.experiments.comparison.shared`).
        failures: the metrics that could not be measured, each with its cell and its reason (`guideplug.run.failure`).
    """

    guiders: Sequence[str]
    selectors: Sequence[str]
    seeds: Sequence[int]
    trainings: Sequence[Training]
    rows: Sequence[Row]
    truth: Mapping[str, float | None]
    metrics: Mapping[str, Mapping[str, str]]
    charge_reference: bool
    costs: Mapping[str, Cost]
    unknown: Mapping[str, Sequence[str]] = attrs.field(factory=dict)
    busy: Sequence[str] = ()
    phases: Mapping[str, Mapping[str, float]] = attrs.field(factory=dict)
    needs_end: str | None = None
    shared_guides: Mapping[str, Sequence[str]] = attrs.field(factory=dict)
    shared_references: Mapping[str, Sequence[str]] = attrs.field(factory=dict)
    failures: Sequence[Mapping[str, Any]] = ()

    @property
    def arms(self) -> list[Arm]:
        """Every guider with every selector."""
        return [(guider, selector) for selector in self.selectors for guider in self.guiders]

    @property
    def baselines(self) -> list[str]:
        """The selectors that others are compared with: the first one, and random selection."""
        blind = [name for name in self.selectors[1:] if name.partition("(")[0] == "random"]
        return [self.selectors[0], *blind]

    @property
    def pairs(self) -> list[tuple[Arm, Arm]]:
        """The compared arms, each with another that differs from it in one thing.

        Every selector with each baseline under the same guider; every guider with the first one under the same
        selector.
        """
        arms = [
            ((guider, selector), (guider, baseline))
            for baseline in self.baselines
            for guider in self.guiders
            for selector in self.selectors
            if selector != baseline and not (selector == self.selectors[0] and baseline != self.selectors[0])
        ]
        first, *others = self.guiders
        return [*arms, *(((guider, selector), (first, selector)) for selector in self.selectors for guider in others)]

    def spent(self, training: Training, budget: Budget) -> float:
        """The amount of a budget that a training had spent."""
        if budget == "iterations":
            return training.step
        if budget == "examples":
            return training.backpropagated
        return training.seconds + (training.reference if self.charge_reference else 0.0)

    def limit(self, budget: Budget) -> float:
        """The budget that every training reaches: the least amount that any of them ends with."""
        return self._limits[budget]

    def chosen(self, budget: Budget) -> Mapping[tuple[str, int], Training]:
        """The snapshot of each selector and seed that is nearest to the budget, before or after it."""
        return self._chosen[budget]

    def missed(self, budget: Budget) -> Mapping[str, Miss]:
        """The selectors with a training whose snapshot nearest to a budget is more than `NEAR` off it."""
        return self._missed[budget]

    # Cached, as every cell of every table uses them.

    @cached_property
    def _each(self) -> list[list[Training]]:
        """The snapshots of each training, in the order of their steps."""
        trainings: dict[tuple[str, int], list[Training]] = {}
        for snapshot in self.trainings:
            trainings.setdefault((snapshot.selector, snapshot.seed), []).append(snapshot)
        return [sorted(training, key=lambda snapshot: snapshot.step) for training in trainings.values()]

    @cached_property
    def _limits(self) -> dict[Budget, float]:
        return {
            budget: min(max(self.spent(snapshot, budget) for snapshot in training) for training in self._each)
            for budget in BUDGETS
        }

    @cached_property
    def _chosen(self) -> dict[Budget, dict[tuple[str, int], Training]]:
        return {
            budget: {(snapshot.selector, snapshot.seed): snapshot for snapshot in self._nearest(budget)}
            for budget in BUDGETS
        }

    def _nearest(self, budget: Budget) -> Iterator[Training]:
        limit = self.limit(budget)
        for training in self._each:
            yield min(training, key=lambda snapshot: abs(self.spent(snapshot, budget) - limit))

    @cached_property
    def _missed(self) -> dict[Budget, dict[str, Miss]]:
        return {budget: self._missing(budget) for budget in BUDGETS}

    def _missing(self, budget: Budget) -> dict[str, Miss]:
        limit, chosen = self.limit(budget), self.chosen(budget)
        misses: dict[str, Miss] = {}
        for training in self._each:
            nearest = chosen[training[0].selector, training[0].seed]
            spent = self.spent(nearest, budget)
            if abs(spent - limit) <= NEAR * limit:
                continue
            reference = nearest.reference if self.charge_reference and budget == "time" else 0.0
            below = max((snapshot.step for snapshot in training if self.spent(snapshot, budget) <= limit), default=0)
            above = min(
                snapshot.step for snapshot in training if snapshot.step > below
            )  # a training ends at the budget or above it
            miss = Miss(nearest.selector, budget, nearest.seed, spent, reference, limit, above - below)
            if miss.selector not in misses or abs(miss.off) > abs(misses[miss.selector].off):
                misses[miss.selector] = miss
        return misses

    @cached_property
    def _rows(self) -> dict[Arm, list[Row]]:
        rows_of: dict[Arm, list[Row]] = {}
        for row in self.rows:
            rows_of.setdefault((row.guider, row.selector), []).append(row)
        return rows_of

    def values(self, guider: str, selector: str, metric: str, budget: Budget) -> dict[int, float]:
        """A metric for each seed, at a budget; seeds without a value are left out."""
        steps = {seed: training.step for (name, seed), training in self.chosen(budget).items() if name == selector}
        return {
            row.seed: value
            for row in self._rows.get((guider, selector), ())
            if steps.get(row.seed) == row.step
            if (value := row.metrics.get(metric)) is not None
        }

    def failed(self, guider: str, selector: str, metric: str) -> bool:
        """Whether a metric could not be measured somewhere in an arm."""
        return any(
            (failure["arm"], failure["selector"], failure["name"]) == (guider, selector, metric)
            for failure in self.failures
        )

    def difference(self, arm: Arm, other: Arm, metric: str, budget: Budget) -> Difference | None:
        """The paired difference of an arm to another; for a metric that should be near the truth, of distances.

        None with fewer than two common seeds, without a value of the truth, if one of the two misses the budget, and if
        `confidence_interval` gives none.
        """
        if {arm[1], other[1]} & self.missed(budget).keys():
            return None
        ours, first = (self.values(*compared, metric, budget) for compared in (arm, other))
        if self.metrics[metric]["better"] == "truth":
            truth = self.truth.get(metric)
            if truth is None:
                return None
            ours, first = ({seed: abs(value - truth) for seed, value in arm.items()} for arm in (ours, first))
        return confidence_interval([ours[seed] - first[seed] for seed in ours if seed in first])
