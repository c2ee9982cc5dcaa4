"""Self-guidance: away from what the same network says of the same samples at a higher noise label.

    D_w(x; sigma, c) = D + (w - 1) (D - V),    V = x - r (x - D(x; sigma', c)),    sigma' = (1 + shift) sigma

x is the same; only the level that the network is told is higher. r says what the two answers are compared as:

    "score"     r = (sigma / sigma')^2     grad log p_sigma + (w - 1) grad log (p_sigma / p_sigma')
    "noise"     r = sigma / sigma'         predicted noise
    "denoised"  r = 1                      predicted clean samples

The paper's argument is the ratio of densities, whose decline from a noisier to a cleaner level marks what should not be
there: that is "score", which we take by default. The three are not the same guidance: for Gaussian data the score's
contracts towards the mean at every level, that of denoised samples spreads away from it, and that of the noise does the
one above the data's spread and the other below. The authors' code compares raw outputs (noise, or velocity) on a
variance-preserving x, with w - 1 = 3 and the label 10 of 1000 steps higher, which for Stable Diffusion's table is some
3 to 10 % of sigma; there x is also a little larger than the label says. A share of sigma instead of steps, and x in our
variance-exploding coordinates, are ours.

Source: T. Li, W. Luo, Z. Chen, L. Ma and G.-J. Qi 2024, "Self-guidance: boosting flow and diffusion generation on their
own", arXiv:2412.05827. (SG-prev, which reuses the last step's answer, is not here.)
Cost: one call of the network with two outputs per sample.
"""

from collections.abc import Mapping
from typing import Literal, final

from attrs import frozen
from torch import Tensor

from guideplug import Change, Denoiser, Guider, Level, Source, View, WeightSchedule, finite, option, positive

__all__ = ["HigherLevel", "SelfGuidance"]

POWERS = {"denoised": 0, "noise": 1, "score": 2}


@final
@frozen
class HigherLevel(Change):
    """A change to a higher noise label of the same samples."""

    shift: float
    power: int

    def level(self, sigma: Level) -> Level:
        return (1 + self.shift) * sigma

    def answer(self, denoised: Tensor, x: Tensor, sigma: Level) -> Tensor:
        if self.power == 0:
            return denoised
        return x.lerp(denoised, (1 + self.shift) ** -self.power)

    def __str__(self) -> str:
        return f"told {1 + self.shift:g} sigma"


@final
@frozen
class SelfGuidance(Guider):
    """A network guided away from its own output at a higher noise label."""

    name = "self-guidance"
    source = Source(
        "T. Li, W. Luo, Z. Chen, L. Ma, G.-J. Qi",
        2024,
        "Self-Guidance: Boosting Flow and Diffusion Generation on Their Own",
        "https://arxiv.org/abs/2412.05827",
    )
    weight: float | WeightSchedule = option(
        2.0, help="guidance weight; 1 is off. The authors' code has 4", validator=finite
    )
    shift: float = option(0.05, help="relative rise of the noise level that the network is given", validator=positive)
    compare: Literal["score", "noise", "denoised"] = option("score", help="what the two answers are compared as")

    def guide(self, base: Denoiser, models: Mapping[str, Denoiser]) -> Denoiser:
        return base + (self.weight - 1) * (base - View(base, HigherLevel(self.shift, POWERS[self.compare])))
