"""A local plugin for the tests of recipes of data: a task of a few rows in two groups."""

from collections.abc import Sequence
from pathlib import Path
from typing import final

import torch
from attrs import frozen
from torch import Tensor
from torch.utils.data import TensorDataset

from guideplug import (
    Arm,
    Condition,
    Examples,
    FiniteData,
    Metric,
    Recipe,
    Sampler,
    Space,
    Start,
    Streams,
    Task,
    TrainingStreams,
    hook,
    option,
)


@final
@frozen
class Few(Task):
    """Some rows of the plane, whose sign along the first axis is their group."""

    name = "few"
    count: int = option(7, help="how many")
    labels: bool = option(False, help="whether the group is the condition")
    untold: bool = option(False, help="whether a sample does not say its group")

    grouped: bool = option(True, help="whether there are groups at all")

    @property
    def data(self) -> FiniteData:
        x = torch.randn(self.count, 2, generator=torch.Generator().manual_seed(0))
        return FiniteData(TensorDataset(*([x, (x[:, 0] > 0).long()] if self.labels else [x])))

    def items(self, ids: Tensor) -> tuple[Tensor, Condition]:
        return self.data.items(ids)

    def size(self) -> int | None:
        return self.count

    def groups(self) -> Sequence[str]:
        return ["left", "right"] if self.grouped else []

    def group(self, examples: Examples) -> Tensor | None:
        return examples.condition if isinstance(examples.condition, Tensor) else None

    def group_of(self, x: Tensor) -> Tensor | None:
        return None if self.untold else (x[:, 0] > 0).long()

    @property
    def space(self) -> Space:
        return Space(shape=(2,), sigma_data=0.5, sigma_min=0.002, sigma_max=5.0)

    def draw(self, sigma: Tensor, streams: TrainingStreams) -> Examples:
        return self.data.draw(sigma, streams)

    def start(self, streams: Streams, sigma: float) -> Start:
        return Start(sigma * streams.normal((2,), "start noise"), streams.integers(2, "label") if self.labels else None)

    def recipe(self, role: str, main: Recipe | None) -> Recipe | None:
        return None

    def sampler(self) -> str:
        return "euler(num_steps=3)"

    def truth(self, count: int, sampler: Sampler, seed: int) -> Sequence[Arm]:
        return []

    def metrics(self) -> Sequence[Metric]:
        return []

    def figure(self, arms: Sequence[Arm], path: Path) -> None:
        raise AssertionError


@hook
def guideplug_tasks() -> list[type[Task]]:
    return [Few]
