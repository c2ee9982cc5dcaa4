"""The EDM samplers: Heun's method with stochastic churn, and Euler's.

The probability-flow equation dx = (x - D(x; sigma)) / sigma dsigma along sigma_i of the rho grid. A step from sigma_i,
first raised by churn to sigma_hat = (1 + gamma) sigma_i with gamma = min(S_churn / N, sqrt(2) - 1) where
S_min <= sigma_i <= S_max, and fresh noise of standard deviation S_noise added accordingly:

    Euler   x' = x + (sigma_{i+1} - sigma_hat) d,          d = (x - D(x; sigma_hat)) / sigma_hat
    Heun    x' = x + (sigma_{i+1} - sigma_hat) (d + d') / 2, d' at the Euler point and sigma_{i+1}; not on the last step

Source: T. Karras, M. Aittala, T. Aila and S. Laine 2022, "Elucidating the design space of diffusion-based generative
models", arXiv:2206.00364, algorithms 1 and 2.
Cost: Heun 2 N - 1 evaluations for N steps, Euler N.
"""

import math
from collections.abc import Iterator
from typing import Protocol, final

from attrs import frozen
from torch import Tensor

from guideplug import (
    Condition,
    Denoiser,
    Sampler,
    SampleStreams,
    Source,
    State,
    at_least,
    hook,
    non_negative,
    option,
    positive,
    sigma_grid,
    up_to,
)

SOURCE = Source(
    "T. Karras, M. Aittala, T. Aila, S. Laine",
    2022,
    "Elucidating the Design Space of Diffusion-Based Generative Models",
    "https://arxiv.org/abs/2206.00364",
    "algorithms 1 and 2",
)


MOST_STEPS = 10_000
"""Every evaluation of a trajectory is planned before the first is done."""


class _Grid(Protocol):
    """The options of a grid, which both samplers have."""

    @property
    def num_steps(self) -> int: ...
    @property
    def sigma_min(self) -> float | None: ...
    @property
    def sigma_max(self) -> float | None: ...
    @property
    def rho(self) -> float: ...


def _sigmas(options: _Grid, denoiser: Denoiser) -> list[float]:
    """The grid of the options; the denoiser's own range where they name none."""
    space = denoiser.space
    low = space.sigma_min if options.sigma_min is None else options.sigma_min
    high = space.sigma_max if options.sigma_max is None else options.sigma_max
    return sigma_grid(options.num_steps, low, high, options.rho)


def _range_is_valid(options: _Grid) -> None:
    low, high = options.sigma_min, options.sigma_max
    if low is not None and not 0 < low < math.inf:
        raise ValueError(f"sigma_min is {low!r}: it must be positive and finite")
    if high is not None and not 0 < high < math.inf:
        raise ValueError(f"sigma_max is {high!r}: it must be positive and finite")
    if low is not None and high is not None and low >= high:
        raise ValueError(f"sigma_min {low:g} must be below sigma_max {high:g}")


@final
@frozen
class Heun(Sampler):
    """Heun's method, second order; deterministic unless ``churn`` is given."""

    name = "heun"
    source = SOURCE
    num_steps: int = option(32, help="steps; 2 num_steps - 1 evaluations", validator=up_to(MOST_STEPS))
    sigma_min: float | None = option(None, help="lowest level; none for the denoiser's", unit="data units")
    sigma_max: float | None = option(None, help="highest level; none for the denoiser's", unit="data units")
    rho: float = option(7.0, help="curvature of the grid", validator=positive)
    churn: float = option(0.0, help="S_churn, the noise that is added anew; 0 for none", validator=non_negative)
    churn_min: float = option(0.0, help="S_min, lowest level with churn", unit="data units", validator=non_negative)
    churn_max: float = option(
        math.inf, help="S_max, highest level with churn", unit="data units", validator=at_least(0)
    )
    churn_noise: float = option(1.0, help="S_noise, standard deviation of the added noise", validator=positive)

    def __attrs_post_init__(self) -> None:
        _range_is_valid(self)

    def sigmas(self, denoiser: Denoiser) -> list[float]:
        return _sigmas(self, denoiser)

    def steps(
        self, denoiser: Denoiser, x: Tensor, condition: Condition = None, streams: SampleStreams | None = None
    ) -> Iterator[State]:
        denoiser, sigmas = denoiser.trajectory(), self.sigmas(denoiser)
        for i in range(self.num_steps):
            sigma, after = step = sigmas[i], sigmas[i + 1]
            if self.churn and self.churn_min <= sigma <= self.churn_max:
                x, sigma = self._churned(x, sigma, i, streams)
            slope = (x - denoiser(x, sigma, condition, toward=after, step=step)) / sigma
            x_next = x + (after - sigma) * slope
            if after > 0:
                denoised = denoiser(x_next, after, condition, toward=sigmas[i + 2], step=step)
                slope_next = (x_next - denoised) / after
                x_next = x + (after - sigma) * 0.5 * (slope + slope_next)
            x = x_next
            yield State(i + 1, self.num_steps, after, x)

    def _churned(self, x: Tensor, sigma: float, step: int, streams: SampleStreams | None) -> tuple[Tensor, float]:
        """The samples at a raised noise level, and that level."""
        if streams is None:
            raise ValueError("heun with churn draws noise: pass the samples' streams, or churn=0")
        raised = sigma * (1 + min(self.churn / self.num_steps, math.sqrt(2) - 1))
        noise = streams.normal(tuple(x.shape[1:]), "churn", step).to(x)
        return x + math.sqrt(raised**2 - sigma**2) * self.churn_noise * noise, raised


@final
@frozen
class Euler(Sampler):
    """Euler's method, first order, deterministic."""

    name = "euler"
    source = SOURCE
    num_steps: int = option(32, help="steps; one evaluation each", validator=up_to(MOST_STEPS))
    sigma_min: float | None = option(None, help="lowest level; none for the denoiser's", unit="data units")
    sigma_max: float | None = option(None, help="highest level; none for the denoiser's", unit="data units")
    rho: float = option(7.0, help="curvature of the grid", validator=positive)

    def __attrs_post_init__(self) -> None:
        _range_is_valid(self)

    def sigmas(self, denoiser: Denoiser) -> list[float]:
        return _sigmas(self, denoiser)

    def steps(
        self, denoiser: Denoiser, x: Tensor, condition: Condition = None, streams: SampleStreams | None = None
    ) -> Iterator[State]:
        denoiser, sigmas = denoiser.trajectory(), self.sigmas(denoiser)
        for i in range(self.num_steps):
            sigma, after = step = sigmas[i], sigmas[i + 1]
            x = x + (after - sigma) * (x - denoiser(x, sigma, condition, toward=after, step=step)) / sigma
            yield State(i + 1, self.num_steps, after, x)


@hook
def guideplug_samplers() -> list[type[Sampler]]:
    return [Heun, Euler]


@hook
def guideplug_presets() -> dict[str, dict[str, str]]:
    return {"sampler": {"default": "heun"}}
