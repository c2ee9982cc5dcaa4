"""Noise schedules defined by a table of steps, such as those of DDPM and of diffusers.

    x_t = alpha y + beta n, alpha^2 = alphas_cumprod[t] = product over s <= t of (1 - beta_s), beta^2 = 1 - alpha^2

Between two steps log sigma is interpolated linearly in the time, as in samplers over sigma (k-diffusion, and diffusers'
Euler scheduler).

Source: Ho, Jain and Abbeel 2020, "Denoising diffusion probabilistic models", arXiv:2006.11239, eq. 4.
"""

import math
from collections.abc import Sequence
from typing import final

import torch
from attrs import field, frozen
from torch import Tensor

from guideplug.adapters.foreign import instead_of
from guideplug.adapters.schedule import NoiseSchedule

__all__ = ["DiscreteSchedule"]


def _numbers(values: Sequence[float] | Tensor) -> tuple[float, ...]:
    if isinstance(values, str | type) or not (isinstance(values, Sequence) or hasattr(values, "__array__")):
        raise TypeError(f"alphas_cumprod {instead_of(values)}")
    return tuple(torch.as_tensor(values, dtype=torch.float64).flatten().tolist())


@final
@frozen
class DiscreteSchedule(NoiseSchedule):
    """Variance preserving, defined at the steps 0, 1, ... of a table.

    ``DiscreteSchedule(scheduler.alphas_cumprod)`` takes over the table of a diffusers scheduler.

    Args:
        alphas_cumprod: alpha^2 at each step, falling from nearly 1 to nearly 0.
        rounded: whether the time input is the nearest step, as an integer; else a fraction between two.

    Raises:
        TypeError: alphas_cumprod is not a table, for instance a scheduler.
        ValueError: fewer than two steps, a value outside (0, 1), or one that is not below the one before.
    """

    alphas_cumprod: tuple[float, ...] = field(converter=_numbers, repr=lambda table: f"<{len(table)} steps>")
    rounded: bool = False
    _tables: dict[tuple[torch.device, torch.dtype], Tensor] = field(factory=dict, init=False, eq=False, repr=False)

    def __attrs_post_init__(self) -> None:
        table = self.alphas_cumprod
        if len(table) < 2:
            raise ValueError(f"alphas_cumprod has {len(table)} entries: give one for each training step, two at least")
        for step, value in enumerate(table):
            if value == 0.0:
                raise ValueError(
                    f"alphas_cumprod[{step}] is 0, where sigma is infinite (zero terminal SNR): leave it out, as in "
                    f"alphas_cumprod[:{step}], or give that step a small value, as 2**-24 in diffusers"
                )
            if not 0.0 < value < 1.0:
                raise ValueError(f"alphas_cumprod[{step}] is {value:g}: give values strictly between 0 and 1")
            if step and value >= table[step - 1]:
                raise ValueError(
                    f"alphas_cumprod[{step}] is {value:g} after {table[step - 1]:g}: the table must fall at each step; "
                    "for a table of betas there is DiscreteSchedule.from_betas"
                )

    @classmethod
    def from_betas(cls, betas: Sequence[float] | Tensor, *, rounded: bool = False) -> "DiscreteSchedule":
        """The schedule of a table of betas: alphas_cumprod is the running product of 1 - beta.

        DDPM's and DiT's betas are ``torch.linspace(1e-4, 0.02, 1000)``; those of Stable Diffusion, called scaled
        linear, ``torch.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2``.
        """
        return cls((1 - torch.as_tensor(betas, dtype=torch.float64)).cumprod(0), rounded=rounded)

    @property
    def sigma_range(self) -> tuple[float, float]:
        low, high = (math.sqrt((1 - value) / value) for value in (self.alphas_cumprod[0], self.alphas_cumprod[-1]))
        return low, high

    def alpha(self, sigma: Tensor) -> Tensor:
        return (1 + sigma.square()).rsqrt()

    def time(self, sigma: Tensor) -> Tensor:
        levels, level = self._log_sigmas(sigma), sigma.log()
        after = torch.searchsorted(levels, level.contiguous()).clamp(1, len(levels) - 1)
        low, high = levels[after - 1], levels[after]
        time = after - 1 + ((level - low) / (high - low)).clamp(0, 1)
        return time.round().long() if self.rounded else time

    def sigma(self, time: Tensor) -> Tensor:
        time = time if time.is_floating_point() else time.to(torch.get_default_dtype())
        levels = self._log_sigmas(time)
        before = time.floor().long().clamp(0, len(levels) - 2)
        return torch.lerp(levels[before], levels[before + 1], time - before).exp()

    def levels(self, count: int, sigma_min: float, sigma_max: float) -> list[float]:
        """``count`` levels of the table, highest first: whole steps, spread evenly between the ends.

        Raises:
            ValueError: there are fewer whole steps between the ends.
        """
        first, last = self.time(torch.tensor([sigma_max, sigma_min], dtype=torch.float64)).round().long().tolist()
        if count > first - last + 1:
            raise ValueError(
                f"num_steps is {count}: the table of alphas_cumprod has {first - last + 1} steps between {sigma_min:g} "
                f"and {sigma_max:g}; take as many, or another schedule"
            )
        times = torch.linspace(last, first, count, dtype=torch.float64).round().flip(0)
        levels: list[float] = self._log_sigmas(times)[times.long()].exp().tolist()
        return levels

    def _log_sigmas(self, like: Tensor) -> Tensor:
        """The table (T,), copied to a device once: a copy per evaluation would synchronise with the device."""
        key = like.device, like.dtype
        if key not in self._tables:
            table = torch.tensor(self.alphas_cumprod, dtype=torch.float64)
            self._tables[key] = ((1 - table).log() - table.log()).div(2).to(*key)
        return self._tables[key]
