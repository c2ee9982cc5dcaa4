"""CFG-Zero*: the unconditional prediction, scaled to fit the conditional one, before guidance goes away from it.

With v_c, v_u the predictions of the base and of what the guider steers away from, w its weight, each sample by itself:

    s = <v_c, v_u> / |v_u|^2
    v = s v_u + w (v_c - s v_u)

and, where asked for, v = 0 in the first steps ("zero-init").

Source: W. Fan, A. Y. Zheng, R. A. Yeh and Z. Liu 2025, "CFG-Zero*: improved classifier-free guidance for flow matching
models", arXiv:2503.18886. The paper's v are flow velocities, and so they are here by default; the same formula on
denoised samples is another guider, since s v_u = (x - (1 + sigma) D_u') / sigma has
D_u' = s D_u + (1 - s) x / (1 + sigma), and not s D_u (`guideplug_shapes.prediction`). A velocity of 0 is
D = x / (1 + sigma), so zero-init is that above a noise level, for the paper's first step of N a level of about N - 1
(t = 1 - 1/N, t = sigma / (1 + sigma)). It is off by default: on a grid that is not uniform in t, the first step is
another.
Cost: the guider's. Above ``zero_above``, one call of the base, whose answer is not used.
"""

import math
from collections.abc import Mapping
from typing import final

import torch
from attrs import frozen
from torch import Tensor

from guideplug import Combine, Denoiser, Gate, Guider, Level, Source, at_least, option
from guideplug_shapes.prediction import Prediction, from_denoised, to_denoised
from guideplug_shapes.steering import cfg, inner, steered, weighted

__all__ = ["CFGZero"]


@final
@frozen
class CFGZero(Guider):
    """CFG-Zero*: the prediction guided away from is first scaled to fit."""

    name = "cfg-zero"
    source = Source(
        "W. Fan, A. Y. Zheng, R. A. Yeh, Z. Liu",
        2025,
        "CFG-Zero*: Improved Classifier-Free Guidance for Flow Matching Models",
        "https://arxiv.org/abs/2503.18886",
    )
    guider: Guider = option(
        factory=cfg, help="the guider whose opposite is scaled, one with an option weight", validator=weighted
    )
    prediction: Prediction = option("velocity", help="what is projected; the paper's are velocities")
    zero_above: float = option(
        math.inf,
        help="zero-init: the level above which the velocity is 0; inf is nowhere",
        unit="data units",
        validator=at_least(0),
    )

    def guide(self, base: Denoiser, models: Mapping[str, Denoiser]) -> Denoiser:
        scaled = steered(self.name, self.guider, base, models, lambda: self._scaled)
        if self.zero_above == math.inf:
            return scaled
        still = Combine(
            [base],
            lambda outputs, x, sigma: to_denoised("velocity", torch.zeros_like(x), x, sigma),
            written="x / (1 + sigma)",
        )
        return scaled + Gate(self.zero_above) * (still - scaled)

    def _scaled(self, base: Tensor, other: Tensor, x: Tensor, sigma: Level) -> Tensor:
        wanted, away = (from_denoised(self.prediction, point, x, sigma) for point in (base, other))
        scale = inner(wanted, away) / inner(away, away).clamp(min=torch.finfo(torch.float32).tiny)
        return to_denoised(self.prediction, scale * away, x, sigma)
