"""The gate of a guidance interval, a weight for every guider.

Source: Kynkäänniemi, Aittala, Karras, Laine, Aila and Lehtinen 2024, "Applying guidance in a limited interval improves
sample and distribution quality in diffusion models", arXiv:2404.07724: guidance where sigma_low < sigma <= sigma_high.
The released code decides once per step, by its number, for both evaluations of a Heun step.
"""

import math
from typing import Literal, final

from torch import Tensor

from guideplug.denoise.weight import Weight
from guideplug.denoise.weight_input import Level, WeightInput

__all__ = ["Gate"]


@final
class Gate(Weight):
    """1 where low < sigma <= high, else 0; decided on the host for a float sigma, row by row for a tensor.

    Args:
        low, high: noise levels in data units.
        per: "evaluation" decides by the level of each evaluation, "step" by the level at the start of the sampler's
            step, for all evaluations of the step. Outside a sampler, by the level of the evaluation.

    Raises:
        ValueError: not 0 <= low < high; another ``per``; "step" with a sampler that does not pass its steps.
    """

    def __init__(self, low: float, high: float = math.inf, per: Literal["evaluation", "step"] = "evaluation") -> None:
        super().__init__()
        if not 0.0 <= low < high:
            raise ValueError(f"low {low:g} and high {high:g}: give 0 <= low < high")
        if per not in ("evaluation", "step"):
            raise ValueError(f"per is {per!r}: give 'evaluation' or 'step'")
        self.low, self.high, self.per = float(low), float(high), per

    def forward(self, at: WeightInput) -> Level:
        """1 inside the interval, 0 outside."""
        level = self._level(at)
        if isinstance(level, Tensor):
            return ((level > self.low) & (level <= self.high)).to(level.dtype)
        return 1.0 if self.low < level <= self.high else 0.0

    def zero_at(self, at: WeightInput) -> bool:
        """Whether it is 0 outside the interval: at a level, or in a step."""
        return bool(self.forward(at) == 0.0)

    def _level(self, at: WeightInput) -> Level:
        if self.per == "evaluation" or (at.step is None and at.toward is None):
            return at.sigma
        if at.step is None:
            raise ValueError(
                "an interval per step asks which step an evaluation belongs to, and the sampler does not say it: let "
                "it call denoiser(x, sigma, condition, toward=after, step=(start, end)), or use per='evaluation'"
            )
        return at.step[0]

    def extra_repr(self) -> str:
        """The options as printed in a formula."""
        name = "sigma" if self.per == "evaluation" else "step's sigma"
        if self.high == math.inf:
            return f"[{name} > {self.low:g}]"
        return f"[{name} <= {self.high:g}]" if self.low == 0 else f"[{self.low:g} < {name} <= {self.high:g}]"
