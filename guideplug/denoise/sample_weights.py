"""Guidance weights that differ from sample to sample: a list of them, or a part of the condition.

    cfg(weight=[3, 7.5])                        the first sample at 3, the second at 7.5
    CFG(weight=WeightColumn("guidance.weight")) as the condition's part of that name says, (B,)

A list belongs to the samples by their numbers: in a run by those of its samples, else by the rows of x. A part of a
condition goes with its sample into any batch. Names with a dot, such as ``guidance.weight``, are no arguments: such
parts are for weights, and networks are not given them.
Cost: none; but the guide is called where any sample has a weight that is not off.
"""

import functools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import final

import torch
from attrs import frozen
from attrs.validators import deep_iterable
from torch import Tensor

from guideplug.config import finite, option
from guideplug.denoise.condition import parts_of
from guideplug.denoise.weight import WeightSchedule
from guideplug.denoise.weight_input import Level, WeightInput
from guideplug.errors import ConditionError

__all__ = ["SampleWeights", "WeightColumn", "numbered"]

_first: ContextVar[int | None] = ContextVar("the number of the first sample of a batch", default=None)


@contextmanager
def numbered(first: int) -> Iterator[None]:
    """Inside, the rows of x are the samples of a run from this number on, which has a weight for each."""
    token = _first.set(first)
    try:
        yield
    finally:
        _first.reset(token)


def _not_empty(instance: object, attribute: object, value: Sequence[float]) -> None:
    if not value:
        raise ValueError("a list of weights is empty: give one per sample")


@final
@frozen
class SampleWeights(WeightSchedule):
    """A weight for each sample; a list of numbers where a weight is expected."""

    name = "per-sample"
    per_row = True
    weights: tuple[float, ...] = option(
        help="the weight of each sample", validator=[deep_iterable(finite), _not_empty], converter=tuple
    )

    @property
    def least(self) -> float:
        return min(self.weights)

    @property
    def as_list(self) -> Sequence[float]:
        return self.weights

    def at(self, at: WeightInput) -> Level:
        """The weights of the rows, (rows,).

        Raises:
            ConditionError: the samples are more or fewer than the weights.
        """
        weights, first = _on_device(self.weights, at.device), _first.get()
        if at.rows is None:
            return weights
        batch = at.rows // at.copies
        if first is not None:
            weights = weights[(first + torch.arange(batch, device=at.device)) % len(weights)]
        elif len(weights) != batch:
            raise ConditionError(
                f"weight is a list of {len(weights)}, and x has batch {batch}: give one weight per sample, or a number"
            )
        return weights.repeat(at.copies)


@functools.lru_cache(maxsize=64)
def _on_device(weights: tuple[float, ...], device: torch.device | None) -> Tensor:
    """The weights on a device, copied once: a copy per evaluation would synchronise with the device."""
    with torch.inference_mode(False):  # tensors of that mode have no gradients later
        return torch.tensor(weights, device=device)


@final
@frozen
class WeightColumn(WeightSchedule):
    """A weight per sample that is a part of the condition, (B,)."""

    name = "column"
    per_row = True
    part: str = option("guidance.weight", help="the name of the part; with a dot, networks are not given it")

    @property
    def least(self) -> float:
        return -torch.inf

    def at(self, at: WeightInput) -> Level:
        """The weights of the rows, (rows,).

        Raises:
            ConditionError: the condition has no such part, or it is no number per sample.
        """
        if at.rows is None:
            return torch.zeros(1)
        parts = parts_of(at.condition)
        if self.part not in parts:
            known = ", ".join(map(repr, filter(None, parts))) or "no named part"
            raise ConditionError(f"weight is the part {self.part!r} of the condition, which has {known}: add it, (B,)")
        weights = parts[self.part]
        if weights.ndim != 1 or not weights.is_floating_point():
            raise ConditionError(
                f"condition {self.part!r} is {str(weights.dtype)[6:]} of shape {tuple(weights.shape)}: as a weight it "
                "is a floating-point number per sample, (B,)"
            )
        return weights


WeightSchedule.of_list = SampleWeights
