"""Samplers over noise levels: the grid and its options, once, for all solvers (`guideplug.solver`).

With e = sigma' / sigma the ratio of a step's levels, D the denoised samples at its start, h = -log e, every solver of
the probability-flow equation here is, for a constant D, x' = e x + (1 - e) D.

The grids, N levels from sigma_max down to sigma_min and then 0:

    edm            even in sigma^(1 / rho)
    log-linear     even in log sigma
    exponential    the same levels, as k-diffusion and diffusers call them
    model          even in the network's own time (`NoiseSchedule`)

Sources: edm, Karras et al. 2022, arXiv:2206.00364, eq. 5; log-linear, Lu et al. 2022, arXiv:2211.01095, uniform
logarithms of the signal-to-noise ratio.
"""

import math
from typing import Literal

from attrs import frozen

from guideplug.config import option, positive, up_to
from guideplug.denoise import Denoiser
from guideplug.noise import log_linear_grid, sigma_grid
from guideplug.solver import MOST_STEPS, Solver, clip_option, levels_option

__all__ = ["SigmaSampler"]


@frozen
class SigmaSampler(Solver):
    """A sampler over noise levels: a subclass is one solver, `advance`, with its own options after these.

    Final frozen attrs classes. Options that both kinds of grid have mean the same in all samplers, so that samplers can
    be compared on one grid.
    """

    num_steps: int = option(32, help="steps", validator=up_to(MOST_STEPS))
    sigma_min: float | None = option(
        None, help="lowest level, before the last step to 0; none for the denoiser's", unit="data units"
    )
    sigma_max: float | None = option(None, help="highest level; none for the denoiser's", unit="data units")
    rho: float = option(7.0, help="curvature of the grid edm", validator=positive)
    schedule: Literal["edm", "log-linear", "exponential", "model"] = option(
        "edm",
        help="the grid: edm by rho; log-linear, also called exponential; model at even steps of the network's own time",
        identity="unless default",
    )
    levels: tuple[float, ...] | None = levels_option()
    clip: tuple[float, float] | None = clip_option()

    def __attrs_post_init__(self) -> None:
        low, high = self.sigma_min, self.sigma_max
        if low is not None and not 0 < low < math.inf:
            raise ValueError(f"sigma_min is {low!r}: it must be positive and finite")
        if high is not None and not 0 < high < math.inf:
            raise ValueError(f"sigma_max is {high!r}: it must be positive and finite")
        if low is not None and high is not None and low >= high:
            raise ValueError(f"sigma_min {low:g} must be below sigma_max {high:g}")
        self.check_levels("num_steps", "sigma_min", "sigma_max", "rho", "schedule")
        if self.schedule != "edm" and self.given("rho"):
            raise ValueError(f"rho is {self.rho:g}, and schedule={self.schedule} has none: leave rho out")

    def grid(self, denoiser: Denoiser) -> list[float]:
        space = denoiser.space
        low = space.sigma_min if self.sigma_min is None else self.sigma_min
        high = space.sigma_max if self.sigma_max is None else self.sigma_max
        if self.schedule == "edm":
            return sigma_grid(self.num_steps, low, high, self.rho)
        if self.schedule == "model":
            return [*denoiser.leaves()[0].own_levels(self.num_steps, low, high), 0.0]
        return log_linear_grid(self.num_steps, low, high)
