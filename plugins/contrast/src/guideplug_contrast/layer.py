"""Skip-layer guidance: away from what the network says with some of its layers left out.

    D_w(x; sigma, c) = D + (w - 1) (D - V),    V is D with f_l(h) -> h in some layers l

Which layers can be skipped is the network's to offer ("skip-layer"); the middle one is skipped unless ``layers``
numbers others.

Source: Stability AI 2024, the reference code of Stable Diffusion 3.5, without a paper: layers 7, 8 and 9, from 1 % to
20 % of the steps, w - 1 = 2.8, beside classifier-free guidance. For a part of the levels write
``interval(skip-layer, low=..., high=...)``. Alike: J. Hyung, K. Kim, S. Hong, M.-J. Kim and J. Choo 2024,
"Spatiotemporal skip guidance for enhanced video diffusion sampling", arXiv:2411.18664.
Cost: two calls of the network; a skipped layer is still computed.
"""

from collections.abc import Mapping
from typing import final

from attrs import frozen

from guideplug import Denoiser, Guider, Source, WeightSchedule, finite, option, perturbed

__all__ = ["SkipLayer"]


@final
@frozen
class SkipLayer(Guider):
    """A network guided away from itself with some of its layers skipped."""

    name = "skip-layer"
    source = Source(
        "Stability AI", 2024, "Stable Diffusion 3.5, reference code", "https://github.com/Stability-AI/sd3.5"
    )
    weight: float | WeightSchedule = option(
        2.0, help="guidance weight; 1 is off. The reference code has 3.8", validator=finite
    )
    layers: tuple[int, ...] = option(
        (), help="numbers of the layers, from 0, of those that the network offers; none for its middle one"
    )

    def guide(self, base: Denoiser, models: Mapping[str, Denoiser]) -> Denoiser:
        return base + (self.weight - 1) * (base - perturbed(base, "skip-layer", layers=self.layers))
