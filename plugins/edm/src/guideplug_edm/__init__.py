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
from typing import final

from attrs import frozen
from torch import Tensor

from guideplug import (
    Memory,
    Sampler,
    SigmaSampler,
    SolverStep,
    Source,
    at_least,
    hook,
    non_negative,
    option,
    positive,
)

SOURCE = Source(
    "T. Karras, M. Aittala, T. Aila, S. Laine",
    2022,
    "Elucidating the Design Space of Diffusion-Based Generative Models",
    "https://arxiv.org/abs/2206.00364",
    "algorithms 1 and 2",
)


@final
@frozen
class Heun(SigmaSampler):
    """Heun's method, second order, two evaluations per step but the last; deterministic unless ``churn`` is given."""

    name = "heun"
    source = SOURCE
    churn: float = option(0.0, help="S_churn, the noise that is added anew; 0 for none", validator=non_negative)
    churn_min: float = option(0.0, help="S_min, lowest level with churn", unit="data units", validator=non_negative)
    churn_max: float = option(
        math.inf, help="S_max, highest level with churn", unit="data units", validator=at_least(0)
    )
    churn_noise: float = option(1.0, help="S_noise, standard deviation of the added noise", validator=positive)

    def advance(self, step: SolverStep, x: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        sigma, after = step.sigma, step.after
        if self.churn and self.churn_min <= sigma <= self.churn_max:
            x, sigma = self._churned(x, step)
        slope = (x - step.denoised(x, sigma)) / sigma
        x_next = x + (after - sigma) * slope
        if after > 0:
            denoised = step.denoised(x_next, after, toward=step.levels[step.number + 2])
            slope_next = (x_next - denoised) / after
            x_next = x + (after - sigma) * 0.5 * (slope + slope_next)
        return x_next, ()

    def _churned(self, x: Tensor, step: SolverStep) -> tuple[Tensor, float]:
        """The samples at a raised noise level, and that level."""
        sigma, num_steps = step.sigma, len(step.levels) - 1
        raised = sigma * (1 + min(self.churn / num_steps, math.sqrt(2) - 1))
        noise = step.noise(x, "churn", unless="churn=0")
        return x + math.sqrt(raised**2 - sigma**2) * self.churn_noise * noise, raised


@final
@frozen
class Euler(SigmaSampler):
    """Euler's method, first order, deterministic, one evaluation per step."""

    name = "euler"
    source = SOURCE

    def advance(self, step: SolverStep, x: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        sigma, after = step.sigma, step.after
        denoised = step.denoised(x, gain=1 - after / sigma)
        return x + (after - sigma) * (x - denoised) / sigma, ()


@hook
def guideplug_samplers() -> list[type[Sampler]]:
    return [Heun, Euler]


@hook
def guideplug_presets() -> dict[str, dict[str, str]]:
    return {"sampler": {"default": "heun"}}
