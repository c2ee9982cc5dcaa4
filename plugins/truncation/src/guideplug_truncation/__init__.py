"""Naive truncation: every step goes further towards the prediction, so that all scores are w times as large.

    D_w(x; sigma, c) = D(x; sigma, c) + (w - 1) * (D(x; sigma, c) - x)     that is, x + w * (D - x)

It lowers the temperature: samples come nearer to the modes of the data, and there is less variety. It is what guidance
must beat, since it costs nothing and needs no second network.

Source: T. Karras, M. Aittala, T. Kynkäänniemi, J. Lehtinen, T. Aila and S. Laine 2024, "Guiding a diffusion model with
a bad version of itself", arXiv:2406.02507, figure 1d, whose factor is 1.40.
Cost: none; one call of the main network.
"""

from collections.abc import Mapping, Sequence
from typing import final

from attrs import frozen
from torch import Tensor

from guideplug import Combine, Denoiser, Guider, Level, Source, WeightSchedule, finite, hook, option


@final
@frozen
class Truncation(Guider):
    """Scores scaled up."""

    name = "truncation"
    source = Source(
        "T. Karras, M. Aittala, T. Kynkäänniemi, J. Lehtinen, T. Aila, S. Laine",
        2024,
        "Guiding a Diffusion Model with a Bad Version of Itself",
        "https://arxiv.org/abs/2406.02507",
        "figure 1d",
    )
    weight: float | WeightSchedule = option(1.4, help="factor on the score; 1 is off", validator=finite)

    def guide(self, base: Denoiser, models: Mapping[str, Denoiser]) -> Denoiser:
        return base + (self.weight - 1) * (base - Combine([base], _unchanged, written="x"))


def _unchanged(outputs: Sequence[Tensor], x: Tensor, sigma: Level) -> Tensor:
    return x


@hook
def guideplug_guiders() -> list[type[Guider]]:
    return [Truncation]
