"""The input of weights and weight schedules."""

from typing import Self, TypeAlias, final

import torch
from attrs import frozen
from torch import Tensor

from guideplug.denoise.condition import Condition
from guideplug.denoise.space import Space

__all__ = ["Level", "LinearStep", "Step", "WeightInput"]

Level: TypeAlias = float | Tensor
Step: TypeAlias = tuple[Level, Level] | None
"""The levels at the start and end of a sampler's step; None outside a sampler, or if it does not pass them."""


@final
class LinearStep(tuple[float, float]):
    """The levels (start, end) of a step whose end is linear in the denoised samples D of one evaluation.

        x_end = a x + gain D, plus noise

    A sampler passes it as ``step`` of that evaluation, for weights that are defined by the state at its end; it equals
    the plain pair of levels.

    Args:
        start, end: the levels.
        gain: the coefficient of D; Euler's, 1 - end / start, by default.
    """

    gain: float

    def __new__(cls, start: float, end: float, gain: float | None = None) -> Self:
        """The levels as a pair, with the gain."""
        step = super().__new__(cls, (start, end))
        step.gain = 1 - end / start if gain is None else gain
        return step


@frozen(eq=False)
class WeightInput:
    """The input of weights in one evaluation of a guided denoiser.

    Args:
        sigma: the noise level in data units: a float from samplers, a tensor, scalar or (B,), in training. It may lie
            outside the space's range.
        toward: the next level below this evaluation on the sampler's grid, 0 at the end; None outside a sampler. A
            weight that needs it raises ValueError then. It may differ from the end of the step: see `own`.
        space: the space of the evaluated denoiser, with the range of levels of trajectories.
        condition: None, a tensor, or a mapping or list of conditions, batch first.
        step: the grid levels at the start and end of the sampler's step; None if the sampler does not pass them, and
            outside a sampler. Evaluations of one step share it: in a Heun step from sigma_i to sigma_{i+1} the second
            one, at sigma_{i+1} and toward sigma_{i+2}, has (sigma_i, sigma_{i+1}) as well. A `LinearStep` says besides
            how much of the denoised samples the end of the step holds.
        rows: the rows of x; None where only costs are computed.
        copies: rows per sample: ``rows`` are whole batches, one after another.
        device: the device of x; None where x is not known.
    """

    sigma: Level
    toward: Level | None
    space: Space
    condition: Condition = None
    step: Step = None
    rows: int | None = None
    copies: int = 1
    device: torch.device | None = None

    @property
    def own(self) -> bool:
        """Whether ``toward`` is the end of this evaluation's step: false in the second evaluation of a Heun step."""
        if self.step is None or self.toward is None:
            return self.step is None
        return bool(torch.as_tensor(self.toward == self.step[1]).all())
