"""Adaptive projected guidance (APG): the update without its part along the prediction, bounded, with a memory.

With D_c the base, D_u what the guider steers away from, w its weight, each sample by itself:

    m  = (D_c - D_u) + beta * m_before                            m_before that of the last evaluation, 0 at the first
    d  = m * min(1, r / |m|)
    D  = D_c + (w - 1) * (d_across + eta * d_along)               along and across D_c

Source: S. Sadat, O. Hilliges and R. M. Weber 2024, "Eliminating oversaturation and artifacts of high guidance scales in
diffusion models", arXiv:2410.02416, in denoised space as there. r is in the units of what is projected and grows with
the number of pixels; the paper sets one for each of its models, so here it is off unless given. The memory goes from
evaluation to evaluation: a Heun step makes two. With ``prediction`` D_c and D_u are what networks of that kind put out,
as in libraries that guide the raw outputs, whose r and beta are for these.
Cost: the guider's.
"""

import math
from collections.abc import Mapping
from typing import final

import torch
from attrs import frozen
from torch import Tensor

from guideplug import Denoiser, Guider, Level, Source, between, finite, option
from guideplug_shapes.prediction import Prediction, from_denoised, to_denoised, unit
from guideplug_shapes.steering import Reshaped, cfg, inner, length, steered, weighted

__all__ = ["APG"]


def _above_zero(instance: object, attribute: object, value: float) -> None:
    if not value > 0:
        raise ValueError(f"threshold is {value!r}: it must be positive, or inf for none")


@final
@frozen
class APG(Guider):
    """Adaptive projected guidance: a reduced update along the prediction, which oversaturates."""

    name = "apg"
    source = Source(
        "S. Sadat, O. Hilliges, R. M. Weber",
        2024,
        "Eliminating Oversaturation and Artifacts of High Guidance Scales in Diffusion Models",
        "https://arxiv.org/abs/2410.02416",
    )
    guider: Guider = option(
        factory=cfg, help="the guider that is projected, one with an option weight", validator=weighted
    )
    eta: float = option(0.0, help="how much of the update along the prediction is kept; 1 is all", validator=finite)
    momentum: float = option(
        -0.5, help="beta, the share of the last update that is added; 0 is none", validator=between(-1, 1, ends=False)
    )
    threshold: float = option(
        math.inf,
        help="r, the largest norm of the difference; inf is none",
        unit="units of the prediction",
        validator=_above_zero,
    )
    prediction: Prediction = option(
        "denoised", help="what is projected; the paper's are denoised samples", identity="unless default"
    )

    def guide(self, base: Denoiser, models: Mapping[str, Denoiser]) -> Denoiser:
        return steered(self.name, self.guider, base, models, self._begin)

    def _begin(self) -> Reshaped:
        before: Tensor | None = None

        def reshaped(base: Tensor, other: Tensor, x: Tensor, sigma: Level) -> Tensor:
            nonlocal before
            kind, factor = self.prediction, unit(self.prediction, x, sigma)
            predicted = from_denoised(kind, base, x, sigma) * factor
            difference = predicted - from_denoised(kind, other, x, sigma) * factor
            if self.momentum != 0 and before is not None:
                difference = difference + self.momentum * before
            before = difference
            if self.threshold < math.inf:
                difference = difference * (self.threshold / length(difference)).clamp(max=1.0)
            squared = inner(predicted, predicted).clamp(min=torch.finfo(torch.float32).tiny)
            along = inner(difference, predicted) / squared
            away = (1 - (self.eta - 1) * along) * predicted - difference
            return to_denoised(kind, away / factor, x, sigma)

        return reshaped
