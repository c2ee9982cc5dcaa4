"""Evaluations that trajectories of several guiders share: those at one and the same x, noise level and condition.

From the same noise, every trajectory begins at the same point, and under a guider that is off at high noise levels it
is the unguided one down to the level where guidance begins. There a network is called once for all of them. Outputs
are compared by the values of x, so that nothing else is ever shared, and samples stay the same to the bit.

Cost: no call; the memory of up to `MOST_BYTES`, and a comparison of x per call.
"""

from collections.abc import Mapping, Sequence
from typing import final

import torch
from attrs import define
from torch import Tensor

from guideplug.denoise import Condition, Leaf, Level, Step
from guideplug.denoise.condition import equal_conditions
from guideplug.denoise.view import LeafWrapper

__all__ = ["SharedStart"]

MOST_BYTES = 256 * 1024**2


@define(eq=False)
class _Evaluation:
    """One call of a network, and the arm that last made use of it."""

    x: Tensor
    condition: Condition
    output: Tensor
    arm: int

    @property
    def bytes(self) -> int:
        return 2 * self.x.numel() * self.x.element_size()


class SharedStart:
    """The evaluations of the arms drawn so far, from their beginning."""

    def __init__(self) -> None:
        self._arm = self._bytes = 0
        self._evaluations: dict[tuple[Leaf, float], list[_Evaluation]] = {}
        self._around: dict[Leaf, Leaf] = {}

    def around(self, network: Leaf) -> Leaf:
        """The network that shares its evaluations; a view, which changes a call, shares none."""
        if isinstance(network, LeafWrapper):
            return network
        return self._around.setdefault(network, _Sharing(network, self))

    def next_arm(self) -> None:
        """Begin another arm: what the last one made no use of is beyond the shared beginning."""
        for key, listed in list(self._evaluations.items()):
            self._evaluations[key] = [one for one in listed if one.arm == self._arm]
        self._bytes = sum(one.bytes for listed in self._evaluations.values() for one in listed)
        self._arm += 1

    def find(self, network: Leaf, x: Tensor, sigma: float, condition: Condition) -> Tensor | None:
        """The output of an earlier call with the same values."""
        for one in self._evaluations.get((network, sigma), ()):
            if _equal(one.x, x) and equal_conditions(one.condition, condition):
                one.arm = self._arm
                return one.output.clone()
        return None

    def keep(self, network: Leaf, x: Tensor, sigma: float, condition: Condition, output: Tensor) -> None:
        """Keep a call, where there is room."""
        evaluation = _Evaluation(x.clone(), condition, output.clone(), self._arm)
        if self._bytes + evaluation.bytes <= MOST_BYTES:
            self._bytes += evaluation.bytes
            self._evaluations.setdefault((network, sigma), []).append(evaluation)


@final
class _Sharing(LeafWrapper):
    """A network that is not called where it was called before with the same values."""

    def __init__(self, of: Leaf, shared: SharedStart) -> None:
        super().__init__(of)
        self.role, self.built_by, self.outputs, self.decoder = of.role, of.built_by, of.outputs, of.decoder
        self._shared = shared

    @property
    def counted_as(self) -> Leaf:
        return self.of.counted_as

    def forward(
        self, x: Tensor, sigma: Level, condition: Condition = None, *, toward: Level | None = None, step: Step = None
    ) -> Tensor:
        """The output of one call, made now or before; a call that records a gradient is made anew."""
        if isinstance(sigma, Tensor) or torch.is_grad_enabled():
            anew: Tensor = self.of(x, sigma, condition, toward=toward, step=step)
            return anew
        output = self._shared.find(self.of, x, sigma, condition)
        if output is None:
            output = self.of(x, sigma, condition, toward=toward, step=step)
            self._shared.keep(self.of, x, sigma, condition, output)
        return output

    def denoise(self, x: Tensor, sigma: Tensor, condition: Condition) -> Tensor:
        return self.of.denoise(x, sigma, condition)

    def call_named(self, x: Tensor, sigma: Level, condition: Condition, names: Sequence[str]) -> Mapping[str, Tensor]:
        return self.of.call_named(x, sigma, condition, names)


def _equal(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and one.dtype == other.dtype and torch.equal(one, other)
