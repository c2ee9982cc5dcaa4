"""Weights that every guider may use: the gate of a guidance interval.

Source: Kynkäänniemi, Aittala, Karras, Laine, Aila and Lehtinen 2024, "Applying guidance in a limited interval improves
sample and distribution quality in diffusion models", arXiv:2404.07724: guidance where sigma_low < sigma <= sigma_high.
"""

import math
from typing import final

from torch import Tensor

from guideplug.denoise import Condition, Level, Weight

__all__ = ["Gate"]


@final
class Gate(Weight):
    """1 where low < sigma <= high, else 0; decided on the host for a float sigma, row by row for a tensor.

    Args:
        low, high: noise levels in data units.

    Raises:
        ValueError: not 0 <= low < high.
    """

    def __init__(self, low: float, high: float = math.inf) -> None:
        super().__init__()
        if not 0.0 <= low < high:
            raise ValueError(f"low {low:g} and high {high:g}: give 0 <= low < high")
        self.low, self.high = float(low), float(high)

    def forward(self, condition: Condition, sigma: Level, toward: Level | None) -> Level:
        """1 inside the interval, 0 outside."""
        if isinstance(sigma, Tensor):
            return ((sigma > self.low) & (sigma <= self.high)).to(sigma.dtype)
        return 1.0 if self.low < sigma <= self.high else 0.0

    def zero_at(self, sigma: float, toward: float | None) -> bool:
        """Whether sigma lies outside the interval."""
        return not self.low < sigma <= self.high

    def extra_repr(self) -> str:
        """As printed in a formula."""
        if self.high == math.inf:
            return f"[sigma > {self.low:g}]"
        return f"[sigma <= {self.high:g}]" if self.low == 0 else f"[{self.low:g} < sigma <= {self.high:g}]"
