"""Checks of a denoiser without data: finite outputs, independence of pure noise, preservation of clean samples.

At the highest level x is noise, and D(x; sigma) hardly depends on x: it is near the mean of the data. A few Euler steps
of the denoiser lead from there to samples, through all levels. At the lowest level there is hardly any noise:
D(x; sigma) is near x.

A network with a wrong parametrisation may pass all three. Cost: ten outputs of the network per sample, for 64 samples.
"""

import math
from typing import final

import torch
from attrs import frozen
from torch import Tensor

from guideplug.check.measure import Answer
from guideplug.denoise import Condition, Space
from guideplug.rng import TrainingStreams

__all__ = ["Blind", "looked_at"]

SAMPLES = 64
STEPS = 9


@final
@frozen
class Blind:
    """The results.

    Args:
        broken: the level at which an output was not finite, or None.
        left: the spread of D at the highest level, over different noise, in units of that noise; 0 is perfect.
        moved: how far D is from x at the lowest level, in units of the spread of x; 0 is perfect.
    """

    broken: float | None
    left: float = math.nan
    moved: float = math.nan


def looked_at(answer: Answer, condition: Condition, space: Space, seed: int, device: torch.device) -> Blind:
    """The results of a trajectory from noise; ``condition`` has one row per sample, 64 in all, or is None."""
    low, high = space.sigma_min, space.sigma_max
    levels = [high * (low / high) ** (step / STEPS) for step in range(STEPS + 1)]
    noise = torch.randn((SAMPLES, *space.shape), generator=TrainingStreams(seed, 0).generator("check start"))
    x = high * noise.to(device)
    left = math.nan
    with torch.no_grad():
        for sigma, after in zip(levels, [*levels[1:], None], strict=True):
            denoised = answer(x, torch.full((SAMPLES,), sigma, device=device), condition)
            if not bool(denoised.isfinite().all()):
                return Blind(sigma)
            if sigma == high:
                left = _spread(denoised) / high
            if after is not None:
                x = denoised + (after / sigma) * (x - denoised)
    spread = float(x.double().std())
    moved = float((denoised.double() - x.double()).square().mean().sqrt()) / max(spread, low)
    return Blind(None, left, moved)


def _spread(denoised: Tensor) -> float:
    return float((denoised.double() - denoised.double().mean(0)).square().mean().sqrt())
