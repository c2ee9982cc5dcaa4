"""Noise levels: the sampler's grid, and the distributions of training.

Grid (Karras, Aittala, Aila and Laine 2022, arXiv:2206.00364, eq. 5), i from 0 to N - 1 and a final 0:

    sigma_i = (sigma_max^(1/rho) + i / (N - 1) * (sigma_min^(1/rho) - sigma_max^(1/rho)))^rho

The position of a level on the grid is i / (N - 1), independent of N.

All levels are standard deviations in the units of the data.
"""

import abc
import itertools
import math
from typing import ClassVar, final

import torch
from attrs import frozen
from torch import Tensor

from guideplug.config import Source, Strategy, between, option, positive
from guideplug.denoise import Level

__all__ = ["LogNormal", "LogUniform", "NoiseDistribution", "grid_position", "log_linear_grid", "sigma_grid"]


def sigma_grid(num_steps: int, sigma_min: float, sigma_max: float, rho: float = 7.0) -> list[float]:
    """``num_steps`` levels from sigma_max down to sigma_min, then 0: Python floats, ``num_steps + 1`` in all.

    A single step goes from sigma_max to 0.

    Raises:
        ValueError: num_steps < 1, rho <= 0, not 0 < sigma_min < sigma_max < inf, or a rho whose levels are not apart in
            floating point.
    """
    _grid_is_valid(num_steps, sigma_min, sigma_max)
    if not rho > 0.0:
        raise ValueError(f"rho is {rho:g}: it must be positive")
    try:
        high, low = sigma_max ** (1.0 / rho), sigma_min ** (1.0 / rho)
        inner = [(high + i / (num_steps - 1) * (low - high)) ** rho for i in range(1, num_steps - 1)]
    except OverflowError:
        inner = [math.inf]
    ends = [float(sigma_max)] if num_steps == 1 else [float(sigma_max), *inner, float(sigma_min)]
    if not all(before > after for before, after in itertools.pairwise(ends)):
        raise ValueError(
            f"rho is {rho:g}: {num_steps} levels from {sigma_max:g} to {sigma_min:g} are not apart in floating point; "
            "give one between 1 and 20, 7 for the paper's"
        )
    return [*ends, 0.0]


def log_linear_grid(num_steps: int, sigma_min: float, sigma_max: float) -> list[float]:
    """``num_steps`` levels from sigma_max down to sigma_min, each the same factor below the last, then 0.

    A single step goes from sigma_max to 0.

    Raises:
        ValueError: num_steps < 1, or not 0 < sigma_min < sigma_max < inf.
    """
    _grid_is_valid(num_steps, sigma_min, sigma_max)
    ratio = math.log(sigma_min / sigma_max)
    inner = [sigma_max * math.exp(i / (num_steps - 1) * ratio) for i in range(1, num_steps - 1)]
    ends = [float(sigma_max)] if num_steps == 1 else [float(sigma_max), *inner, float(sigma_min)]
    return [*ends, 0.0]


def _grid_is_valid(num_steps: int, sigma_min: float, sigma_max: float) -> None:
    if num_steps < 1:
        raise ValueError(f"num_steps is {num_steps}: sampling takes at least one step")
    if not 0.0 < sigma_min < sigma_max < math.inf:
        raise ValueError(f"sigma_min {sigma_min:g} and sigma_max {sigma_max:g}: give 0 < sigma_min < sigma_max")


def grid_position(sigma: Level, sigma_min: float, sigma_max: float, rho: float = 7.0) -> Level:
    """The progress of a trajectory at a level: from 0 at sigma_max and above to 1 at sigma_min and below.

    The share of finished steps on `sigma_grid`. A float for a float, a tensor for a tensor.
    """
    high, low = sigma_max ** (1.0 / rho), sigma_min ** (1.0 / rho)
    if isinstance(sigma, Tensor):
        behind: Tensor = (high - sigma ** (1.0 / rho)) / (high - low)
        return behind.clamp(0.0, 1.0)
    return float(min(max((high - sigma ** (1.0 / rho)) / (high - low), 0.0), 1.0))


class NoiseDistribution(Strategy):
    """A distribution of noise levels in training."""

    kind: ClassVar[str] = "noise"

    @abc.abstractmethod
    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """``count`` levels, float32, (count,), on the generator's device."""

    @abc.abstractmethod
    def quantile(self, share: Tensor) -> Tensor:
        """The quantiles of the levels at shares in (0, 1); of the shares' shape and type."""

    @property
    def quartiles(self) -> tuple[float, float]:
        """The quantiles of the levels at 1/4 and 3/4, in data units."""
        low, high = self.quantile(torch.tensor([0.25, 0.75], dtype=torch.float64)).tolist()
        return low, high


_LEVEL = between(1e-9, 1e9)
"""Levels whose squares, and their inverses, single precision holds."""


@final
@frozen
class LogNormal(NoiseDistribution):
    """log sigma ~ N(mean, std^2): the EDM training distribution."""

    name = "log-normal"
    source = Source(
        "T. Karras, M. Aittala, T. Aila, S. Laine",
        2022,
        "Elucidating the Design Space of Diffusion-Based Generative Models",
        "https://arxiv.org/abs/2206.00364",
        "table 1",
    )
    mean: float = option(-1.2, help="mean of log sigma", validator=between(-20, 20))
    std: float = option(1.2, help="standard deviation of log sigma, at most 10", validator=[positive, between(0, 10)])

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """``count`` levels, (count,)."""
        normal = torch.randn(count, generator=generator, device=generator.device)
        return normal.mul_(self.std).add_(self.mean).exp_()

    def quantile(self, share: Tensor) -> Tensor:
        normal: Tensor = torch.special.ndtri(share)
        return normal.mul_(self.std).add_(self.mean).exp_()


@final
@frozen
class LogUniform(NoiseDistribution):
    """log sigma uniform between log low and log high."""

    name = "log-uniform"
    low: float = option(0.002, help="lowest level", unit="data units", validator=_LEVEL)
    high: float = option(80.0, help="highest level", unit="data units", validator=_LEVEL)

    def __attrs_post_init__(self) -> None:
        if not self.low < self.high < math.inf:
            raise ValueError(f"low {self.low:g} must be below high {self.high:g}, and both finite")

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """``count`` levels, (count,)."""
        return self.quantile(torch.rand(count, generator=generator, device=generator.device))

    def quantile(self, share: Tensor) -> Tensor:
        low, high = math.log(self.low), math.log(self.high)
        return (share * (high - low)).add_(low).exp_()
