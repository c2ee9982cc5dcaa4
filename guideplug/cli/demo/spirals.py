"""Two interleaved spirals: a density in closed form, at every noise level, with a class for each spiral.

    p(x; sigma | c) = sum_i N(x; mu_ci, (s^2 + sigma^2) I) / K
    D(x; sigma, c)  = (s^2 x + sigma^2 sum_i r_i mu_ci) / (s^2 + sigma^2)
    r               = softmax_i -|x - mu_ci|^2 / 2 (s^2 + sigma^2)

and without a class the same over both. Cost: no network.
"""

import math
from typing import final

import torch
from torch import Tensor

from guideplug.denoise import Condition, Leaf, Space

__all__ = ["NULL_LABEL", "PIECES", "SPACE", "Spirals"]

SPACE = Space(shape=(2,), sigma_data=0.5, sigma_min=0.01, sigma_max=5.0)
NULL_LABEL = 2
NUM_POINTS = 40
PIECES = 40
"""Pieces of equal mass, two Gaussians each, that coverage is counted in."""
STD, INNER = 0.03, 0.22


@final
class Spirals(Leaf):
    """The exact denoiser of the spirals, given a label: 0, 1, or 2 for none."""

    def __init__(self) -> None:
        super().__init__(SPACE)
        radius = torch.linspace(INNER**2, 1, NUM_POINTS).sqrt()  # evenly along the curve
        angle = 0.6 + 2.4 * math.pi * (radius - INNER)
        spiral = torch.stack([radius * angle.cos(), radius * angle.sin()], -1)
        self.register_buffer("means", torch.cat([spiral, -spiral]), persistent=False)

    means: Tensor

    def denoise(self, x: Tensor, sigma: Tensor, condition: Condition) -> Tensor:
        """The expected clean points, (B, 2)."""
        assert isinstance(condition, Tensor)
        variance = (STD**2 + sigma**2)[:, None]
        exponents = -torch.cdist(x, self.means).square() / (2 * variance)
        label = torch.arange(2, device=x.device).repeat_interleave(NUM_POINTS)
        other = (condition[:, None] != NULL_LABEL) & (condition[:, None] != label)
        exponents = exponents.masked_fill(other, -math.inf)
        shares = (exponents - exponents.amax(1, keepdim=True)).clamp(min=-60).exp().masked_fill(other, 0.0)
        shares = shares / shares.sum(1, keepdim=True)
        denoised: Tensor = (STD**2 * x + (sigma**2)[:, None] * (shares @ self.means)) / variance
        return denoised

    def null_condition(self, batch: int, device: torch.device) -> Condition:
        return torch.full((batch,), NULL_LABEL, device=device)

    def log_density(self, x: Tensor) -> Tensor:
        """The log density of clean points (B, 2), in nats."""
        exponents = -torch.cdist(x, self.means).square() / (2 * STD**2)
        return exponents.logsumexp(1) - math.log(len(self.means) * 2 * math.pi * STD**2)

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """True points, (count, 2)."""
        which = torch.randint(len(self.means), (count,), generator=generator)
        return self.means[which] + STD * torch.randn(count, 2, generator=generator)

    def shares(self, x: Tensor) -> Tensor:
        """The share of the points (B, 2) that is nearest to each of `PIECES` pieces; the truth is 1 / `PIECES` each."""
        piece = torch.cdist(x, self.means).argmin(1) * PIECES // len(self.means)
        return torch.bincount(piece, minlength=PIECES) / len(x)
