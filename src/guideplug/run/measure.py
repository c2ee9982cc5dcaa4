"""The metrics of arms: those of the task, and those that plugins offer for it."""

from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np

from guideplug.registry import Registry
from guideplug.task import Arm, Context, Metric, Task

__all__ = ["measured", "metrics_of"]


def metrics_of(task: Task, registry: Registry) -> list[Metric]:
    """What is measured on a task, in the order of the table."""
    further = (cls() for cls in registry.classes(cast(Any, Metric)))
    return [*task.metrics(), *(metric for metric in further if metric.applies(task))]


def measured(
    arm: Arm, metrics: Sequence[Metric], context: Context, each: Callable[[], None] = lambda: None
) -> dict[str, float | None]:
    """An arm's value by each metric, None where it has none or is not finite; ``each`` is called after every metric."""
    values: dict[str, float | None] = {}
    for metric in metrics:
        value = metric.measure(arm, context)
        values[metric.name] = None if value is None or not np.isfinite(value) else float(value)
        each()
    return values
