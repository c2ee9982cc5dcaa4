"""Declared evaluations of recipes, which are tried before anything is trained.

A recipe's `Recipe.evaluates` gives these values; a run, a comparison and a study try each on untrained networks and two
samples (`guideplug.run.preflight`).
"""

from collections.abc import Mapping
from typing import final

from attrs import field, frozen

from guideplug.guide import Guider
from guideplug.recipe import Planned, Recipe
from guideplug.sample import Sampler
from guideplug.task import Task
from guideplug.train.loss import Loss

__all__ = ["PlannedBatch", "PlannedSampling"]


@final
@frozen(kw_only=True)
class PlannedSampling(Planned):
    """Sampling from a network, guided or not: levels are floats, each with the next one.

    Args:
        of: the recipe of the network.
        task: the task of initial states and conditions.
        sampler: the sampler.
        guider: the guider of the sampling.
        models: the guider's other networks, by role.
    """

    of: Recipe
    task: Task
    sampler: Sampler
    guider: Guider | None = None
    models: Mapping[str, Recipe] = field(factory=dict)


@final
@frozen(kw_only=True)
class PlannedBatch(Planned):
    """An evaluation on training examples, guided or not: levels are a tensor, one per example.

    Args:
        user: the caller, for messages, such as "its training" or "selector jest".
        of: the recipe of the network.
        task: the task of examples and conditions.
        levels: two noise levels of such a batch, in data units.
        toward: the levels at the ends of their steps; None without steps, as in training.
        drops: whether some conditions are dropped and replaced by each network's null condition.
        guider: the guider of the network.
        models: the guider's other networks, by role.
        loss: the loss that is computed of the batch; None for the denoised samples alone.
    """

    user: str
    of: Recipe
    task: Task
    levels: tuple[float, float]
    toward: tuple[float, float] | None = None
    drops: bool = False
    guider: Guider | None = None
    models: Mapping[str, Recipe] = field(factory=dict)
    loss: Loss | None = None
