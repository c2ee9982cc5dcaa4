"""Layers with dropped units, as a perturbed view (`guideplug.denoise.perturb`).

Source: N. Srivastava, G. Hinton, A. Krizhevsky, I. Sutskever and R. Salakhutdinov 2014, "Dropout", JMLR 15.
"""

from typing import Any, final

from attrs import field, frozen
from torch import Tensor

from guideplug.denoise.perturb import Call, Layers, Touch
from guideplug.errors import DenoiserError
from guideplug.rng import KeyedRandom

__all__ = ["dropped_units"]


@final
@frozen
class _Drop(Touch):
    number: int
    share: float = field()
    draws: KeyedRandom | None = None

    def __attrs_post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise ValueError(f"share is {self.share:g}: give a share between 0 and 1")

    def after(self, call: Call, output: Any) -> Any:
        if not isinstance(output, Tensor) or self.draws is None:
            raise DenoiserError(
                f"units of a {type(call.layer).__name__} cannot be dropped: it does not give one tensor"
            )
        draws = self.draws.uniform(output.shape[1:], self.number + 1)
        return output * ((draws >= self.share).to(output.dtype) / (1 - self.share))


def dropped_units(*names: str) -> Layers:
    """Layers with dropped outputs (B, *), drawn per sample; options ``share`` and ``draws``."""
    return Layers(names, _Drop, everywhere=True)
