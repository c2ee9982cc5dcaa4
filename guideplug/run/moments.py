"""The moments along the trainings of a run, at which listeners sample, draw and measure the current networks.

A moment lies between two steps of a training, whose clock is stopped. Samples have streams of their own, and the layers
of a network in training are seeded before each step, so a training has the same bits with and without moments. Which
steps are moments follows from what the training's state counts, so a resumed run has those after its state, once.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import attrs

from guideplug.config import Duration
from guideplug.denoise import Leaf
from guideplug.errors import ConfigError, RunError, nearest
from guideplug.observe import Observers
from guideplug.recipe import Observable
from guideplug.registry.registry import Registry
from guideplug.run.arms import draw_arms_of_run
from guideplug.run.failure import Failures
from guideplug.run.measure import measured, metrics_of
from guideplug.run.picture import draw
from guideplug.run.resolve import RunConfig
from guideplug.run.task_answers import truth_of
from guideplug.task import Arm, Context

__all__ = ["TrainingMoments"]


@attrs.define(slots=False)
class TrainingMoments:
    """The moments along a run's trainings.

    Args:
        config: everything resolved.
        registry: for further metrics.
        observers: those who are called, and receive what they emit.
    """

    config: RunConfig
    registry: Registry
    observers: Observers
    _truth: dict[int, Sequence[Arm]] = attrs.field(factory=dict, init=False)
    _had: set[str] = attrs.field(factory=set, init=False)

    def along(self, role: str, training: Observable) -> Callable[[], None]:
        """What is called after each step of a training from here on."""
        reached = {unit: training.reached(unit) for unit in ("it", "ex", "s")}

        def each() -> None:
            before = dict(reached)
            for unit in reached:
                reached[unit] = training.reached(unit)

            def passed(every: Duration) -> int:
                number = math.floor(reached[every.unit] / every.amount)
                return number if number > math.floor(before[every.unit] / every.amount) else 0

            due = [name for name, every in self.observers.at_moments if passed(every)]
            if due:
                self._had.update(due)
                current = training.current()
                self.observers.on_moment(passed, lambda number: _Moment(self, role, training.step, number, current))

        return each

    def missing(self) -> list[str]:
        """The observers that no moment came for in this attempt, a line each."""
        return [
            f"{name} has had no moment: every={every}, and no training of this run got so far (a network of the store "
            "is not trained again: --fresh trains it anew)"
            for name, every in self.observers.at_moments
            if name not in self._had
        ]

    def truth(self, count: int) -> Sequence[Arm]:
        """The reference arms of so many samples, drawn once."""
        if count not in self._truth:
            config = self.config
            self._truth[count] = truth_of(config.task, count, config.sampler, config.sample_seed)
        return self._truth[count]


@attrs.define(slots=False)
class _Moment:
    """A `guideplug.observe.TrainingMoment`."""

    _of: TrainingMoments
    role: str
    step: int
    number: int
    _current: Mapping[str, Callable[[], Leaf]]

    @cached_property
    def weights(self) -> Sequence[str]:
        return tuple(self._current)

    def network(self, weights: str) -> Leaf:
        return self._current[weights]()

    def sample(self, weights: str, count: int) -> Arm:
        config = self._of.config
        drawn, _ = draw_arms_of_run(
            config,
            {weights: self.network(weights)},
            count=count,
        )
        return drawn[weights]

    def measure(self, arm: Arm, metrics: Sequence[str] = ()) -> dict[str, float | None]:
        config = self._of.config
        known = {metric.name: metric for metric in metrics_of(config.task, self._of.registry)}
        for name in metrics:
            if name not in known:
                raise ConfigError(
                    f"task {config.task.name!r} has no metric {name!r}{nearest(name, known)}; known: {', '.join(known)}"
                )
        references = {one.name: one for one in self._of.truth(len(arm.samples))}
        context = Context(config.task, references, config.sampler, config.sample_seed)
        return measured(arm, [known[name] for name in metrics or known], context)

    def draw(self, arms: Sequence[Arm], path: Path) -> None:
        task, failures = self._of.config.task, Failures()
        truth = self._of.truth(len(arms[0].samples))[:1]
        draw(path, "figure", task.name, lambda aside: task.figure([*truth, *arms], aside), failures)
        for failure in failures.listed:
            raise RunError(str(failure))

    def emit(self, event: str, **data: Any) -> None:
        self._of.observers(event, role=self.role, step=self.step, **data)
