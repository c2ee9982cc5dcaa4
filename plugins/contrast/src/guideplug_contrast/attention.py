"""Perturbed attention and smoothed energy: away from what the network says with its self-attention weakened.

    D_w(x; sigma, c) = D + (w - 1) (D - V)

    perturbed attention   V is D with softmax(q k' / sqrt(d)) v  ->  v                   in some layers
    smoothed energy       V is D with softmax(q k' / sqrt(d)) v  ->  softmax(G q k' / sqrt(d)) v

In joint attention, where the tokens of image and text are one sequence, only the image's are perturbed, as published
for Stable Diffusion 3: a token of the image attends to itself and to the text, and the text to all. ``tokens=all`` of
perturbed attention leaves the text's values unmixed too, as a guider of diffusers does.

G is a Gaussian over the grid of tokens, of standard deviation ``blur`` tokens; at inf each query is the mean of all.
Which layers can be perturbed is the network's to offer ("identity-attention", "blurred-queries"); the middle one is
unless ``layers`` numbers others. With classifier-free guidance write ``blend([cfg, perturbed-attention])``: the papers'
sum of both directions.

Sources: D. Ahn, H. Cho, J. Min, W. Jang, J. Kim, S. Kim, H. H. Park, K. H. Jin and S. Kim 2024, "Self-rectifying
diffusion sampling with perturbed-attention guidance", arXiv:2403.17377; S. Hong 2024, "Smoothed energy guidance:
guiding diffusion models with reduced energy curvature of attention", arXiv:2408.00760. Their scale s is w - 1; s = 3
and the middle block are usual for Stable Diffusion, and the authors' code of the second blurs by 100 tokens or inf.
Cost: two calls of the network.
"""

import math
from collections.abc import Mapping
from typing import Any, Literal, final

from attrs import frozen
from attrs.validators import gt

from guideplug import Denoiser, Guider, Source, WeightSchedule, finite, option, perturbed

__all__ = ["PerturbedAttention", "SmoothedEnergy"]

LAYERS = "numbers of the layers, from 0, of those that the network offers; none for its middle one"


@final
@frozen
class PerturbedAttention(Guider):
    """A network guided away from itself with self-attention replaced by the identity."""

    name = "perturbed-attention"
    source = Source(
        "D. Ahn, H. Cho, J. Min, W. Jang, J. Kim, S. Kim, H. H. Park, K. H. Jin, S. Kim",
        2024,
        "Self-Rectifying Diffusion Sampling with Perturbed-Attention Guidance",
        "https://arxiv.org/abs/2403.17377",
    )
    weight: float | WeightSchedule = option(
        2.0, help="guidance weight; 1 is off. The paper's s = 3 is 4", validator=finite
    )
    layers: tuple[int, ...] = option((), help=LAYERS)
    tokens: Literal["image", "all"] = option(
        "image", help="in joint attention, the tokens that attend to nothing else of their kind: the image's, or all"
    )

    def guide(self, base: Denoiser, models: Mapping[str, Denoiser]) -> Denoiser:
        options: dict[str, Any] = {"layers": self.layers} | ({} if self.tokens == "image" else {"tokens": self.tokens})
        return base + (self.weight - 1) * (base - perturbed(base, "identity-attention", **options))


@final
@frozen
class SmoothedEnergy(Guider):
    """A network guided away from itself with the queries of self-attention blurred."""

    name = "smoothed-energy"
    source = Source(
        "S. Hong",
        2024,
        "Smoothed Energy Guidance: Guiding Diffusion Models with Reduced Energy Curvature of Attention",
        "https://arxiv.org/abs/2408.00760",
    )
    weight: float | WeightSchedule = option(
        2.0, help="guidance weight; 1 is off. The paper's s = 3 is 4", validator=finite
    )
    blur: float = option(
        math.inf, help="standard deviation of the blur; inf is the mean of all", unit="tokens", validator=gt(0.0)
    )
    layers: tuple[int, ...] = option((), help=LAYERS)

    def guide(self, base: Denoiser, models: Mapping[str, Denoiser]) -> Denoiser:
        view = perturbed(base, "blurred-queries", layers=self.layers, blur=self.blur)
        return base + (self.weight - 1) * (base - view)
