"""Magnitude-aware guidance (MAMBO-G): less weight where the two predictions differ much.

With p_c, p_u the predictions of the base and of what the guider steers away from, w its weight, each sample by itself:

    w_x = 1 + (w - 1) * exp(-alpha |p_c - p_u| / |p_u|)
    p   = p_u + w_x (p_c - p_u)

Source: S. Zhu et al. 2025, "MAMBO-G: magnitude-aware mitigation for boosted guidance", arXiv:2508.03442, alpha = 8. Its
networks predict flow velocities, and so the norms are those of velocities by default. With ``prediction=denoised`` they
are those of denoised samples; then the ratio depends on where the data have their origin, and is larger at high noise.
Cost: the guider's.
"""

from collections.abc import Mapping
from typing import final

import torch
from attrs import frozen
from torch import Tensor

from guideplug import Denoiser, Guider, Level, Source, non_negative, option
from guideplug_shapes.prediction import Prediction, from_denoised
from guideplug_shapes.steering import cfg, length, steered, weighted

__all__ = ["MagnitudeAware"]


@final
@frozen
class MagnitudeAware(Guider):
    """Guidance whose weight falls where the predictions differ much."""

    name = "magnitude-aware"
    source = Source(
        "S. Zhu, Q. Peng, Z. Shu, Y. Hu, Z. Yang, H. Zhang, Z. Pu, A. Zheng, X. Cui, J. Zhao, R. Feng, F. Cheng",
        2025,
        "MAMBO-G: Magnitude-Aware Mitigation for Boosted Guidance",
        "https://arxiv.org/abs/2508.03442",
    )
    guider: Guider = option(
        factory=cfg, help="the guider whose weight is damped, one with an option weight", validator=weighted
    )
    alpha: float = option(8.0, help="how fast the weight falls; 0 leaves it as it is", validator=non_negative)
    prediction: Prediction = option("velocity", help="whose norms are compared; the paper's are velocities")

    def guide(self, base: Denoiser, models: Mapping[str, Denoiser]) -> Denoiser:
        return steered(self.name, self.guider, base, models, lambda: self._damped)

    def _damped(self, base: Tensor, other: Tensor, x: Tensor, sigma: Level) -> Tensor:
        wanted, away = (from_denoised(self.prediction, point, x, sigma) for point in (base, other))
        ratio = length(wanted - away) / length(away).clamp(min=torch.finfo(torch.float32).tiny)
        return base - (-self.alpha * ratio).clamp(min=-60.0).exp() * (base - other)
