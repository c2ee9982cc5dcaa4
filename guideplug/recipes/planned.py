"""What making a recipe's module evaluates, said beforehand, so that it can be tried before anything is trained.

A recipe's `Recipe.evaluates` gives these values; a run, a comparison and a study try each on untrained networks and two
samples (`guideplug.run.preflight`).
"""

from collections.abc import Mapping
from typing import TypeAlias, final

from attrs import field, frozen

from guideplug.guide import Guider
from guideplug.recipe import Recipe
from guideplug.sample import Sampler
from guideplug.task import Task

__all__ = ["Planned", "PlannedBatch", "PlannedSampling"]


@final
@frozen(kw_only=True)
class PlannedSampling:
    """Samples that are drawn from a network, guided or not: levels are floats, and each knows the next.

    Args:
        of: whose network.
        task: where starts and conditions come from.
        sampler: how they are drawn.
        guider: how the drawing is guided.
        models: the guider's other networks, by role.
    """

    of: Recipe
    task: Task
    sampler: Sampler
    guider: Guider | None = None
    models: Mapping[str, Recipe] = field(factory=dict)


@final
@frozen(kw_only=True)
class PlannedBatch:
    """Training examples that a network answers, guided or not: levels are a tensor, one for each example.

    Args:
        user: who asks, in messages, such as "its training" or "selector jest".
        of: whose network.
        task: where examples and conditions come from.
        levels: two noise levels of such a batch, in data units.
        toward: the levels that these step to; None where there is no such step, as in training.
        drops: whether some conditions are dropped, and asked about under each network's null condition.
        guider: what guides the network.
        models: the guider's other networks, by role.
    """

    user: str
    of: Recipe
    task: Task
    levels: tuple[float, float]
    toward: tuple[float, float] | None = None
    drops: bool = False
    guider: Guider | None = None
    models: Mapping[str, Recipe] = field(factory=dict)


Planned: TypeAlias = PlannedSampling | PlannedBatch
