"""The space shared by denoisers of one model family: data shape, standard deviation, and noise levels.

Noise alone, t = 1 of a flow, is sigma = infinity. The finite level 2^24 stands for it: with x = 2^24 n the network's
input is n, and its time 1, to the last bit of float32.
"""

import math
from collections.abc import Iterable

from attrs import field, frozen
from attrs.validators import deep_iterable, ge, gt

__all__ = ["Space"]

NOISE_ALONE = 2.0**24
"""The level that stands for noise without data, sigma = infinity."""


def _shape(value: object) -> tuple[int, ...]:
    sizes = tuple(value) if isinstance(value, Iterable) else (None,)
    if not all(isinstance(size, int) for size in sizes):
        example = f"({value},)" if isinstance(value, int) else "(2,) or (3, 64, 64)"
        raise TypeError(f"shape is {value!r}: give the shape of one sample, without the batch axis, as in {example}")
    return sizes


@frozen
class Space:
    """The space of samples. Noise levels are standard deviations in the units of the data.

    Args:
        shape: the shape of one sample, without the batch axis: ``(2,)``, ``(1, 8, 8)``.
        sigma_data: the standard deviation of the data.
        sigma_min: the lowest noise level of the denoiser.
        sigma_max: the highest noise level of the denoiser.
        noise_alone: whether the denoiser also denoises noise alone, at the level `NOISE_ALONE`, as flows do.

    Raises:
        TypeError: shape is not a sequence of whole numbers.
        ValueError: a size is below 1, a level is not positive and finite, or sigma_min >= sigma_max.
    """

    shape: tuple[int, ...] = field(converter=_shape, validator=deep_iterable(ge(1)))
    sigma_data: float = field(default=0.5, validator=gt(0.0))
    sigma_min: float = field(default=0.002, validator=gt(0.0))
    sigma_max: float = field(default=80.0, validator=gt(0.0))
    noise_alone: bool = False

    def __attrs_post_init__(self) -> None:
        if not (self.sigma_min < self.sigma_max < math.inf and self.sigma_data < math.inf):
            raise ValueError(
                f"sigma_min {self.sigma_min:g} must be below sigma_max {self.sigma_max:g}, and both finite"
            )

    @property
    def highest(self) -> float:
        """The highest level that the denoiser may be evaluated at: that of noise alone, or ``sigma_max``."""
        return NOISE_ALONE if self.noise_alone else self.sigma_max
