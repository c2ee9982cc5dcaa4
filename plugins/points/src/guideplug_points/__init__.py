"""Points: a task made of a table of one's own, its denoiser, its metrics and its figure."""

from guideplug import Network, Task, hook
from guideplug_points.sheet import DataError
from guideplug_points.task import Points, PointsMLP

__all__ = ["DataError", "Points", "PointsMLP"]


@hook
def guideplug_tasks() -> list[type[Task]]:
    return [Points]


@hook
def guideplug_denoisers() -> list[type[Network]]:
    return [PointsMLP]
