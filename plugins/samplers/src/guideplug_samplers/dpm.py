"""DPM-Solver++ of second and third order, multistep, and its stochastic forms.

With h = log(sigma / sigma') the width of a step, H = (1 + eta) h, F = 1 - e^(-H), z unit noise, D, D-, D-- the denoised
samples at the starts of this step and of those before, r0 = h- / h, r1 = h-- / h:

    2M       x' = e^(-h) x + (1 - e^(-h)) (D + (D - D-) / (2 r0))
    2M SDE   x' = e^(-H) x + F D + c (D - D-) / r0 + sigma' sqrt(1 - e^(-2 eta h)) z
             c = F / 2 (midpoint) or 1 - F / H (heun)
    3M SDE   x' = e^(-H) x + F D + phi2 d1 - 2 phi3 d2 + sigma' sqrt(1 - e^(-2 eta h)) z
             phi2 = 1 - F / H, phi3 = phi2 / H - 1/2
             p = (D - D-) / r0, q = (D- - D--) / r1, d2 = (p - q) / (r0 + r1), d1 = p + r0 d2

eta 0 is the probability-flow equation. First steps have fewer D: of first order, and for 3M SDE then of second, phi2 p
alone. The last step, to 0, is x' = D.

Sources: C. Lu, Y. Zhou, F. Bao, J. Chen, C. Li and J. Zhu 2022, "DPM-Solver++: fast solver for guided sampling of
diffusion probabilistic models", arXiv:2211.01095, 2M algorithm 2, SDE appendix A; 3M SDE after
K. Crowson's k-diffusion.
Ours: the factor 2 before phi3. d2 is half of D'' h^2, and the integral's coefficient of D'' h^2 is -phi3, so that the
published term, -phi3 d2, leaves order 2. With the factor the order is 3 once two steps are exact; with the first steps
above, their error remains.
Cost: one evaluation per step.
"""

import math
from typing import Literal, final

from attrs import frozen
from torch import Tensor

from guideplug import Memory, SigmaSampler, SolverStep, Source, non_negative, option

__all__ = ["DPM2M", "DPM2MSDE", "DPM3MSDE", "second_order"]

SOURCE = Source(
    "C. Lu, Y. Zhou, F. Bao, J. Chen, C. Li, J. Zhu",
    2022,
    "DPM-Solver++: Fast Solver for Guided Sampling of Diffusion Probabilistic Models",
    "https://arxiv.org/abs/2211.01095",
)
ETA = "share of fresh noise: 0 none, 1 that of the reverse diffusion"


@final
@frozen
class DPM2M(SigmaSampler):
    """DPM-Solver++ 2M: second order, multistep, deterministic, with one evaluation per step."""

    name = "dpm++2m"
    source = SOURCE

    def advance(self, step: SolverStep, x: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        denoised = step.denoised(x)
        if step.after == 0:
            return denoised, ()
        return second_order(step, x, denoised, memory), (denoised,)


@final
@frozen
class DPM2MSDE(SigmaSampler):
    """DPM-Solver++ 2M SDE: second order, multistep, with fresh noise per step; one evaluation per step."""

    name = "dpm++2m-sde"
    source = SOURCE
    eta: float = option(1.0, help=ETA, validator=non_negative)
    solver: Literal["midpoint", "heun"] = option("midpoint", help="how the difference of two steps is weighed")

    def advance(self, step: SolverStep, x: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        denoised = step.denoised(x)
        if step.after == 0:
            return denoised, ()
        width = (1 + self.eta) * step.width()
        pull = -math.expm1(-width)
        end = math.exp(-width) * x + pull * denoised
        if memory:
            share = pull / 2 if self.solver == "midpoint" else 1 - pull / width
            end = end + (denoised - memory[0]) * (share * step.width() / step.width(1))
        return _noised(end, step, self.eta), (denoised,)


@final
@frozen
class DPM3MSDE(SigmaSampler):
    """DPM-Solver++ 3M SDE: third order, multistep, with fresh noise per step; one evaluation per step."""

    name = "dpm++3m-sde"
    source = SOURCE
    eta: float = option(1.0, help=ETA, validator=non_negative)

    def advance(self, step: SolverStep, x: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        denoised = step.denoised(x)
        if step.after == 0:
            return denoised, ()
        width = (1 + self.eta) * step.width()
        pull = -math.expm1(-width)
        phi2 = 1 - pull / width
        end = math.exp(-width) * x + pull * denoised
        if memory:
            r0 = step.width(1) / step.width()
            first = (denoised - memory[0]) / r0
            if len(memory) > 1:
                r1 = step.width(2) / step.width()
                second = (first - (memory[0] - memory[1]) / r1) / (r0 + r1)
                end = end + phi2 * r0 * second - 2 * (phi2 / width - 0.5) * second
            end = end + phi2 * first
        return _noised(end, step, self.eta), (denoised, *memory[:1])


def second_order(step: SolverStep, x: Tensor, denoised: Tensor, memory: Memory) -> Tensor:
    """The end of a step of 2M from x (B, *), with the denoised samples there and at the start of the step before."""
    if memory:
        denoised = denoised + (denoised - memory[0]) * (0.5 * step.width() / step.width(1))
    ratio = step.after / step.sigma
    return ratio * x + (1 - ratio) * denoised


def _noised(x: Tensor, step: SolverStep, eta: float) -> Tensor:
    """The samples with the fresh noise of a step; unchanged at eta 0."""
    if eta == 0:
        return x
    spread = step.after * math.sqrt(-math.expm1(-2 * eta * step.width()))
    return x + spread * step.noise(x, "step noise", unless="eta=0")
