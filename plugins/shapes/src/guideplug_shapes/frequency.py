"""Frequency-decoupled guidance (FDG): a factor for each band of frequencies of what the guider adds to the base.

    D = D_c + sum_l f_l * L_l(D_w - D_c)

D_c is the base, D_w the guided sample, L_0 … L_(n-1) the bands of a Laplacian pyramid, the finest first, brought to
full size; they sum to the whole. The paper's weight of a band is w_l = 1 + f_l (w - 1).

A band is what the next smaller picture cannot say: U - up(down(U)). `down` halves both sides, rounding up, by linear
interpolation with antialiasing (away from the borders the binomial filter [1 3 3 1] / 8), `up` interpolates linearly.
With those factors that are 1 nothing is filtered at all: what is computed is D_w + sum_l (f_l - 1) L_l(D_w - D_c).

The kernel is our choice: the paper's code has that of kornia, the 5 x 5 binomial filter on images padded to powers of
two, which ``pyramid=kornia`` takes from the library itself.

Source: S. Sadat, T. Vontobel, F. Salehi and R. M. Weber 2025, "Guidance in the frequency domain enables high-fidelity
sampling at low CFG scales", arXiv:2506.19713; pyramid: P. J. Burt and E. H. Adelson 1983, "The Laplacian pyramid as a
compact image code". The default, half of the low band, is our choice after the paper's advice to guide low frequencies
less (diffusers quotes weights of 10 and 5 on one model from it).
Cost: the guider's, and the base where the guider does not call it.
"""

import importlib.util
from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal, final

import torch
import torch.nn.functional as F
from attrs import frozen
from attrs.validators import deep_iterable
from torch import Tensor

from guideplug import Combine, ConfigError, Denoiser, Guider, Level, Recipe, Source, Space, Task, finite, option
from guideplug_shapes.steering import cfg

__all__ = ["Frequency"]


@final
@frozen
class Frequency(Guider):
    """A guider with different weights for fine and coarse detail; for images."""

    name = "frequency"
    source = Source(
        "S. Sadat, T. Vontobel, F. Salehi, R. M. Weber",
        2025,
        "Guidance in the Frequency Domain Enables High-Fidelity Sampling at Low CFG Scales",
        "https://arxiv.org/abs/2506.19713",
    )
    extras: ClassVar[Mapping[str, str]] = {"kornia": "guideplug-shapes[kornia]"}
    guider: Guider = option(factory=cfg, help="the guider whose update is split, any one")
    factors: tuple[float, ...] = option(
        (1.0, 0.5),
        help="a factor for each band, the finest first; 1 is as the guider has it",
        validator=deep_iterable(finite),
    )
    pyramid: Literal["antialiased", "kornia"] = option(
        "antialiased",
        help="how bands are separated: by the kernel described above, or by kornia's, as the paper's code does",
        identity="unless default",
    )

    def __attrs_post_init__(self) -> None:
        if not self.factors:
            raise ValueError("factors is empty: give one a band, the finest first, as in factors=[1, 0.5]")

    def needs(self, task: Task, main: Recipe) -> Mapping[str, Recipe | str | None]:
        self._check(task.space)
        return super().needs(task, main)

    def guide(self, base: Denoiser, models: Mapping[str, Denoiser]) -> Denoiser:
        self._check(base.space)
        return Combine([self.guider.guide(base, models), base], self._weighed, written=f"{self.name}({{}})")

    def _weighed(self, outputs: Sequence[Tensor], x: Tensor, sigma: Level) -> Tensor:
        guided, base = outputs
        changes = [factor - 1 for factor in self.factors]
        bands = _bands if self.pyramid == "antialiased" else _kornia_bands
        return guided + bands(guided - base, changes)

    def _check(self, space: Space) -> None:
        if self.pyramid == "kornia" and importlib.util.find_spec("kornia") is None:
            raise ConfigError(
                f"guider 'frequency' with pyramid='kornia' needs kornia: pip install '{self.extras['kornia']}'"
            )
        shape, least = space.shape, 2 ** (len(self.factors) - 1)
        if len(shape) != 3:
            raise ConfigError(
                f"guider 'frequency' is for images (channels, height, width), and samples here have the shape {shape}"
            )
        if min(shape[1:]) < least:
            raise ConfigError(
                f"guider 'frequency' with {len(self.factors)} factors is for images of {least} pixels a side or more, "
                f"and samples here have the shape {shape}: give fewer factors"
            )


def _bands(image: Tensor, factors: Sequence[float]) -> Tensor:
    """The sum of the bands of images (B, C, H, W), each times its factor."""
    first, *rest = factors
    if all(factor == first for factor in rest):
        return first * image
    height, width = image.shape[-2:]
    # Antialiasing knows no half precision.
    fine = image if image.dtype in (torch.float32, torch.float64) else image.float()
    small = F.interpolate(fine, ((height + 1) // 2, (width + 1) // 2), mode="bilinear", antialias=True).to(image.dtype)
    coarse = _bands(small, rest) - first * small
    return first * image + F.interpolate(coarse, (height, width), mode="bilinear")


def _kornia_bands(image: Tensor, factors: Sequence[float]) -> Tensor:
    """As `_bands`, by the pyramid of kornia, whose bands are those of the padded image."""
    from kornia.geometry.transform import build_laplacian_pyramid, pyrup

    if all(factor == factors[0] for factor in factors):
        return factors[0] * image
    height, width = image.shape[-2:]
    total: Tensor | None = None
    for band, factor in reversed(list(zip(build_laplacian_pyramid(image, len(factors)), factors, strict=True))):
        total = factor * band if total is None else pyrup(total) + factor * band
    assert total is not None
    return total[..., :height, :width]
