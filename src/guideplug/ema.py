"""Power-function averages of weights, several lengths at once.

Source: Karras, Aittala, Lehtinen, Hellsten, Aila and Laine 2024, "Analyzing and improving the training dynamics of
diffusion models", arXiv:2312.02696, eq. 127 and section C.1. After step t the average keeps the share

    beta(t) = (1 - 1/t)^(gamma + 1)

so that its profile is a power of time, whose relative width is sigma_rel ("EMA length") at every t. gamma is the
largest real root of gamma^3 + 7 gamma^2 + (16 - sigma_rel^-2) gamma + (12 - sigma_rel^-2) = 0.
"""

from collections.abc import Mapping, Sequence
from typing import final

import numpy as np
import torch
from torch import Tensor, nn

__all__ = ["PowerAverages", "power_gamma"]

MAX_LENGTH = 12.0**-0.5
"""The length of a flat average over all steps: gamma is 0 there."""


def power_gamma(length: float) -> float:
    """The exponent gamma of an EMA length sigma_rel in (0, 0.288].

    Raises:
        ValueError: the length is outside that range.
    """
    if not 0.0 < length <= MAX_LENGTH:
        raise ValueError(f"EMA length {length:g}: it must be between 0 and {MAX_LENGTH:.3f}, a share of the training")
    inverse = length**-2
    roots = np.roots([1.0, 7.0, 16.0 - inverse, 12.0 - inverse])
    return float(max(root.real for root in roots if abs(root.imag) < 1e-9))


@final
class PowerAverages:
    """Averages of a module's parameters over training, one for each length.

    Args:
        module: what is averaged; its parameters are read at each update.
        lengths: EMA lengths sigma_rel, as shares of the training so far.
    """

    def __init__(self, module: nn.Module, lengths: Sequence[float]) -> None:
        self.lengths = tuple(lengths)
        self._gammas = [power_gamma(length) for length in lengths]
        self._names = [name for name, _ in module.named_parameters()]
        self._live: list[Tensor] = [parameter for _, parameter in module.named_parameters()]
        self._averages = [[parameter.detach().clone() for parameter in self._live] for _ in lengths]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the parameters after optimiser step ``step``, counted from 1; the first replaces the average."""
        for gamma, averages in zip(self._gammas, self._averages, strict=True):
            torch._foreach_lerp_(averages, self._live, 1.0 - (1.0 - 1.0 / step) ** (gamma + 1.0))

    def parameters(self, length: float) -> Mapping[str, Tensor]:
        """The averaged parameters of one length, by name.

        Raises:
            KeyError: no average of this length is kept.
        """
        if length not in self.lengths:
            raise KeyError(length)
        return dict(zip(self._names, self._averages[self.lengths.index(length)], strict=True))

    def load(self, length: float, parameters: Mapping[str, Tensor]) -> None:
        """Put back what `parameters` gave."""
        for name, average in zip(self._names, self._averages[self.lengths.index(length)], strict=True):
            average.copy_(parameters[name])
