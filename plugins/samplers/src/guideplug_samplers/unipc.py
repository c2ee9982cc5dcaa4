"""UniPC with a predictor of second order: DPM-Solver++ 2M, corrected at no further call.

A step predicts x' from x as 2M does. At its end D' = D(x'; sigma') is evaluated, for the next step; with D, D- those at
the step's start and the step before's, e = sigma' / sigma, h = -log e and r = h- / h, the corrected end is

    x'_c = e x + (1 - e) (D + rho_1 (D - D-) / r + rho_2 (D' - D))
    rho_1 + rho_2 = b_1,   -r rho_1 + rho_2 = b_2;   in the first step rho_1 = 0, rho_2 = 1/2

from which the next step goes on with D', which is not evaluated again. b_1 = g_1 / B, b_2 = 2 g_2 / B with y = -h,
B = e^y - 1, g_1 = B / y - 1, g_2 = g_1 / y - 1/2.

Source: W. Zhao, L. Bai, Y. Rao, J. Zhou and J. Lu 2023, "UniPC: a unified predictor-corrector framework for fast
sampling of diffusion models", arXiv:2302.04867, with B of its second kind (bh2).
The predictor has order 2, and with the corrector the order is 3.
Cost: one evaluation per step.
"""

import math
from typing import final

from attrs import frozen
from torch import Tensor

from guideplug import Memory, SigmaSampler, SolverStep, Source
from guideplug_samplers.dpm import second_order

__all__ = ["UniPC"]


@final
@frozen
class UniPC(SigmaSampler):
    """UniPC: DPM-Solver++ 2M with a corrector, third order, deterministic, one evaluation per step."""

    name = "unipc"
    source = Source(
        "W. Zhao, L. Bai, Y. Rao, J. Zhou, J. Lu",
        2023,
        "UniPC: A Unified Predictor-Corrector Framework for Fast Sampling of Diffusion Models",
        "https://arxiv.org/abs/2302.04867",
    )

    def advance(self, step: SolverStep, x: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        denoised = step.denoised(x)
        if step.after == 0:
            return denoised, ()
        if memory:
            x = _corrected(step, denoised, *memory)
        return second_order(step, x, denoised, memory[1:2]), (x, denoised, *memory[1:2])


def _corrected(step: SolverStep, denoised: Tensor, start: Tensor, before: Tensor, *earlier: Tensor) -> Tensor:
    """The end of the step before, from its start (B, *) and the denoised samples at its end, its start, and earlier."""
    width = step.width(1)
    share = -math.expm1(-width)
    end = math.exp(-width) * start + share * before
    if not earlier:
        return end + share * 0.5 * (denoised - before)
    ratio = step.width(2) / width
    first = share / width - 1
    b1, b2 = -first / share, -2 * (-first / width - 0.5) / share
    rho1 = (b1 - b2) / (1 + ratio)
    return end + share * (rho1 / ratio * (before - earlier[0]) + (b1 - rho1) * (denoised - before))
