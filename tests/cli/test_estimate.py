"""Estimates of trainings: those that differ in seeds alone are timed once."""

from collections.abc import Mapping
from typing import Any, final

import pytest
from attrs import evolve, frozen
from torch import nn

from guideplug import Builder, Recipe, Task
from guideplug.cli.estimate import estimates_of
from guideplug.config import Reader, option
from guideplug.registry.registry import Registry

TIMED: list[Recipe] = []


@final
@frozen(kw_only=True)
class Timed(Recipe):
    """A recipe that notes when it is timed."""

    name = "timed"
    path: str = option("", help="a text")
    seed: int = option(0, help="a seed")
    task: Task | None = option(None, help="data")
    models: Mapping[str, Recipe] = option(factory=dict, help="others")
    lengths: tuple[float, ...] = option((1.0,), help="numbers")

    def build(self) -> nn.Module:
        return nn.Module()

    def make(self, module: nn.Module, builder: Builder) -> Mapping[str, Any]:
        return {}

    def estimate(self) -> float:
        TIMED.append(self)
        return float(len(TIMED))


def data(seed: int) -> Task:
    task: Task = Reader(Registry.installed()).expression(f"gaussian(count=64, data_seed={seed})", Task)
    return task


PLAIN = Timed(task=data(0), models={"a": Timed(), "b": Timed(path="b")})


@pytest.mark.parametrize(
    ("changes", "again"),
    [
        ({"seed": -3}, False),
        ({"task": data(9)}, False),
        ({"models": {"b": Timed(path="b", seed=4), "a": Timed(seed=5)}}, False),
        ({"path": "trained-seed=1.safetensors"}, True),  # a seed in a text is another text
        ({"lengths": (1.0, 2.0)}, True),
        ({"task": None}, True),
        ({"models": {"a": Timed(path="b"), "b": Timed()}}, True),
    ],
)
def test_only_seeds_take_no_time_of_their_own(changes: dict[str, Any], again: bool) -> None:
    TIMED.clear()
    assert estimates_of([PLAIN, evolve(PLAIN, **changes), PLAIN]) == ([1.0, 2.0, 1.0] if again else [1.0] * 3)


def test_texts_with_other_numbers_after_seed_are_others() -> None:
    TIMED.clear()
    assert estimates_of([Timed(path="seed=1"), Timed(path="seed=2")]) == [1.0, 2.0]
