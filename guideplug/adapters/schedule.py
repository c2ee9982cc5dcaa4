"""Noise schedules: the scaled input and the time of a network at a noise level.

A network was trained on x_t = alpha y + beta n, with clean y, unit noise n, and a time t of the noise. Here a level is
sigma = beta / alpha, in data units, and x = y + sigma n; so x_t = alpha x, beta = sigma alpha, and a schedule is two
functions of sigma:

    VE       alpha = 1                       t = sigma, or ln sigma
    VP       alpha = 1 / sqrt(1 + sigma^2)   1 + sigma^2 = exp((beta_max - beta_min) t^2 / 2 + beta_min t)
    cosine   alpha = 1 / sqrt(1 + sigma^2)   alpha = cos(u_t) / cos(u_0), u_t = pi / 2 (t + s) / (1 + s)
    flow     alpha = 1 / (1 + sigma)         sigma = t / (1 - t)

A table of alpha^2 is `guideplug.adapters.discrete`.

Sources: VE and VP, Song, Sohl-Dickstein, Kingma, Kumar, Ermon and Poole 2021, arXiv:2011.13456, as in table 1 of
Karras, Aittala, Aila and Laine 2022, arXiv:2206.00364; cosine, Nichol and Dhariwal 2021, arXiv:2102.09672, eq. 17;
flow, Liu, Gong and Liu 2022, arXiv:2209.03003, and Lipman, Chen, Ben-Hamu, Nickel and Le 2023, arXiv:2210.02747.
"""

import abc
import math
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar, final

import torch
from attrs import field, frozen
from torch import Tensor

from guideplug.config import between, non_negative, positive

if TYPE_CHECKING:
    from attrs import Attribute

__all__ = ["CosineSchedule", "FlowSchedule", "NoiseSchedule", "VESchedule", "VPSchedule"]

Times = TypeVar("Times", float, Tensor)
NoiseInput: TypeAlias = Literal["sigma", "log_sigma"]

NEARLY_NOISE = 999.0
"""The level of a flow's t = 0.999."""

MAX_EXPONENT = 80.0
"""The largest log(1 + sigma^2): sigma is squared in float32, which ends at exp(88)."""


class NoiseSchedule(abc.ABC):
    """The signal and noise of a network's input. Final frozen attrs classes; subclass it for your own.

    Levels are tensors (B,) of positive standard deviations in data units; their values are never read on the host, so
    that nothing synchronises with an accelerator. A level outside ``sigma_range`` without a time is clamped to the
    nearest end.
    """

    @property
    @abc.abstractmethod
    def sigma_range(self) -> tuple[float, float]:
        """The lowest and the highest level of the network, both finite: the ends of samplers' trajectories."""

    @abc.abstractmethod
    def alpha(self, sigma: Tensor) -> Tensor:
        """The factor from x to the network's input, (B,)."""

    @abc.abstractmethod
    def time(self, sigma: Tensor) -> Tensor:
        """The network's time input, (B,)."""

    @abc.abstractmethod
    def sigma(self, time: Tensor) -> Tensor:
        """The level (B,) at a time input: the inverse of `time`."""

    def levels(self, count: int, sigma_min: float, sigma_max: float) -> list[float]:
        """``count`` levels from sigma_max down to sigma_min, at even steps of the time."""
        first, last = self.time(torch.tensor([sigma_max, sigma_min], dtype=torch.float64)).tolist()
        inner = self.sigma(torch.linspace(first, last, count, dtype=torch.float64)[1:-1]).tolist()
        return [float(sigma_max)] if count == 1 else [float(sigma_max), *inner, float(sigma_min)]


def _one_of(*known: object) -> Callable[[object, "Attribute[Any]", object], None]:
    def check(instance: object, attribute: "Attribute[Any]", value: object) -> None:
        if value not in known or isinstance(value, bool):
            raise ValueError(f"{attribute.name} is {value!r}: give {' or '.join(map(repr, known))}")

    return check


def _range_is_valid(low: float, high: float) -> None:
    if not 0.0 < low < high < math.inf:
        raise ValueError(f"sigma_min {low:g} and sigma_max {high:g}: give 0 < sigma_min < sigma_max, both finite")


