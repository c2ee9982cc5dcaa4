"""The sizes of the published networks, by their published names.

Channels and dropout of EDM2: arXiv:2312.02696, table 6; its networks of ImageNet-512 denoise latents of 4 x 64 x 64,
those of ImageNet-64 images of 3 x 64 x 64, both with 1,000 classes. EDM: arXiv:2206.00364, table 7; images of 3 x 32
x 32 of CIFAR-10, and of 3 x 64 x 64 of FFHQ and AFHQv2.
"""

from collections.abc import Mapping
from typing import Final

__all__ = ["PRESETS"]

EDM2_SIZES: Final = {
    "xs": (128, 0.0),
    "s": (192, 0.0),
    "m": (256, 0.1),
    "l": (320, 0.1),
    "xl": (384, 0.1),
    "xxl": (448, 0.1),
}
"""Channels, and the probability of dropout."""
EDM2_SETS: Final = {"img512": ("xs", "s", "m", "l", "xl", "xxl"), "img64": ("s", "m", "l", "xl")}
NCSNPP = "embedding=fourier, encoder=residual, channel_mult_noise=2, resample_filter=[1, 3, 3, 1]"
EDM_SETS: Final = {
    "cifar10": "channel_mult=[2, 2, 2], dropout=0.13, augment=9",
    "ffhq": "channel_mult=[1, 2, 2, 2], dropout=0.05, augment=9",
    "afhqv2": "channel_mult=[1, 2, 2, 2], dropout=0.25, augment=9",
}

PRESETS: Final[Mapping[str, str]] = {
    f"edm2-{data}-{size}": f"edm2(channels={EDM2_SIZES[size][0]}, dropout={EDM2_SIZES[size][1]}, precision=fp16)"
    for data, sizes in EDM2_SETS.items()
    for size in sizes
} | {
    f"edm-{data}-{kind}": f"edm({options}{', ' if more else ''}{more})"
    for data, options in EDM_SETS.items()
    for kind, more in (("ddpmpp", ""), ("ncsnpp", NCSNPP))
}
