"""Counters of a training, and their history."""

import itertools
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from attrs import astuple, define, field, frozen

__all__ = ["Counters", "Moment", "moment_at"]


@define
class Counters:
    """Counters of a training.

    ``evaluations`` are the networks' outputs in scoring: one per candidate and network, more for a guided learner.
    ``skipped`` counts the steps that loss scaling left out, as their gradients overflowed.
    ``stretched`` counts a step that trained on b of B examples as B / b steps.
    ``selecting`` counts the steps with an active selector. ``offered`` and ``selected`` count examples per group of the
    task, in every 16th selecting step.
    """

    selecting: int = 0
    stretched: float = 0.0
    seen: int = 0
    scored: int = 0
    evaluations: int = 0
    backpropagated: int = 0
    skipped: int = 0
    selections: int = 0
    effective_sample_size: float = 0.0
    switched_off_at: int | None = None
    offered: list[int] = field(factory=list)
    selected: list[int] = field(factory=list)
    seconds: dict[str, float] = field(factory=lambda: {"data": 0.0, "score": 0.0, "select": 0.0, "learn": 0.0})

    @property
    def total_seconds(self) -> float:
        """Seconds of training, without checkpoints and reports."""
        return sum(self.seconds.values())

    @property
    def mean_effective_sample_size(self) -> float | None:
        """The mean over selections, as a share of the super-batch; None without selections."""
        return self.effective_sample_size / self.selections if self.selections else None

    def moment(self, step: int) -> "Moment":
        """The counters after a step."""
        return Moment(step, self.total_seconds, self.selecting, self.seen, self.scored, self.backpropagated)

    @contextmanager
    def timed(self, phase: str) -> Iterator[None]:
        """Add the block's time to a phase."""
        begin = time.perf_counter()
        yield
        self.seconds[phase] += time.perf_counter() - begin


@frozen
class Moment:
    """The counters of a training after a step: seconds, steps with an active selector, and examples."""

    step: int
    seconds: float
    selecting: int
    seen: int
    scored: int
    backpropagated: int


def moment_at(history: Sequence[Moment], step: int) -> Moment:
    """The counters of a training at a step, from its history: counts are exact, seconds interpolated linearly.

    Raises:
        ValueError: the step is after the end of the history.
    """
    for before, after in itertools.pairwise(history):
        if before.step <= step <= after.step and after.step > before.step:
            share = (step - before.step) / (after.step - before.step)
            first, last = astuple(before), astuple(after)
            _, seconds, *counts = (a + share * (b - a) for a, b in zip(first, last, strict=True))
            return Moment(step, seconds, *(round(count) for count in counts))
    raise ValueError(f"the training's history does not reach step {step}")
