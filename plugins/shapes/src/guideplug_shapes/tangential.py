"""Tangential damping (TCFG): what is guided away from keeps only what it shares with the guided prediction.

With p_c, p_u the predictions of the base and of what the guider steers away from, w its weight, each sample by itself,
v the right singular vector of the matrix [p_c; p_u], two rows long, that has the larger singular value:

    p_u' = <p_u, v> v
    p    = p_u' + w (p_c - p_u')

Source: M. Kwon, S. S. Kim, J. Jeong, Y. T. Hsiao and Y. Uh 2025, "TCFG: tangential damping classifier-free guidance",
arXiv:2503.18137, on scores, which are noise predictions up to a factor that singular vectors do not see. In denoised
space (``prediction=denoised``) it is another guider.
No decomposition is made: with the matrix's left singular vector (a, b), p_u' = a b p_c + b^2 p_u, and for the 2 x 2
Gram matrix [[cc, cu], [cu, uu]]

    2 a b = 2 cu / g,   2 b^2 = 1 - (cc - uu) / g,   g = sqrt((cc - uu)^2 + (2 cu)^2)

(ours). cc - uu is <p_c - p_u, p_c + p_u>, one product instead of two. At g = 0 every vector of their plane is as good,
and p_u stays as it is.
Cost: the guider's.
"""

from collections.abc import Mapping
from typing import final

import torch
from attrs import frozen
from torch import Tensor

from guideplug import Denoiser, Guider, Level, Source, option
from guideplug_shapes.prediction import Prediction, from_denoised, to_denoised
from guideplug_shapes.steering import cfg, inner, steered, weighted

__all__ = ["Tangential"]


@final
@frozen
class Tangential(Guider):
    """Tangential damping: away only from the shared part of both predictions."""

    name = "tangential"
    source = Source(
        "M. Kwon, S. S. Kim, J. Jeong, Y. T. Hsiao, Y. Uh",
        2025,
        "TCFG: Tangential Damping Classifier-Free Guidance",
        "https://arxiv.org/abs/2503.18137",
    )
    guider: Guider = option(
        factory=cfg, help="the guider whose opposite is projected, one with an option weight", validator=weighted
    )
    prediction: Prediction = option("noise", help="what is projected; the paper's are scores, which is noise")

    def guide(self, base: Denoiser, models: Mapping[str, Denoiser]) -> Denoiser:
        return steered(self.name, self.guider, base, models, lambda: self._damped)

    def _damped(self, base: Tensor, other: Tensor, x: Tensor, sigma: Level) -> Tensor:
        wanted, away = (from_denoised(self.prediction, point, x, sigma) for point in (base, other))
        excess, both = inner(wanted - away, wanted + away), 2 * inner(wanted, away)
        gap = torch.hypot(excess, both)
        some = gap > 0
        sine, cosine = torch.where(some, both / gap, 0.0), torch.where(some, excess / gap, -1.0)
        return to_denoised(self.prediction, (sine * wanted + (1 - cosine) * away) / 2, x, sigma)
