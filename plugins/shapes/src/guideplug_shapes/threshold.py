"""Dynamic thresholding: guided samples that leave the data's range are clipped at a quantile and brought back into it.

With D_w the guided sample and L the largest absolute value of data, each sample by itself:

    s = max(L, the p-quantile of |D_w|)
    D = clip(D_w, -s, s) * L / s

Source: C. Saharia et al. 2022, "Photorealistic text-to-image diffusion models with deep language understanding"
(Imagen), arXiv:2205.11487, section 2.3, L = 1, p = .995. The paper thresholds every prediction; here a sample that is
not guided, as where an interval has switched guidance off, stays as it is: what is off changes nothing.
Cost: the guider's, and the base where the guider does not call it.
"""

import math
from collections.abc import Mapping, Sequence
from typing import final

import torch
from attrs import frozen
from attrs.validators import optional
from torch import Tensor

from guideplug import Combine, Denoiser, DenoiserError, Guider, Level, Source, between, option, per_row, positive
from guideplug_shapes.steering import cfg, length

__all__ = ["DynamicThreshold"]


@final
@frozen
class DynamicThreshold(Guider):
    """A guider whose samples are kept in the range of the data."""

    name = "dynamic-threshold"
    source = Source(
        "C. Saharia, W. Chan, S. Saxena, L. Li, J. Whang, E. Denton, S. K. S. Ghasemipour, B. K. Ayan, S. S. Mahdavi, "
        "R. G. Lopes, T. Salimans, J. Ho, D. J. Fleet, M. Norouzi",
        2022,
        "Photorealistic Text-to-Image Diffusion Models with Deep Language Understanding",
        "https://arxiv.org/abs/2205.11487",
        "section 2.3",
    )
    guider: Guider = option(factory=cfg, help="the guider whose samples are thresholded, any one")
    quantile: float = option(
        0.995, help="p, the quantile of absolute values that is the threshold", validator=between(0, 1)
    )
    limit: float | None = option(
        None,
        help="the largest absolute value of data; none for 1, that of images, unless the model decodes latents",
        unit="data units",
        validator=optional(positive),
    )

    def guide(self, base: Denoiser, models: Mapping[str, Denoiser]) -> Denoiser:
        if self.limit is None and any(network.is_latent for network in base.leaves()):
            raise DenoiserError(
                "dynamic-threshold has no default limit for latents, whose range no image gives: give limit=, in their "
                "units"
            )
        limit = 1.0 if self.limit is None else self.limit

        def thresholded(outputs: Sequence[Tensor], x: Tensor, sigma: Level) -> Tensor:
            guided, unguided = outputs
            bound = per_row(_quantile(guided.abs().flatten(1), self.quantile), guided).clamp(min=limit)
            inside = torch.minimum(torch.maximum(guided, -bound), bound) * (limit / bound)
            return torch.where(length(guided - unguided) > 0, inside, unguided)

        return Combine([self.guider.guide(base, models), base], thresholded, written=f"{self.name}({{}})")


def _quantile(values: Tensor, share: float) -> Tensor:
    """The quantile of each row of values (B, n), as `torch.quantile` has it, but only the largest values are sorted.

    So it is quicker, and takes more than the 16 million values at which older versions of torch stop.
    """
    place = share * (values.shape[1] - 1)
    below, part = math.floor(place), place - math.floor(place)
    largest = values.topk(values.shape[1] - below, dim=1).values
    at = largest[:, -1]
    return at if part == 0 else torch.lerp(at, largest[:, -2], part)
