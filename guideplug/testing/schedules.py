"""The laws of a weight schedule: finite, never below its bound, the same for a float and a tensor."""

import math
from typing import Any, cast

import torch
from torch import Tensor

from guideplug.denoise import Level, Space, WeightInput, WeightSchedule
from guideplug.testing.law import Laws, must
from guideplug.testing.law_helpers import no_global_draws
from guideplug.testing.strategies import STRATEGY

__all__ = ["SCHEDULE", "check_weights"]

SCHEDULE: Laws[WeightSchedule] = Laws()
SPACES = (Space((2,)), Space((2,), sigma_data=1.0, sigma_min=0.03, sigma_max=5.0))


def check_weights(schedule: WeightSchedule) -> None:
    """The laws of a weight schedule: finite, never below its bound, the same for a float and a tensor.

    Also for levels outside the range of its space, and without reading a tensor's values.
    """
    STRATEGY.check(schedule)
    SCHEDULE.check(schedule)


def _levels() -> Tensor:
    return torch.logspace(-3, 2.5, 56, dtype=torch.float64)


def _at(sigma: Level, space: Space) -> WeightInput:
    return WeightInput(sigma, 0.5 * sigma, space, step=(sigma, 0.5 * sigma))


def _numbers(schedule: WeightSchedule, space: Space) -> list[float]:
    return [cast(float, schedule.at(_at(sigma, space))) for sigma in _levels().tolist()]


@SCHEDULE.add("a float gives a float", "use math for floats: a tensor would be waited for", premise=True)
def _float(schedule: WeightSchedule) -> None:
    for space in SPACES:
        for number in _numbers(schedule, space):
            must(type(number) is float, f"it gave a {type(number).__name__}")


@SCHEDULE.add("weights are finite", "for levels outside the space's range too, from 0.001 to 300")
def _finite(schedule: WeightSchedule) -> None:
    must(all(math.isfinite(number) for space in SPACES for number in _numbers(schedule, space)))


@SCHEDULE.add("no weight is below least", "return the lowest weight of any level from least")
def _least(schedule: WeightSchedule) -> None:
    for space in SPACES:
        lowest = min(_numbers(schedule, space))
        least = schedule.least - 1e-9 * (1.0 + abs(lowest))
        must(lowest >= least, f"least is {schedule.least:g}, and a weight is {lowest:g}")


@SCHEDULE.add("a tensor gives a tensor of its shape", "compute on the whole tensor of levels")
def _tensor(schedule: WeightSchedule) -> None:
    for space in SPACES:
        values: Any = schedule.at(_at(_levels(), space))
        must(isinstance(values, Tensor), f"it gave a {type(values).__name__}")
        must(values.shape == _levels().shape, f"levels of shape (56,) gave {tuple(values.shape)}")


@SCHEDULE.add("a tensor is not looked into", "decide by torch.where and clamp, not by `if sigma > ...`")
def _unseen(schedule: WeightSchedule) -> None:
    for space in SPACES:
        values: Any = schedule.at(_at(torch.empty(3, device="meta"), space))
        must(isinstance(values, Tensor) and values.device.type == "meta", "the result is on another device")


@SCHEDULE.add("a float and a tensor give one weight", "compute both by the same formula")
def _agree(schedule: WeightSchedule) -> None:
    for space in SPACES:
        values = cast(Tensor, schedule.at(_at(_levels(), space))).tolist()
        for sigma, number, value in zip(_levels().tolist(), _numbers(schedule, space), values, strict=True):
            size = 1e-9 * (1.0 + abs(number))
            must(abs(number - value) <= size, f"at sigma {sigma:g} the float's is {number:g}, the tensor's {value:g}")


@SCHEDULE.add("no draw from a global generator", "a weight is a function of the level alone")
def _draws_nothing(schedule: WeightSchedule) -> None:
    with no_global_draws():
        for space in SPACES:
            must(_numbers(schedule, space) == _numbers(schedule, space), "it is another at the second call")
