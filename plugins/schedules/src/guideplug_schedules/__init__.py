"""Weight schedules: guidance weights that are functions of the noise level.

With u the position on EDM's grid, from 0 at the highest level, where sampling begins, to 1 at the lowest,

    u = (sigma_max^(1/7) - sigma^(1/7)) / (sigma_max^(1/7) - sigma_min^(1/7))        clipped to [0, 1]

    constant      w = value
    ramp          w = low + (high - low) u^power
    cosine        w = low + (high - low) (1 - cos(pi u^power)) / 2
    exponential   w = floor + (high - floor) e^(-rate (1 - u))

Sources. ramp and cosine: X. Wang, N. Dufour, N. Andreou, M.-P. Cani, V. Fernández Abrevaya, D. Picard and V. Kalogeiton
2024, "Analysis of classifier-free guidance weight schedulers", arXiv:2404.13040, which writes omega = w - 1. Its linear
schedule omega(t) = 2 omega (1 - t/T), of mean omega, is low 1 and high 1 + 2 omega; its powered cosine of power s,
omega (1 - cos(pi (1 - t/T)^s)) / 2, is low 1 and high 1 + omega. exponential: J. Gao et al. 2026, "C2FG: control
classifier-free guidance via score discrepancy analysis", arXiv:2603.08155, omega(t) = omega_0 e^(-lambda t), where
omega is our w, with floor 0. We know the formulas from accounts of the papers and from the first one's printed code;
we have not read them in the papers' text.
Ours: u in place of 1 - t/T. The papers count the steps of their samplers, or the time of a variance-preserving process;
u is EDM's step count, whatever the number of steps, so that the weight is a function of the level and the same for
every solver. The powers of ramp, ``floor``, ``levels`` and the default rate are ours too.
Cost: none. At levels where the weight is that of no guidance, the guide is not called.
"""

import math
from typing import Any, final

from attrs import frozen
from torch import Tensor

from guideplug import (
    Level,
    Source,
    WeightInput,
    WeightSchedule,
    finite,
    grid_position,
    hook,
    non_negative,
    option,
    positive,
)

WANG = Source(
    "X. Wang, N. Dufour, N. Andreou, M.-P. Cani, V. Fernández Abrevaya, D. Picard, V. Kalogeiton",
    2024,
    "Analysis of Classifier-Free Guidance Weight Schedulers",
    "https://arxiv.org/abs/2404.13040",
)
START = "the weight at the highest level, where sampling begins"
END = "the weight at the lowest level"
BETWEEN = "the lowest and the highest level between which the weight changes; none for the network's own"


def _rising(instance: object, attribute: object, value: Any) -> None:
    if value is not None and (len(value) != 2 or not 0 < value[0] < value[1] < math.inf):
        raise ValueError(f"levels are {list(value)}: give two, the lower one first, both positive and finite")


@final
@frozen
class Constant(WeightSchedule):
    """One weight at all levels, like a number."""

    name = "constant"
    value: float = option(help="the weight", validator=finite)

    @property
    def least(self) -> float:
        return self.value

    def at(self, at: WeightInput) -> Level:
        return 0.0 * at.sigma + self.value


@final
@frozen
class Ramp(WeightSchedule):
    """A weight that changes from one value to another along the grid, linearly or by a power."""

    name = "ramp"
    source = WANG
    low: float = option(help=START, validator=finite)
    high: float = option(help=END, validator=finite)
    power: float = option(1.0, help="1 is straight; more changes later, less changes sooner", validator=positive)
    levels: tuple[float, float] | None = option(None, help=BETWEEN, unit="data units", validator=_rising)

    @property
    def least(self) -> float:
        return min(self.low, self.high)

    def at(self, at: WeightInput) -> Level:
        return self.low + (self.high - self.low) * _position(at, self.levels) ** self.power


@final
@frozen
class Cosine(WeightSchedule):
    """A weight that changes from one value to another along half a cosine, flat at both ends."""

    name = "cosine"
    source = WANG
    low: float = option(help=START, validator=finite)
    high: float = option(help=END, validator=finite)
    power: float = option(1.0, help="s; more changes later, less changes sooner", validator=positive)
    levels: tuple[float, float] | None = option(None, help=BETWEEN, unit="data units", validator=_rising)

    @property
    def least(self) -> float:
        return min(self.low, self.high)

    def at(self, at: WeightInput) -> Level:
        angle = math.pi * _position(at, self.levels) ** self.power
        cosine = angle.cos() if isinstance(angle, Tensor) else math.cos(angle)
        return self.low + (self.high - self.low) * (0.5 - 0.5 * cosine)


@final
@frozen
class Exponential(WeightSchedule):
    """A weight that decays with noise: largest at the lowest level, smaller by a constant factor per step above it."""

    name = "exponential"
    source = Source(
        "J. Gao, T. Zheng, J. Zou, F. Yang, S. Liu, L. Fan, Z. Zhang, H. Zhang, J. Chen, P.-T. Jiang, B. Li, J. Wang",
        2026,
        "C2FG: Control Classifier-Free Guidance via Score Discrepancy Analysis",
        "https://arxiv.org/abs/2603.08155",
    )
    high: float = option(help="omega_0, the weight at the lowest level", validator=finite)
    rate: float = option(1.0, help="lambda, how fast it decays; 0 is not at all", validator=non_negative)
    floor: float = option(0.0, help="what it decays towards; 0 is the paper's, 1 no guidance", validator=finite)
    levels: tuple[float, float] | None = option(None, help=BETWEEN, unit="data units", validator=_rising)

    @property
    def least(self) -> float:
        return min(self.high, self.floor + (self.high - self.floor) * math.exp(-self.rate))

    def at(self, at: WeightInput) -> Level:
        exponent = self.rate * (_position(at, self.levels) - 1.0)
        left = exponent.exp() if isinstance(exponent, Tensor) else math.exp(exponent)
        return self.floor + (self.high - self.floor) * left


def _position(at: WeightInput, levels: tuple[float, float] | None) -> Level:
    """The position u on the grid of these levels, or of the space's."""
    return grid_position(at.sigma, *(levels or (at.space.sigma_min, at.space.sigma_max)))


@hook
def guideplug_weights() -> list[type[WeightSchedule]]:
    return [Constant, Ramp, Cosine, Exponential]
