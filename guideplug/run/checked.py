"""Check of the networks that a run did not train, on its task's data before sampling.

The check changes no random stream of the run and never ends it: each defect is one line.
"""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from guideplug.check import Check, check_denoiser, glance
from guideplug.denoise import Condition, Leaf
from guideplug.recipe import nested_recipes
from guideplug.rng import TrainingStreams
from guideplug.run.builder import Built
from guideplug.task import Task

__all__ = ["MOST", "check_lines", "task_examples"]

MOST = 256
FEWEST = 16
CLEAN = 1e-3
"""Noise that is none, in lowest levels of the task: for tasks that draw noisy samples alone."""


def task_examples(task: Task, count: int) -> tuple[Tensor, Condition] | None:
    """Clean samples of a task, at most ``count``, and what they were drawn under; None where it has too few.

    Of finite data they are training examples, else they are drawn.
    """
    size = task.size()
    if size is None:
        sigma = torch.full((count,), CLEAN * task.space.sigma_min)
        drawn = task.draw(sigma, TrainingStreams(0, 0))
        return drawn.x, drawn.condition
    if size < FEWEST:
        return None
    order = torch.randperm(size, generator=TrainingStreams(0, 0).generator("check data"))
    return task.items(order[:count])


def check_lines(built: Mapping[str, Built], task: Task, samples: int) -> Iterator[str]:
    """What is wrong or suspicious about the networks that were not trained here, or why they were not checked.

    A network is looked at in twenty calls, on as many examples as there are samples to draw and 256 at most; only where
    something is wrong is it looked for. Of other roles than the main one, which may be bad on purpose, only what has a
    cure is a line.
    """
    for role, item in built.items():
        if item.recipe.stored or not isinstance(item.module, Leaf) or any(True for _ in nested_recipes(item.recipe)):
            continue
        which = f"the network of the role {role!r} ({item.recipe.name})"
        try:
            check = _found(item.module, task, min(max(samples, FEWEST), MOST))
        except Exception as error:  # the check never ends a run
            reason = " ".join(f"{error}".split()) or type(error).__name__
            yield f"{which} was not checked: {reason}"
            continue
        if check.verdict != "right" and (role == "main" or check.code):
            code = f" Write {check.code}." if check.code else ""
            yield f"{which} looks {check.verdict}. {check.diagnosis}{code} See docs/adapters.md"


def _found(module: Leaf, task: Task, count: int) -> Check:
    examples = task_examples(task, count)
    if examples is None:
        return check_denoiser(module)
    check = glance(module, *examples, most=count)
    return check if check.verdict == "right" else check_denoiser(module, *examples, most=count)
