"""Guiders that are right but for one planted defect: the kit names the law that it breaks, and no law without it."""

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any, final

import numpy as np
import pytest
import torch
from attrs import frozen
from defects import broken
from torch import Tensor

from guideplug import (
    Combine,
    Condition,
    Denoiser,
    Guider,
    Leaf,
    Level,
    Recipe,
    Task,
    WeightSchedule,
    option,
)
from guideplug.testing.guided import Guided
from guideplug.testing.guiders import GUIDER
from guideplug.testing.strategies import STRATEGY

torch.set_num_threads(1)


Row = Callable[[Sequence[Tensor], Tensor, Level], Tensor]


@final
@frozen
class Guides(Guider):
    """Away from a weak network: right without a defect."""

    name = "guides"
    weight: float | WeightSchedule = option(2.0, help="guidance weight; 1 is off")
    defect: str = option("", help="what is wrong")

    def needs(self, task: Task, main: Recipe) -> Mapping[str, Any]:
        return {} if self.defect == "needs" else {"weak": None}

    def guide(self, base: Denoiser, models: Mapping[str, Denoiser]) -> Denoiser:
        weak, w = models["weak"], self.weight
        if not isinstance(w, float):
            return base + (w - 1) * (base - weak)
        right = base + (w - 1) * (base - weak)
        if self.defect in GUIDE:
            return GUIDE[self.defect](base, weak, w)
        if self.defect in ROWS:
            function = ROWS[self.defect]
            return Combine([right], lambda outputs, x, sigma: function(outputs, x, sigma))
        return right


def _leaking() -> Row:
    last: list[Tensor] = []

    def function(outputs: Sequence[Tensor], x: Tensor, sigma: Level) -> Tensor:
        before = last[-1] if last and last[-1].shape == outputs[0].shape else outputs[0]
        last[:] = [outputs[0]]
        return outputs[0] + 0.1 * (before - outputs[0])

    return function


class _CalledByHand(Leaf):
    """A denoiser that calls others itself, behind the planner's back."""

    def __init__(self, base: Denoiser, weak: Denoiser, weight: float) -> None:
        super().__init__(base.space)
        self.parts, self.weight = (base, weak), weight

    def denoise(self, x: Tensor, sigma: Tensor, condition: Condition) -> Tensor:
        base, weak = (part(x, sigma, condition) for part in self.parts)
        denoised: Tensor = base + (self.weight - 1) * (self.parts[0](x, sigma, condition) - weak)
        return denoised


GUIDE: dict[str, Callable[[Denoiser, Denoiser, float], Denoiser]] = {
    "not affine": lambda base, weak, w: base + (w - 1) * abs(w) * (base - weak),
    "half as strong": lambda base, weak, w: base + (w - 0.5) * (base - weak),
    "called when off": lambda base, weak, w: Combine(
        [base, weak], lambda outputs, x, sigma: outputs[0] if w == 1 else outputs[0] * w + outputs[1] * (1 - w)
    ),
    "called nearly off": lambda base, weak, w: (
        base if w == 1 else Combine([base, weak], lambda outputs, x, sigma: outputs[0] * w + outputs[1] * (1 - w))
    ),
    "called at 0": lambda base, weak, w: (
        base
        if abs(w - 1) < 1e-9
        else Combine([base, weak], lambda outputs, x, sigma: outputs[1] + w * (outputs[0] - outputs[1]))
    ),
    "called by hand": lambda base, weak, w: base if abs(w - 1) < 1e-9 else _CalledByHand(base, weak, w),
    "state": lambda base, weak, w: Combine([base + (w - 1) * (base - weak)], _leaking()),
    "no denoiser": lambda base, weak, w: base - weak,  # type: ignore[dict-item,return-value]
}


def _batch_mean(outputs: Sequence[Tensor], x: Tensor, sigma: Level) -> Tensor:
    return outputs[0] + 0.1 * (outputs[0] - outputs[0].mean(0))


def _first_row(outputs: Sequence[Tensor], x: Tensor, sigma: Level) -> Tensor:
    return outputs[0] + 0.1 * torch.arange(len(x)).reshape(-1, *[1] * (x.ndim - 1)) / len(x)


