"""Rescaled guidance: the guided sample with the base's standard deviation, in part.

With D_w the guided and D_c the base, denoised samples unless ``prediction`` says otherwise, deviations over the pixels
(all coordinates) of each sample:

    D = phi * D_w * std(D_c) / std(D_w) + (1 - phi) * D_w

Source: S. Lin, B. Liu, J. Li and X. Yang 2023, "Common diffusion noise schedules and sample steps are flawed",
arXiv:2305.08891, section 3.4, phi = .7. The paper rescales what its networks put out, which is v; by default it is here
the denoised sample, which is what should keep its contrast, and the same (but for a sign) where the input is pure
noise. ``prediction=noise`` or ``v`` is as in libraries that rescale the raw outputs.
Cost: the guider's, and the base where the guider does not call it.
"""

import math
from collections.abc import Mapping, Sequence
from typing import final

import torch
from attrs import frozen
from torch import Tensor

from guideplug import Combine, ConfigError, Denoiser, Guider, Level, Source, between, option, per_row
from guideplug_shapes.prediction import Prediction, from_denoised, to_denoised
from guideplug_shapes.steering import cfg, length

__all__ = ["Rescale"]


@final
@frozen
class Rescale(Guider):
    """A guider whose samples keep the base's contrast."""

    name = "rescale"
    source = Source(
        "S. Lin, B. Liu, J. Li, X. Yang",
        2023,
        "Common Diffusion Noise Schedules and Sample Steps Are Flawed",
        "https://arxiv.org/abs/2305.08891",
        "section 3.4",
    )
    guider: Guider = option(factory=cfg, help="the guider whose samples are rescaled, any one")
    phi: float = option(0.7, help="how much; 0 is not at all, 1 fully", validator=between(0, 1))
    prediction: Prediction = option(
        "denoised", help="what keeps the base's contrast; the paper's are v", identity="unless default"
    )

    def guide(self, base: Denoiser, models: Mapping[str, Denoiser]) -> Denoiser:
        if math.prod(base.space.shape) < 2:
            raise ConfigError("guider 'rescale' has nothing to rescale: a sample of one number has no deviation")
        return Combine([self.guider.guide(base, models), base], self._rescaled, written=f"{self.name}({{}})")

    def _rescaled(self, outputs: Sequence[Tensor], x: Tensor, sigma: Level) -> Tensor:
        guided, base = (from_denoised(self.prediction, output, x, sigma) for output in outputs)
        own, kept = _spread(guided), _spread(base)
        ratio = torch.where(own > 0, kept / own, 1.0).to(x.dtype)
        return to_denoised(self.prediction, guided * (1 + self.phi * (ratio - 1)), x, sigma)


def _spread(samples: Tensor) -> Tensor:
    """The standard deviation of each sample of (B, *), times a root of the number of pixels, as (B, 1, ...)."""
    return length(samples - per_row(samples.flatten(1).mean(dim=1), samples))
