"""What a comparison found: a row for each guider, selector, seed and snapshot, and the snapshots that budgets choose.

- equal iterations: the end of each training.
- equal examples: the smallest number of back-propagated examples that any training ends with; of each training the
  snapshot nearest to that number.
- equal time: the smallest total of seconds (`guideplug.compare.costs`) of any training; of each the snapshot nearest to
  it. The training of a selector's reference is reported beside it, and counted in where that was asked for.

The nearest snapshot is not the budget itself: it may lie before or after it. Where that of any training is further from
the budget than `NEAR`, its selector misses the budget: the arm stays in the tables, marked, and nothing is concluded
from it.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Literal, TypeAlias, get_args

import attrs

from guideplug.compare.costs import Cost
from guideplug.metrics.statistics import Difference, confidence_interval

__all__ = ["BUDGETS", "NEAR", "Arm", "Budget", "Comparison", "Miss", "Row", "Training"]

Arm: TypeAlias = tuple[str, str]
"""A guider and a selector."""
Budget: TypeAlias = Literal["time", "examples", "iterations"]
BUDGETS: tuple[Budget, ...] = get_args(Budget)
NEAR = 0.03
"""How far from a budget, before or after it, what a training has spent may be, as a share of the budget.

The hundred snapshots that are kept by default are this near to any budget from a sixth of a training on, and the price
of an iteration is hardly known better. A difference of spending of more than this may itself be what a metric shows."""


@attrs.frozen
class Training:
    """One training, at one of its snapshots: what it had cost by then.

    Args:
        selector, seed: which training.
        step: optimiser steps.
        seconds: of training, by the price of iterations measured alone.
        clocked: as it was clocked, beside whatever ran then.
        reference: seconds that the trainings of the networks it selects with took, by the price of their iterations.
        reference_clocked: as they were clocked when they were trained.
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
    """A budget that a selector's trainings are not near, told of the training that is furthest from it.

    Args:
        selector, seed: which training.
        budget: which budget.
        spent: what its snapshot nearest to the budget has spent.
        reference: of that its reference; 0 where that is not charged.
        limit: the budget.
        apart: optimiser steps between its snapshots around the budget; more snapshots are nearer where it is above 1.
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
        """How much more than the budget is spent, as a share of it; below 0 where it is less."""
        return (self.spent - self.limit) / self.limit if self.limit > 0 else math.inf


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
        costs: the price of an iteration with each selector, and of its iterations without selection.
        unknown: of each selector, what it scores with whose cost nobody knows; it counts as 0.
        busy: the prices that were measured on a busy machine, in words.
        phases: of each selector, the shares of its trainings' clocked time, and evaluations in scoring: means.
        needs_end: the name of the learning rate's schedule where it needs to know a training's end, or None.
        shared_guides, shared_references: of each guider and selector that has some, the roles whose networks trainings
            of several seeds share (`guideplug.compare.shared`).
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

    @property
    def arms(self) -> list[Arm]:
        """Every guider with every selector."""
        return [(guider, selector) for selector in self.selectors for guider in self.guiders]

    @property
    def baselines(self) -> list[str]:
        """The selectors that others are compared with: the first, and random selection."""
        blind = [name for name in self.selectors[1:] if name.partition("(")[0] == "random"]
        return [self.selectors[0], *blind]

    @property
    def pairs(self) -> list[tuple[Arm, Arm]]:
        """What is compared, each arm with another that differs from it in one thing.

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
        return [*arms, *(((guider, one), (first, one)) for one in self.selectors for guider in others)]

    def spent(self, training: Training, budget: Budget) -> float:
        """What a training had spent of a budget."""
        if budget == "iterations":
            return training.step
        if budget == "examples":
            return training.backpropagated
        return training.seconds + (training.reference if self.charge_reference else 0.0)

    def limit(self, budget: Budget) -> float:
        """How much of a budget every training has: the least that any of them ends with."""
        return self._limits[budget]

    def chosen(self, budget: Budget) -> Mapping[tuple[str, int], Training]:
        """The snapshot of each selector and seed that is nearest to the budget, before or after it."""
        return self._chosen[budget]

    def missed(self, budget: Budget) -> Mapping[str, Miss]:
        """The selectors with a training whose snapshot nearest to a budget is more than `NEAR` off it."""
        return self._missed[budget]

    # Asked for once for each cell of each table, so worked out once.

    @cached_property
    def _each(self) -> list[list[Training]]:
        """The snapshots of each training, in the order of their steps."""
        trainings: dict[tuple[str, int], list[Training]] = {}
        for one in self.trainings:
            trainings.setdefault((one.selector, one.seed), []).append(one)
        return [sorted(training, key=lambda one: one.step) for training in trainings.values()]

    @cached_property
    def _limits(self) -> dict[Budget, float]:
        return {
            budget: min(max(self.spent(one, budget) for one in training) for training in self._each)
            for budget in BUDGETS
        }

    @cached_property
    def _chosen(self) -> dict[Budget, dict[tuple[str, int], Training]]:
        return {budget: {(one.selector, one.seed): one for one in self._nearest(budget)} for budget in BUDGETS}

    def _nearest(self, budget: Budget) -> Iterator[Training]:
        limit = self.limit(budget)
        for training in self._each:
            yield min(training, key=lambda one: abs(self.spent(one, budget) - limit))

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
            below = max((one.step for one in training if self.spent(one, budget) <= limit), default=0)
            above = min(one.step for one in training if one.step > below)  # a training ends at the budget or above it
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

    def difference(self, arm: Arm, other: Arm, metric: str, budget: Budget) -> Difference | None:
        """The paired difference of an arm to another; for a metric that should be near the truth, of distances.

        None for fewer than two seeds in which both have a value, for a distance to a truth that has none, where one of
        the two misses the budget, and where `confidence_interval` has none.
        """
        if {arm[1], other[1]} & self.missed(budget).keys():
            return None
        ours, first = (self.values(*one, metric, budget) for one in (arm, other))
        if self.metrics[metric]["better"] == "truth":
            truth = self.truth.get(metric)
            if truth is None:
                return None
            ours, first = ({seed: abs(value - truth) for seed, value in arm.items()} for arm in (ours, first))
        return confidence_interval([ours[seed] - first[seed] for seed in ours if seed in first])