def _in_place(outputs: Sequence[Tensor], x: Tensor, sigma: Level) -> Tensor:
    x.mul_(1.5)
    return outputs[0]


def _levels_in_place(outputs: Sequence[Tensor], x: Tensor, sigma: Level) -> Tensor:
    if isinstance(sigma, Tensor):
        sigma.mul_(2)
    return outputs[0]


def _looked_at(outputs: Sequence[Tensor], x: Tensor, sigma: Level) -> Tensor:
    return outputs[0] if float(outputs[0].abs().max()) < 1e6 else outputs[0].clamp(-1, 1)


ROWS: dict[str, Row] = {
    "batch order": _first_row,
    "batch split": _batch_mean,
    "in place": _in_place,
    "levels in place": _levels_in_place,
    "torch's generator": lambda outputs, x, sigma: outputs[0] + 0 * torch.rand(()),
    "NumPy's generator": lambda outputs, x, sigma: outputs[0] + 0 * float(np.random.rand()),  # noqa: NPY002
    "Python's generator": lambda outputs, x, sigma: outputs[0] + 0 * random.random(),
    "wrong type": lambda outputs, x, sigma: outputs[0].float(),
    "wrong device": lambda outputs, x, sigma: outputs[0] + torch.zeros(x.shape, dtype=x.dtype, device="cpu"),
    "looks at values": _looked_at,
    "levels of one": lambda outputs, x, sigma: (
        outputs[0] * (1 + (float(sigma.reshape(-1)[0]) if isinstance(sigma, Tensor) else sigma) * 0.1)
    ),
    "not finite": lambda outputs, x, sigma: outputs[0] / 0,
}


GUIDERS = [
    ("not affine", "the result is affine in the weight"),
    ("half as strong", "weight 1 is the base, bit for bit"),
    ("called when off", "weight 1 calls no guide"),
    ("called nearly off", "a weight within rounding of 1 calls no guide"),
    ("called at 0", "weight 0 does not call a base that does not count"),
    ("called by hand", "each network is called at most once per evaluation, and once for each view of it"),
    ("state", "nothing is kept from one trajectory for another"),
    ("no denoiser", "a guided denoiser is a denoiser"),
    ("not finite", "a guided denoiser is a denoiser"),
    ("needs", "it says in needs, or in may_use, which networks it asks for"),
    ("batch order", "the result does not depend on the order of the batch"),
    ("batch split", "the result does not depend on how the batch is split"),
    ("in place", "inputs are not changed"),
    ("levels in place", "inputs are not changed"),
    ("torch's generator", "no draw from a global generator"),
    ("NumPy's generator", "no draw from a global generator"),
    ("Python's generator", "no draw from a global generator"),
    ("wrong type", "the result has the type of x"),
    ("wrong device", "the result is on the device of x, and no value of it is looked at"),
    ("looks at values", "the result is on the device of x, and no value of it is looked at"),
    ("levels of one", "a tensor of levels gives what the float gives"),
]


def guided(defect: str) -> Guided:
    return Guided(lambda weight=2.0: Guides(weight, defect=defect), shape=(3,))


def test_the_right_guider_keeps_all_laws() -> None:
    assert broken(STRATEGY, Guides()) == {}
    assert broken(GUIDER, guided("")) == {}


@pytest.mark.parametrize(("defect", "law"), GUIDERS)
def test_a_guiders_defect(defect: str, law: str) -> None:
    assert law in broken(GUIDER, guided(defect))


def test_the_reason_names_the_generator() -> None:
    for whose in ("torch's", "NumPy's", "Python's"):
        found = broken(GUIDER, guided(f"{whose} generator"))
        assert found["no draw from a global generator"].startswith(f"drew from {whose} global generator")


def test_a_wrong_line_is_named() -> None:
    reason = broken(GUIDER, guided("no denoiser"))["a guided denoiser is a denoiser"]
    assert reason == "guide() returned a Direction"
    device = broken(GUIDER, guided("looks at values"))[
        "the result is on the device of x, and no value of it is looked at"
    ]
    assert "in test_guiders.py, line " in device