@final
@frozen
class VESchedule(NoiseSchedule):
    """Variance exploding: the network's input is x itself.

    Args:
        noise_input: the form of the noise level in the time input: ``"sigma"``, or ``"log_sigma"`` for its natural
            logarithm.
        time_scale: a factor on the time input.
        sigma_min, sigma_max: the range of levels of the network's training.
        told: the old spelling of ``noise_input``, removed in the next release.

    Raises:
        ValueError: noise_input is another word, time_scale is not positive, not 0 < sigma_min < sigma_max < inf.
    """

    noise_input: NoiseInput = field(default="sigma", validator=_one_of("sigma", "log_sigma"))
    time_scale: float = field(default=1.0, validator=positive)
    sigma_min: float = 0.002
    sigma_max: float = 80.0

    def __init__(
        self,
        noise_input: NoiseInput = "sigma",
        time_scale: float = 1.0,
        sigma_min: float = 0.002,
        sigma_max: float = 80.0,
        *,
        told: NoiseInput | None = None,
    ) -> None:
        if told is not None:
            warnings.warn(
                "VESchedule(told=) is called VESchedule(noise_input=): the old name goes with the next release",
                DeprecationWarning,
                stacklevel=2,
            )
            noise_input = told
        self.__attrs_init__(noise_input, time_scale, sigma_min, sigma_max)  # type: ignore[attr-defined]

    def __attrs_post_init__(self) -> None:
        _range_is_valid(self.sigma_min, self.sigma_max)

    @property
    def sigma_range(self) -> tuple[float, float]:
        return self.sigma_min, self.sigma_max

    def alpha(self, sigma: Tensor) -> Tensor:
        return torch.ones_like(sigma)

    def time(self, sigma: Tensor) -> Tensor:
        return self.time_scale * (sigma if self.noise_input == "sigma" else sigma.log())

    def sigma(self, time: Tensor) -> Tensor:
        level = time / self.time_scale
        return level if self.noise_input == "sigma" else level.exp()


@final
@frozen
class VPSchedule(NoiseSchedule):
    """Variance preserving, with beta(t) linear in the continuous time 0 < t <= 1.

    Args:
        beta_min, beta_max: beta at 0 and at 1.
        time_scale: the factor from t to the time input: 1000 or 999 for t in steps.
        time_min: the earliest t of the network.

    Raises:
        ValueError: not 0 <= beta_min < beta_max, their mean is above 80, time_scale is not positive, time_min is not
            between 0 and 1.
    """

    beta_min: float = field(default=0.1, validator=non_negative)
    beta_max: float = field(default=20.0, validator=positive)
    time_scale: float = field(default=1.0, validator=positive)
    time_min: float = field(default=1e-3, validator=between(0.0, 1.0, ends=False))

    def __attrs_post_init__(self) -> None:
        if not self.beta_min < self.beta_max:
            raise ValueError(f"beta_min {self.beta_min:g} must be below beta_max {self.beta_max:g}")
        if self._exponent(1.0) > MAX_EXPONENT:
            raise ValueError(
                f"beta_min {self.beta_min:g} and beta_max {self.beta_max:g}: sigma would overflow; give a mean of "
                f"{MAX_EXPONENT:g} at most (over the times 0 to 1: 20 stands for 0.02 in each of 1000 steps)"
            )

    @property
    def sigma_range(self) -> tuple[float, float]:
        low, high = (math.sqrt(math.expm1(self._exponent(t))) for t in (self.time_min, 1.0))
        return low, high

    def alpha(self, sigma: Tensor) -> Tensor:
        return (1 + sigma.square()).rsqrt()

    def time(self, sigma: Tensor) -> Tensor:
        # The root of a quadratic in t, written so that a small one does not cancel.
        twice = 2 * sigma.clamp(*self.sigma_range).square().log1p()
        root = (self.beta_min**2 + (self.beta_max - self.beta_min) * twice).sqrt()
        return self.time_scale * twice / (root + self.beta_min)

    def sigma(self, time: Tensor) -> Tensor:
        return self._exponent(time / self.time_scale).expm1().sqrt()

    def _exponent(self, t: Times) -> Times:
        return (self.beta_max - self.beta_min) * t * t / 2 + self.beta_min * t


