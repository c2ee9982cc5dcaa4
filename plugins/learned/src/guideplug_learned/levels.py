"""Which steps a weight is fitted on: pairs of a level t that a step comes from and a level s < t that it goes towards.

The paper draws in its own time, which runs from 0 (data) to 1 (noise):

    s ~ U[s_min, 1 - zeta - delta],   t = s + U[delta, 1 - zeta - s]

with delta about .1, though the steps of a sampler are smaller. Our time p is the position on the sampler's grid, in
which its steps are of one length (Karras et al. 2022, arXiv:2206.00364, eq. 5, rho 7):

    sigma(p) = (sigma_min^(1/7) + p * (sigma_max^(1/7) - sigma_min^(1/7)))^7,   p from 0 to 1

so s_min and zeta, which the paper does not give, are 0: the ends of the grid. The mapping is our choice.
"""

import torch
from torch import Tensor

from guideplug import Space

__all__ = ["draw_levels", "sigma_at"]

RHO = 7.0


def sigma_at(position: Tensor, space: Space) -> Tensor:
    """The noise levels at positions from 0, sigma_min, to 1, sigma_max; in data units."""
    low, high = space.sigma_min ** (1 / RHO), space.sigma_max ** (1 / RHO)
    sigma: Tensor = (low + position * (high - low)) ** RHO
    return sigma


def draw_levels(count: int, space: Space, gap: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """``count`` pairs of levels t > s, each (count,), at least ``gap`` of the grid apart."""
    first, second = torch.rand(2, count, generator=generator, device=generator.device)
    low = first * (1 - gap)
    high = low + gap + second * (1 - gap - low)
    return sigma_at(high, space), sigma_at(low, space)
