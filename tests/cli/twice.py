"""A local plugin for the tests of metrics of one name: a task with two of one name, and a metric named as a task's."""

import os
from collections.abc import Sequence
from typing import final

from attrs import frozen
from torch import Tensor

from guideplug import Arm, Context, Metric, PerSample, Task, hook


@final
@frozen
class Distance(PerSample):
    """Another distance."""

    name = "distance"
    better, aspect, formula = "lower", "fidelity", "mean over samples of |x|"

    def each(self, arm: Arm, context: Context) -> Tensor:
        return arm.samples.norm(dim=1)

    def applies(self, task: Task) -> bool:
        return "TWICE" in os.environ


@hook
def guideplug_metrics() -> Sequence[type[Metric]]:
    return [Distance]
