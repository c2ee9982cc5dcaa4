"""A small convolutional U-Net for square or other images, in EDM's preconditioning.

D(x; s, c) = c_skip(s) x + c_out(s) F(c_in(s) x; ln(s) / 4, c), with d = sigma_data and

    c_skip = d^2 / (s^2 + d^2),   c_out = s d / sqrt(s^2 + d^2),   c_in = 1 / sqrt(s^2 + d^2)

Source: Karras, Aittala, Aila and Laine 2022, arXiv:2206.00364, table 1. The architecture is ours: a residual block per
level down and up, group normalisation whose scale and shift come from the embedding of noise level and class, no
attention. The last layer starts at zero, so that an untrained network is the best linear denoiser. A published
architecture is `edm2` of guideplug-edm-networks. Cost: one evaluation is one pass.
"""

import functools
from collections.abc import Mapping
from typing import final

import torch
from attrs import frozen
from torch import Tensor, nn

from guideplug import Condition, Domain, Leaf, Network, Perturbation, Source, Space, dropped_units, option, up_to

__all__ = ["ImagesUNet", "UNetDenoiser"]

NUM_FREQUENCIES = 16
GROUP = 8
"""Channels of a group of the normalisation."""


class Block(nn.Module):
    """A residual block of two convolutions, modulated by the embedding."""

    def __init__(self, inputs: int, outputs: int, embedding: int) -> None:
        super().__init__()
        self.norm_in, self.into = nn.GroupNorm(inputs // GROUP, inputs), nn.Conv2d(inputs, outputs, 3, padding=1)
        self.norm_out = nn.GroupNorm(outputs // GROUP, outputs, affine=False)
        self.act, self.out = nn.SiLU(), nn.Conv2d(outputs, outputs, 3, padding=1)
        self.modulation = nn.Linear(embedding, 2 * outputs)
        self.skip = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """Features (B, inputs, H, W) and embedding (B, E) in, features (B, outputs, H, W) out."""
        scale, shift = self.modulation(embedding)[..., None, None].chunk(2, dim=1)
        hidden = self.norm_out(self.into(nn.functional.silu(self.norm_in(x))))
        changed: Tensor = self.out(self.act(hidden * (1 + scale) + shift))
        skipped: Tensor = self.skip(x)
        return skipped + changed


@final
class UNetDenoiser(Leaf):
    """The U-Net as a denoiser of images of a class: 0 to num_labels - 1, or num_labels for none; or without classes."""

    frequencies: Tensor

    def __init__(self, space: Space, num_labels: int | None, width: int, levels: int) -> None:
        super().__init__(space)
        self.num_labels = num_labels
        channels, features = space.shape[0], 4 * width
        widths = [width * min(2**level, 4) for level in range(levels)]
        # ln(s) / 4 runs over about [-1.6, 1.1]; periods from 12.6 down to 0.4 resolve it without aliasing.
        self.register_buffer("frequencies", torch.logspace(-1, 4, NUM_FREQUENCIES, base=2.0), persistent=False)
        self.level = nn.Sequential(nn.Linear(2 * NUM_FREQUENCIES, features), nn.SiLU(), nn.Linear(features, features))
        self.classes = nn.Embedding(num_labels + 1, features) if num_labels else None
        self.enter = nn.Conv2d(channels, width, 3, padding=1)
        self.down = nn.ModuleList(
            Block(before, after, features) for before, after in zip([width, *widths], widths, strict=False)
        )
        self.middle = Block(widths[-1], widths[-1], features)
        self.up = nn.ModuleList(
            Block(below + beside, beside, features)
            for below, beside in zip([widths[-1], *widths[:0:-1]], widths[::-1], strict=True)
        )
        self.leave = nn.Sequential(
            nn.GroupNorm(width // GROUP, width), nn.SiLU(), nn.Conv2d(width, channels, 3, padding=1)
        )
        for parameter in self.leave[-1].parameters():
            nn.init.zeros_(parameter)

    def denoise(self, x: Tensor, sigma: Tensor, condition: Condition) -> Tensor:
        """The expected clean images (B, C, H, W) of classes (B,)."""
        data, level = self.space.sigma_data, sigma[:, None, None, None]
        total = (level**2 + data**2).sqrt()
        output = self._unet(x / total, sigma.log() / 4, condition)
        return (data / total) ** 2 * x + (level * data / total) * output

    def _unet(self, x: Tensor, noise: Tensor, condition: Condition) -> Tensor:
        angles = noise[:, None] * self.frequencies
        embedding: Tensor = self.level(torch.cat([angles.cos(), angles.sin()], dim=1))
        if self.classes is not None:
            embedding = embedding + self.classes(condition)
        embedding = nn.functional.silu(embedding)
        hidden: Tensor = self.enter(x)
        skips = []
        for number, block in enumerate(self.down):
            hidden = block(nn.functional.avg_pool2d(hidden, 2) if number else hidden, embedding)
            skips.append(hidden)
        hidden = self.middle(hidden, embedding)
        for number, block in enumerate(self.up):
            beside = skips[-1 - number]
            hidden = nn.functional.interpolate(hidden, scale_factor=2.0) if number else hidden
            hidden = block(torch.cat([hidden, beside], dim=1), embedding)
        output: Tensor = self.leave(hidden)
        return output

    def null_condition(self, batch: int, device: torch.device) -> Condition:
        return torch.full((batch,), self.num_labels, device=device) if self.num_labels else None

    def perturbations(self) -> Mapping[str, Perturbation]:
        """Dropped units between the two convolutions of each block."""
        names = [name for name, module in self.named_modules() if isinstance(module, Block)]
        return {"dropout": functools.partial(dropped_units(*(f"{name}.act" for name in names)), self)}


@final
@frozen
class ImagesUNet(Network):
    """A small convolutional U-Net, in EDM preconditioning."""

    name = "images-unet"
    source = Source(
        "T. Karras, M. Aittala, T. Aila, S. Laine",
        2022,
        "Elucidating the Design Space of Diffusion-Based Generative Models",
        "https://arxiv.org/abs/2206.00364",
        "table 1",
    )
    width: int = option(32, help="channels of the first level, a multiple of 8", validator=up_to(65_536))
    levels: int = option(3, help="levels, each of half the side of the one above", validator=up_to(10))

    def __attrs_post_init__(self) -> None:
        if self.width % GROUP:
            raise ValueError(f"width is {self.width}: it must be a multiple of {GROUP}")

    def build(self, domain: Domain) -> Leaf:
        shape, halved = domain.space.shape, 2 ** (self.levels - 1)
        if len(shape) != 3:
            raise ValueError(f"{self.name} denoises images (C, H, W), and the samples have shape {shape}")
        if shape[1] % halved or shape[2] % halved:
            raise ValueError(
                f"{self.name} halves images {self.levels - 1} times, which {shape[2]} x {shape[1]} pixels do not "
                "allow: give levels= fewer"
            )
        return UNetDenoiser(domain.space, domain.num_labels, self.width, self.levels)
