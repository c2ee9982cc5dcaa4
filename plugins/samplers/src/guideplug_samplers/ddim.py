"""DDIM with its share of fresh noise, in noise levels.

A step from sigma to sigma', e = sigma' / sigma, D the denoised samples at its start, z unit noise:

    up    = min(sigma', eta sigma' sqrt(1 - e^2))
    down  = sqrt(sigma'^2 - up^2)
    x'    = D + down (x - D) / sigma + up z

eta 0 is Euler's step, and DDIM's; eta 1 is the ancestral sampling of DDPM with the smaller variance of its posterior.
The variance-preserving process has the same steps in x_t = x / sqrt(1 + sigma^2), whatever eta.

Source: J. Song, C. Meng and S. Ermon 2021, "Denoising diffusion implicit models", arXiv:2010.02502, eq. 12 and 16.
Order 1. Cost: one evaluation per step.
"""

import math
from typing import final

from attrs import frozen
from torch import Tensor

from guideplug import Memory, SigmaSampler, SolverStep, Source, between, option

__all__ = ["DDIM"]


@final
@frozen
class DDIM(SigmaSampler):
    """DDIM, first order, with a share of fresh noise per step; deterministic at ``eta`` 0."""

    name = "ddim"
    source = Source(
        "J. Song, C. Meng, S. Ermon",
        2021,
        "Denoising Diffusion Implicit Models",
        "https://arxiv.org/abs/2010.02502",
        "eq. 12 and 16",
    )
    eta: float = option(0.0, help="share of fresh noise: 0 none, 1 that of DDPM", validator=between(0, 1))

    def advance(self, step: SolverStep, x: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        sigma, after = step.sigma, step.after
        up = min(after, self.eta * after * math.sqrt(1 - (after / sigma) ** 2))
        down = math.sqrt(after**2 - up**2)
        denoised = step.denoised(x, gain=1 - down / sigma)
        x = denoised + down / sigma * (x - denoised)
        return (x + up * step.noise(x, "step noise", unless="eta=0") if up else x), ()
