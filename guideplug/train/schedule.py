"""Schedules of the learning rate."""

import abc
import math
from typing import ClassVar, final

from attrs import frozen

from guideplug.config import Strategy, between, option
from guideplug.train.count import Count, Reached, count_of, no_fewer_than

__all__ = ["Constant", "Cosine", "InverseSqrt", "Schedule"]


class Schedule(Strategy):
    """The learning rate over the steps, or the examples."""

    kind: ClassVar[str] = "schedule"

    needs_end: ClassVar[bool] = False
    """Whether it needs the training's progress, which is not reproducible with a time limit."""

    @abc.abstractmethod
    def factor(self, reached: Reached, progress: float) -> float:
        """The factor on the learning rate after the steps and examples ``reached``, a share of the duration."""


@final
@frozen
class Constant(Schedule):
    """The learning rate stays as it is."""

    name = "constant"

    def factor(self, reached: Reached, progress: float) -> float:
        return 1.0


@final
@frozen
class InverseSqrt(Schedule):
    """The learning rate falls as 1 / sqrt(t / after) once t is more than ``after`` (arXiv:2312.02696, eq. 67)."""

    name = "inverse-sqrt"
    after: Count = option(
        512,
        help="how long at the full learning rate, in steps, or in examples as in 70Mex",
        unit="iterations",
        converter=count_of,
        validator=no_fewer_than(1),
    )

    def factor(self, reached: Reached, progress: float) -> float:
        return float(max(reached.share(self.after), 1.0) ** -0.5)


@final
@frozen
class Cosine(Schedule):
    """The learning rate falls along half a cosine to ``end`` of itself; needs a duration in iterations or examples."""

    name = "cosine"
    needs_end = True
    end: float = option(0.0, help="share of the learning rate that is left at the end", validator=between(0, 1))

    def factor(self, reached: Reached, progress: float) -> float:
        return self.end + (1.0 - self.end) * 0.5 * (1.0 + math.cos(math.pi * min(progress, 1.0)))
