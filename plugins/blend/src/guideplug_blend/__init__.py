"""Blends of guiders: what each of them adds to the base, weighed and summed.

    D(x; sigma, c) = D_0(x; sigma, c) + sum_i share_i * (G_i(x; sigma, c) - D_0(x; sigma, c))

G_i is the i-th guider's denoiser over the same base D_0. With every share 1, the default, this is the paper's sum of
guiders; its blend of classifier-free guidance and autoguidance by alpha has the shares (1 - alpha, alpha).

Source: T. Karras, M. Aittala, T. Kynkäänniemi, J. Lehtinen, T. Aila and S. Laine 2024, "Guiding a diffusion model with
a bad version of itself", arXiv:2406.02507, eq. 6.
Cost: one call of each distinct network, the base included once; a guider whose share is 0 costs nothing.
"""

from collections.abc import Mapping
from typing import final

from attrs import frozen
from attrs.validators import deep_iterable, optional

from guideplug import Denoiser, Guider, Source, WeightSchedule, finite, hook, option, strategy


@final
@frozen
class Blend(Guider):
    """Several guiders at once, each with its share."""

    name = "blend"
    source = Source(
        "T. Karras, M. Aittala, T. Kynkäänniemi, J. Lehtinen, T. Aila, S. Laine",
        2024,
        "Guiding a Diffusion Model with a Bad Version of Itself",
        "https://arxiv.org/abs/2406.02507",
        "eq. 6",
    )
    guiders: tuple[Guider, ...] = option(
        factory=lambda: tuple(strategy(name, Guider) for name in ("cfg", "autoguidance")),
        help="the guiders, each over the same base",
    )
    shares: tuple[float | WeightSchedule, ...] | None = option(
        None, help="share of each guider, a number or a schedule per guider; none for 1 each",
        validator=optional(deep_iterable(finite)),
    )  # fmt: skip

    def __attrs_post_init__(self) -> None:
        if not self.guiders:
            raise ValueError("guiders is empty: give at least one, as in blend([cfg, autoguidance])")
        if self.shares is not None and len(self.shares) != len(self.guiders):
            one = "1 guider takes one share" if len(self.guiders) == 1 else f"{len(self.guiders)} guiders take as many"
            raise ValueError(f"shares are [{', '.join(map(str, self.shares))}]: {one}, or leave shares out for 1 each")

    def guide(self, base: Denoiser, models: Mapping[str, Denoiser]) -> Denoiser:
        point = base
        for guider, share in zip(self.guiders, self.shares or (1.0,) * len(self.guiders), strict=True):
            point = point + share * (guider.guide(base, models) - base)
        return point


@hook
def guideplug_guiders() -> list[type[Guider]]:
    return [Blend]