@final
@frozen
class CosineSchedule(NoiseSchedule):
    """Variance preserving, with alpha a cosine of the continuous time 0 < t < 1.

    Args:
        offset: s, which keeps beta from vanishing at 0.
        time_scale: the factor from t to the time input.
        time_min, time_max: the earliest and the latest t of the network; at 1 sigma would be infinite.

    Raises:
        ValueError: offset is negative, time_scale is not positive, not 0 < time_min < time_max < 1.
    """

    offset: float = field(default=0.008, validator=non_negative)
    time_scale: float = field(default=1.0, validator=positive)
    time_min: float = field(default=1e-3, validator=between(0.0, 1.0, ends=False))
    time_max: float = field(default=0.999, validator=between(0.0, 1.0, ends=False))

    def __attrs_post_init__(self) -> None:
        if not self.time_min < self.time_max:
            raise ValueError(f"time_min {self.time_min:g} must be below time_max {self.time_max:g}")

    @property
    def sigma_range(self) -> tuple[float, float]:
        cosine = math.cos(self._angle(0.0))
        low, high = (math.sqrt((cosine / math.cos(self._angle(t))) ** 2 - 1) for t in (self.time_min, self.time_max))
        return low, high

    def alpha(self, sigma: Tensor) -> Tensor:
        return (1 + sigma.square()).rsqrt()

    def time(self, sigma: Tensor) -> Tensor:
        # tan^2(u_t) = (sigma^2 + sin^2(u_0)) / cos^2(u_0): the arc cosine would lose the small levels.
        start = self._angle(0.0)
        angle = ((sigma.clamp(*self.sigma_range).square() + math.sin(start) ** 2).sqrt() / math.cos(start)).atan()
        return self.time_scale * (angle * (1 + self.offset) * 2 / math.pi - self.offset)

    def sigma(self, time: Tensor) -> Tensor:
        start, angle = self._angle(0.0), self._angle(time / self.time_scale)
        # sin(u_t + u_0) sin(u_t - u_0) is cos^2(u_0) - cos^2(u_t), and does not cancel.
        return ((angle + start).sin() * (angle - start).sin()).sqrt() / angle.cos()

    def _angle(self, t: Times) -> Times:
        return math.pi / 2 * (t + self.offset) / (1 + self.offset)


@final
@frozen
class FlowSchedule(NoiseSchedule):
    """The straight path from data to noise of rectified flow: x_t = (1 - t) y + t n.

    Args:
        data_at: the time of clean data: 0, or 1 for networks with time from noise to data. Their time input is 1 - t,
            and their velocity has the other sign.
        time_scale: a factor on the time input: 1000 for networks of diffusers.
        sigma_min, sigma_max: the levels where samplers without a step from noise alone end and begin; 999 is t = 0.999.
            With a lower sigma_max the samplers of flows begin there as well, and else at t = 1.

    Raises:
        ValueError: data_at is neither, time_scale is not positive, not 0 < sigma_min < sigma_max < inf.
    """

    data_at: Literal[0, 1] = field(default=0, validator=_one_of(0, 1))
    time_scale: float = field(default=1.0, validator=positive)
    sigma_min: float = 0.001
    sigma_max: float = NEARLY_NOISE

    def __attrs_post_init__(self) -> None:
        _range_is_valid(self.sigma_min, self.sigma_max)

    @property
    def sigma_range(self) -> tuple[float, float]:
        return self.sigma_min, self.sigma_max

    def alpha(self, sigma: Tensor) -> Tensor:
        return 1 / (1 + sigma)

    def time(self, sigma: Tensor) -> Tensor:
        return self.time_scale * (1 if self.data_at else sigma) / (1 + sigma)

    @property
    def noise_alone(self) -> bool:
        """Whether the range reaches noise alone, t = 1."""
        return self.sigma_max >= NEARLY_NOISE

    def sigma(self, time: Tensor) -> Tensor:
        share = time / self.time_scale
        return (1 - share) / share if self.data_at else share / (1 - share)
