"""Where a weight is asked: the one value that weights and weight schedules take."""

from typing import TypeAlias

import torch
from attrs import frozen
from torch import Tensor

from guideplug.denoise.condition import Condition
from guideplug.denoise.space import Space

__all__ = ["Level", "Step", "WeightInput"]

Level: TypeAlias = float | Tensor
Step: TypeAlias = tuple[Level, Level] | None
"""The levels that a sampler's step goes between, (start, end); None where there is none, or it is not said."""


@frozen(eq=False)
class WeightInput:
    """One evaluation of a guided denoiser, as its weights see it.

    Args:
        sigma: the noise level in data units: a float from samplers, a tensor, scalar or (B,), in training. It may lie
            outside the space's range.
        toward: the next level below this evaluation on the sampler's grid, 0 at the end; None outside a sampler. A
            weight that needs it raises ValueError then. It is not always where the step ends: see `own`.
        space: of the denoiser that is evaluated; its range of levels is what a trajectory passes through.
        condition: None, a tensor or a mapping, batch first.
        step: the levels of the grid that the sampler's step goes between, (start, end); None where the sampler does
            not say it, and outside a sampler. Evaluations of one step share it: of a Heun step from sigma_i to
            sigma_{i+1} the second one, at sigma_{i+1} and toward sigma_{i+2}, has (sigma_i, sigma_{i+1}) as the first.
    """

    sigma: Level
    toward: Level | None
    space: Space
    condition: Condition = None
    step: Step = None

    @property
    def own(self) -> bool:
        """Whether ``toward`` is where the step of this evaluation ends: false in a Heun step's second evaluation."""
        if self.step is None or self.toward is None:
            return self.step is None
        return bool(torch.as_tensor(self.toward == self.step[1]).all())
