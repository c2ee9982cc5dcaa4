"""Errors of the flow samplers per evaluation, beside diffusers' Euler scheduler: the table of docs/flows.md.

    python tests/benchmarks/flow_samplers.py

Root mean square distance of 2,048 samples from the ends of their trajectories (Heun, 3,000 steps, float64), in units of
the data's deviation. The data: eight Gaussians of deviation .15 in the plane. Guided: CFG of weight 4 towards two of
them.
"""

import itertools
import math

import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from torch import Tensor

from guideplug import Condition, Denoiser, Leaf, Sampler, Space
from guideplug_edm import Euler, Heun
from guideplug_flow import FlowEuler, FlowHeun, FlowTwoStep

EVALUATIONS = 10, 20, 28, 50
NARROW = 0.15


class Mixture(Leaf):
    """The exact denoiser of equal Gaussians around means (K, 2)."""

    def __init__(self, means: Tensor) -> None:
        super().__init__(Space((2,), noise_alone=True, sigma_min=1e-3, sigma_max=999.0))
        self.means = means

    def denoise(self, x: Tensor, sigma: Tensor, condition: Condition) -> Tensor:
        level, low = sigma[:, None] ** 2, NARROW**2
        mean = torch.softmax(-torch.cdist(x, self.means).square() / (2 * (low + level)), 1) @ self.means
        return (low * x + level * mean) / (low + level)


def sampled(sampler: Sampler, denoiser: Denoiser, noise: Tensor) -> Tensor:
    """The samples from this noise at the sampler's first level."""
    return sampler.sample(denoiser, sampler.sigmas(denoiser)[0] * noise)


def of_diffusers(denoiser: Denoiser, noise: Tensor, evaluations: int, shift: float) -> Tensor:
    """The samples on the grid that diffusers takes by default."""
    scheduler = FlowMatchEulerDiscreteScheduler(shift=shift)
    scheduler.set_timesteps(evaluations)
    x_t = noise
    for t, after in itertools.pairwise(scheduler.sigmas.tolist()):
        sigma = t / (1 - t) if t < 1 else denoiser.space.highest
        x_t = x_t + (after - t) * (x_t - denoiser(x_t * (1 + sigma), sigma)) / t
    return x_t


@torch.no_grad()
def main() -> None:
    generator = torch.Generator().manual_seed(0)
    means = torch.randn(8, 2, generator=generator, dtype=torch.float64)
    noise = torch.randn(2048, 2, generator=generator, dtype=torch.float64)
    both, some = Mixture(means), Mixture(means[:2])
    unit = math.sqrt(float(means.var(0, correction=0).mean()) + NARROW**2)
    for title, denoiser in (("unguided", both), ("guided", both + 4.0 * (some - both))):
        exact = sampled(FlowHeun(3000), denoiser, noise)

        def error(samples: Tensor, exact: Tensor = exact) -> float:
            return float((samples - exact).square().mean().sqrt()) / unit

        for shift in (1.0, 3.0):
            rows = {"diffusers": [error(of_diffusers(denoiser, noise, n, shift)) for n in EVALUATIONS]}
            for cls in (FlowEuler, FlowHeun, FlowTwoStep):
                steps = [n // 2 if cls is FlowHeun else n for n in EVALUATIONS]
                rows[cls.name] = [error(sampled(cls(n, shift=shift), denoiser, noise)) for n in steps]
            if shift == 1.0:
                rows["euler"] = [error(sampled(Euler(n), denoiser, noise)) for n in EVALUATIONS]
                rows["heun"] = [error(sampled(Heun(n // 2), denoiser, noise)) for n in EVALUATIONS]
            print(f"\n{title}, shift {shift:g}")
            for name, errors in rows.items():
                print(f"| `{name}` | " + " | ".join(f"{value:.3f}" for value in errors) + " |")


if __name__ == "__main__":
    main()
