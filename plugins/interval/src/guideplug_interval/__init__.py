"""Guidance in a limited interval of noise levels: any guider inside it, the unguided network outside.

    D(x; sigma, c) = D_0(x; sigma, c) + [low < sigma <= high] * (G(x; sigma, c) - D_0(x; sigma, c))

Source: T. Kynkäänniemi, M. Aittala, T. Karras, S. Laine, T. Aila and J. Lehtinen 2024, "Applying guidance in a limited
interval improves sample and distribution quality in diffusion models", arXiv:2404.07724. The paper's interval is one of
noise levels, and so is ours. It holds for each evaluation, a Heun step's second one at its own level; the released code
decides once per step, by its number, for both: per="step", for published settings. Without bounds the interval is the
released one for latents of ImageNet-512.
Cost: the inner guider's inside the interval; outside it one call of the base and none of the guide.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, final

from attrs import frozen

from guideplug import Denoiser, Gate, Guider, Source, hook, option, strategy

__all__ = ["Interval"]

RELEASED = (0.28, 1.61)
"""The released interval for the best FID of EDM2 on ImageNet-512, steps 17 to 22 of 32, in levels."""


@final
@frozen
class Interval(Guider):
    """A guider in an interval of noise levels."""

    name = "interval"
    source = Source(
        "T. Kynkäänniemi, M. Aittala, T. Karras, S. Laine, T. Aila, J. Lehtinen",
        2024,
        "Applying Guidance in a Limited Interval Improves Sample and Distribution Quality in Diffusion Models",
        "https://arxiv.org/abs/2404.07724",
    )
    guider: Guider = option(factory=lambda: strategy("cfg", Guider), help="the guider that is on inside the interval")
    low: float | None = option(
        None, help="the level above which it is on; none for 0, or where high is none too for 0.28", unit="data units"
    )
    high: float | None = option(
        None,
        help="the highest level at which it is on; none for inf, or where low is none too for 1.61",
        unit="data units",
    )
    per: Literal["evaluation", "step"] = option(
        "evaluation", help="decide by the level of each evaluation, or by that which the sampler's step starts at"
    )

    @property
    def bounds(self) -> tuple[float, float]:
        """The level above which guidance is on, and the highest level at which it is."""
        if self.low is None and self.high is None:
            return RELEASED
        return 0.0 if self.low is None else self.low, math.inf if self.high is None else self.high

    def __attrs_post_init__(self) -> None:
        Gate(*self.bounds)
        if self.bounds == (0.0, math.inf):
            raise ValueError("the interval is every level: give low, high or both, as in low=0.2, high=1")

    @classmethod
    def example(cls, folder: Path) -> Mapping[str, Any]:
        """An interval that some levels of every grid are in."""
        return {"low": 0.2, "high": 1.0}

    def guide(self, base: Denoiser, models: Mapping[str, Denoiser]) -> Denoiser:
        return base + Gate(*self.bounds, self.per) * (self.guider.guide(base, models) - base)


@hook
def guideplug_guiders() -> list[type[Guider]]:
    return [Interval]
