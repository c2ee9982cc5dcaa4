"""Samplers of flow models: Euler's method, Heun's and the two-step Adams-Bashforth method in flow time.

A flow goes along straight paths x_t = (1 - t) y + t n, from noise at t = 1 to data at t = 0. In the units of the data
x = x_t / (1 - t) is at the level sigma = t / (1 - t), its velocity is v = (x - D) / sigma - D, and dx_t / dt = v:

    Euler   x'_t = x_t + (t' - t) v
    Heun    x'_t = x_t + (t' - t) (v + v') / 2, v' at the Euler point and t'; the last step is Euler's
    2M      x'_t = x_t + (t' - t) (v + (t' - t) / (t - t_before) / 2 (v - v_before)); the first step is Euler's

The step is written in x, where denoisers and guiders are at home, and without the difference of two large numbers:

    Euler   x' = D + (sigma' / sigma) (x - D)

which is exact for a constant D, at sigma = 2^24 as well, where t is 1 in float32 (`guideplug.Space.highest`). A step
from sigma 1e7 to 1 in float32 errs by 4e-7 at most, where x + (sigma' - sigma) (x - D) / sigma errs by 3.4.

The grid is uniform in t, then shifted by s: t becomes s t / (1 + (s - 1) t), which multiplies sigma by s.

Sources: X. Liu, C. Gong and Q. Liu 2022, "Flow straight and fast", arXiv:2209.03003, for Euler's method; P. Esser et
al. 2024, "Scaling rectified flow transformers for high-resolution image synthesis", arXiv:2403.03206, for the shift;
FLUX's released code, as in diffusers, for the line from tokens to mu; F. Bashforth and J. C. Adams 1883 for the
two-step method. Ours: Heun's and the two-step method on this grid, and Euler's step where they lack a second velocity.
Cost: an evaluation per step; Heun 2 N - 1 for N steps.
"""

import math
from typing import final

from attrs import frozen
from torch import Tensor

from guideplug import (
    Denoiser,
    Memory,
    Sampler,
    Solver,
    SolverStep,
    Source,
    between,
    clip_option,
    hook,
    levels_option,
    option,
    positive,
    up_to,
)

LIU = Source(
    "X. Liu, C. Gong, Q. Liu",
    2022,
    "Flow Straight and Fast: Learning to Generate and Transfer Data with Rectified Flow",
    "https://arxiv.org/abs/2209.03003",
)
MOST_STEPS = 10_000
"""Every evaluation of a trajectory is planned before the first is done."""
MOST_SHIFT = 30.0
"""The largest logarithm of a shift, or of its inverse: the levels stay finite, and above 0."""
SHIFTS = {"shift": "1 to 20", "mu": "0 to 3", "tokens": "1 to 16,384"}
"""What flows have."""
FEW_TOKENS, MANY_TOKENS = (256, 0.5), (4096, 1.15)
"""Two points of FLUX's line: tokens of an image, and mu."""


@frozen
class FlowSampler(Solver):
    """The grid of a flow's samplers: uniform in t, shifted."""

    num_steps: int = option(28, help="steps", validator=up_to(MOST_STEPS))
    shift: float = option(1.0, help="s of the shift s t / (1 + (s - 1) t); 1 is a uniform grid", validator=positive)
    mu: float | None = option(None, help="the logarithm of the shift, in its place")
    tokens: int | None = option(None, help="tokens of a sample: FLUX's mu, 0.5 at 256 and 1.15 at 4096")
    start: float = option(
        1.0,
        help="t of the first level, or the network's highest where that is lower; 1 is noise alone",
        validator=between(0.0, 1.0),
    )
    levels: tuple[float, ...] | None = levels_option()
    clip: tuple[float, float] | None = clip_option()

    def __attrs_post_init__(self) -> None:
        self.check_levels("num_steps", "shift", "mu", "tokens", "start")
        chosen = self.given("shift", "mu", "tokens")
        if len(chosen) > 1:
            raise ValueError(f"{' and '.join(chosen)} each set the shift of the grid: give one of them")
        if self.start == 0:
            raise ValueError("start is 0, where nothing is left to sample: give a t above 0")
        if self.tokens is not None and self.tokens < 1:
            raise ValueError(f"tokens is {self.tokens}: give the number of tokens of a sample, at least 1")
        if not abs(self.log_shift) <= MOST_SHIFT:
            name = chosen[0]  # by default nothing is shifted
            raise ValueError(
                f"{name} is {getattr(self, name)!r}: the grid is shifted by e^{self.log_shift:.4g}; "
                f"give {SHIFTS[name]}, as flows have"
            )

    @property
    def log_shift(self) -> float:
        """The logarithm of the shift."""
        if self.tokens is not None:
            (few, low), (many, high) = FEW_TOKENS, MANY_TOKENS
            return low + (high - low) * (self.tokens - few) / (many - few)
        return math.log(self.shift) if self.mu is None else self.mu

    def grid(self, denoiser: Denoiser) -> list[float]:
        first = denoiser.space.highest
        if self.start < 1:
            first = min(first, self.start / (1 - self.start))
        shift = math.exp(self.log_shift)
        top = first / (shift + first)  # the first level's t before the shift
        times = [top * (self.num_steps - i) / self.num_steps for i in range(1, self.num_steps + 1)]
        return [first, *(shift * t / (1 - t) for t in times)]


def _euler(x: Tensor, denoised: Tensor, sigma: float, after: float) -> Tensor:
    """Euler's step, also that of sigma as the variable."""
    return denoised + (after / sigma) * (x - denoised)


def _time(sigma: float) -> float:
    return sigma / (1 + sigma)


@final
@frozen
class FlowEuler(FlowSampler):
    """Euler's method in flow time, first order, deterministic; one evaluation per step."""

    name = "flow-euler"
    source = LIU

    def advance(self, step: SolverStep, x: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        denoised = step.denoised(x, gain=1 - step.after / step.sigma)
        return _euler(x, denoised, step.sigma, step.after), ()


@final
@frozen
class FlowHeun(FlowSampler):
    """Heun's method in flow time, second order, deterministic; 2 num_steps - 1 evaluations."""

    name = "flow-heun"

    def advance(self, step: SolverStep, x: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        sigma, after = step.sigma, step.after
        denoised = step.denoised(x)
        x = _euler(x, denoised, sigma, after)
        if after > 0:
            change = step.denoised(x, after, toward=step.levels[step.number + 2]) - denoised
            # (t' - t) (v' - v) / 2 in x, for v' - v = -change / t'
            x = x + (_time(sigma) - _time(after)) / (2 * after) * (1 + after) ** 2 * change
        return x, ()


@final
@frozen
class FlowTwoStep(FlowSampler):
    """The two-step Adams-Bashforth method in flow time, second order, deterministic; one evaluation per step."""

    name = "flow-2m"

    def advance(self, step: SolverStep, x: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        sigma, after = step.sigma, step.after
        denoised = step.denoised(x)
        velocity = (x - denoised) / sigma - denoised
        x = _euler(x, denoised, sigma, after)
        if memory:
            (before,) = memory
            time, length = _time(sigma), _time(after) - _time(sigma)
            time_before = _time(step.levels[step.number - 1])
            x = x + (1 + after) * length**2 / (2 * (time - time_before)) * (velocity - before)
        return x, (velocity,)


@hook
def guideplug_samplers() -> list[type[Sampler]]:
    return [FlowEuler, FlowHeun, FlowTwoStep]


@hook
def guideplug_presets() -> dict[str, dict[str, str]]:
    return {"sampler": {"flow": "flow-euler"}}
