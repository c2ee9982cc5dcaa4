"""Tasks that are right but for one planted defect: the kit names the law that it breaks, and no law without it."""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, final

import pytest
import torch
from attrs import evolve, frozen
from defects import broken
from torch import Tensor

from guideplug import (
    Arm,
    Examples,
    Metric,
    Recipe,
    Sampler,
    Space,
    Start,
    Streams,
    Task,
    TrainingStreams,
    noised,
    option,
)
from guideplug.testing.strategies import STRATEGY
from guideplug.testing.tasks import TASK, TaskCase
from guideplug.testing.toys import Normal

torch.set_num_threads(1)


@final
@frozen
class Has(Task):
    """Points of a normal distribution: right without a defect."""

    name = "has"
    defect: str = option("", help="what is wrong")
    right: ClassVar[Normal] = Normal()
    asked: ClassVar[list[int]] = []

    @property
    def space(self) -> Space:
        return self.right.space

    def draw(self, sigma: Tensor, streams: TrainingStreams) -> Examples:
        if self.defect == "levels in place":
            sigma.mul_(2)
        if self.defect == "draws globally":
            return noised(torch.randn(len(sigma), 2), sigma, streams)
        examples = self.right.draw(sigma, TrainingStreams(0, 0) if self.defect == "one step" else streams)
        if self.defect == "shape":
            return evolve(examples, target=examples.target[:, :1])
        if self.defect == "counts":
            self.asked.append(1)
            return evolve(examples, x=examples.x + len(self.asked))
        return evolve(examples, group=torch.full((len(sigma),), 2)) if self.defect == "groups" else examples

    def groups(self) -> Sequence[str]:
        return ("one", "two") if self.defect == "groups" else ()

    @property
    def num_labels(self) -> int | None:
        return 2 if self.defect == "labels" else None

    def start(self, streams: Streams, sigma: float) -> Start:
        if self.defect == "starts of the batch":
            generator = torch.Generator().manual_seed(streams.seed)
            return Start(sigma * torch.randn(len(streams), 2, generator=generator))
        return self.right.start(streams, sigma)

    def recipe(self, role: str, main: Recipe | None) -> Recipe | None:
        return None if self.defect == "no recipe" else self.right.recipe(role, main)

    def sampler(self) -> str:
        return self.right.sampler()

    def fingerprint(self) -> str:
        if self.defect == "fingerprint":
            self.asked.append(1)
        return f"data {len(self.asked)}" if self.defect == "fingerprint" else "data"

    def truth(self, count: int, sampler: Sampler, seed: int) -> Sequence[Arm]:
        if self.defect == "truth":
            return [Arm("truth", torch.randn(count, 2, generator=torch.Generator().manual_seed(random.getrandbits(9))))]
        return self.right.truth(count, sampler, seed)

    def metrics(self) -> Sequence[Metric]:
        return self.right.metrics() if self.defect != "metrics" else [*self.right.metrics(), *self.right.metrics()]

    def primary(self) -> Sequence[str]:
        named = self.right.primary()
        return {"stranger": ("nobody's",), "twice": (*named, *named)}.get(self.defect, named)

    def figure(self, arms: Sequence[Arm], path: Path) -> None:
        if self.defect != "figure":
            self.right.figure(arms, path)


TASKS = [
    ("shape", "examples have the shape of the data"),
    ("levels in place", "levels are not changed"),
    ("draws globally", "no draw from a global generator"),
    ("counts", "equal streams give equal examples"),
    ("one step", "another step gives other examples"),
    ("groups", "each example's group is the number of a name"),
    ("starts of the batch", "a start alone is the start in a batch"),
    ("no recipe", "the main network's recipe builds a denoiser of its space"),
    ("fingerprint", "what identifies the data is the same each time"),
    ("truth", "there are true samples, decided by the seed"),
    ("metrics", "metrics have distinct names"),
    ("stranger", "primary metrics are named once per aspect, and can be resampled"),
    ("twice", "primary metrics are named once per aspect, and can be resampled"),
    ("figure", "the figure is a PNG"),
    ("labels", "it says how many labels its conditions choose from"),
]


def test_the_right_task_keeps_all_laws() -> None:
    assert broken(STRATEGY, Has()) == {}
    assert broken(TASK, TaskCase(Has())) == {}


@pytest.mark.parametrize(("defect", "law"), TASKS)
def test_a_tasks_defect(defect: str, law: str) -> None:
    assert law in broken(TASK, TaskCase(Has(defect=defect)))
