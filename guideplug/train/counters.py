"""What a training did so far, and where it stood when."""

import itertools
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from attrs import astuple, define, field, frozen

__all__ = ["Counters", "Moment", "moment_at"]


@define
class Counters:
    """What a training did so far.

    ``evaluations`` are the networks' outputs in scoring: one a candidate and network, more where the learner is guided.
    ``selecting`` counts the steps in which a selector was on. ``offered`` and ``selected`` count examples by the task's
    groups, in every 16th step that selects.
    """

    selecting: int = 0
    seen: int = 0
    scored: int = 0
    evaluations: int = 0
    backpropagated: int = 0
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
        """The mean over the selections made, as a share of the super-batch; None when none was made."""
        return self.effective_sample_size / self.selections if self.selections else None

    def moment(self, step: int) -> "Moment":
        """Where the training stands after a step."""
        return Moment(step, self.total_seconds, self.selecting, self.seen, self.scored, self.backpropagated)

    @contextmanager
    def timed(self, phase: str) -> Iterator[None]:
        """Add the block's time to a phase."""
        begin = time.perf_counter()
        yield
        self.seconds[phase] += time.perf_counter() - begin


@frozen
class Moment:
    """Where a training stands after a step: so far, seconds, steps with a selector that was on, and examples."""

    step: int
    seconds: float
    selecting: int
    seen: int
    scored: int
    backpropagated: int


def moment_at(history: Sequence[Moment], step: int) -> Moment:
    """Where a training stood at a step, from its history: counts exactly, seconds evenly between its moments.

    Raises:
        ValueError: the history does not reach so far.
    """
    for before, after in itertools.pairwise(history):
        if before.step <= step <= after.step and after.step > before.step:
            share = (step - before.step) / (after.step - before.step)
            first, last = astuple(before), astuple(after)
            _, seconds, *counts = (a + share * (b - a) for a, b in zip(first, last, strict=True))
            return Moment(step, seconds, *(round(count) for count in counts))
    raise ValueError(f"the training's history does not reach step {step}")
