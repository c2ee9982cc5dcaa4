"""Schedules that are right but for one planted defect: the kit names the law that it breaks, and no law without it."""

import random
from typing import Any

import pytest
import torch
from attrs import frozen
from defects import broken
from torch import Tensor

from guideplug import (
    Level,
    WeightInput,
    WeightSchedule,
)
from guideplug.testing.schedules import SCHEDULE

torch.set_num_threads(1)


class _Falls(WeightSchedule):
    @property
    def least(self) -> float:
        return 1.0

    def at(self, at: WeightInput) -> Level:
        return 1.0 + 1.0 / (1.0 + at.sigma)


@pytest.mark.parametrize(
    ("at", "law"),
    [
        (lambda self, at: 1.0 + 1.0 / (1.0 + at.sigma), None),
        (lambda self, at: torch.as_tensor(2.0), "a float gives a float"),
        (lambda self, at: at.sigma * float("inf"), "weights are finite"),
        (lambda self, at: 0.5 + 0.0 * at.sigma, "no weight is below least"),
        (lambda self, at: 2.0, "a tensor gives a tensor of its shape"),
        (lambda self, at: 1.0 + (at.sigma if (at.sigma > 1e4).all() else 0 * at.sigma) if isinstance(at.sigma, Tensor)
         else 1.0, "a tensor is not looked into"),
        (lambda self, at: 3.0 if isinstance(at.sigma, float) else 2.0 + 0 * at.sigma,
         "a float and a tensor give one weight"),
        (lambda self, at: 2.0 + 0.0 * at.sigma + random.random(), "no draw from a global generator"),
    ],
)  # fmt: skip
def test_a_schedules_defect(at: Any, law: str | None) -> None:
    found = broken(SCHEDULE, frozen(type("Schedule", (_Falls,), {"name": "schedule", "at": at}))())
    assert found == {} if law is None else law in found
