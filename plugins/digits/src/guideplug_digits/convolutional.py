"""A small denoiser of grey images of any size: residual convolutions, in EDM preconditioning.

    D(x; σ, c) = c_skip(σ)·x + c_out(σ)·F(c_in(σ)·x; ¼ ln σ, c)

with the factors of Karras et al. 2022, arXiv 2206.00364, table 1, as in `guideplug_digits.network`. F is a chain of
residual blocks of two 3 × 3 convolutions, every second block dilated, so that after three of them a pixel sees all of
an 8 × 8 image; shift and scale of each block come from the embedding of (σ, label), and blocks begin as the identity.
Nothing in it knows where a pixel is, beyond the zeros around the image. So it also denoises a piece of an image, which
is what sliding-window guidance asks for and a transformer with learned positions cannot do.

Cost: one evaluation is one pass; about 3.6 M multiply-adds per image at the default size.
"""

import math

import torch
from torch import Tensor, nn

from guideplug_digits.network import NULL_LABEL

__all__ = ["ConvolutionalNet"]


class ConvolutionalBlock(nn.Module):
    """x + conv(SiLU(conv(SiLU(x)) shifted and scaled by the embedding)); (B, width, H, W) in and out."""

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(width, width, 3, padding=dilation, dilation=dilation)
        self.act = nn.SiLU()
        self.conv_out = nn.Conv2d(width, width, 3, padding=1)
        self.modulation = nn.Linear(width, 2 * width)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """The block's output, the shape of ``x``, given the embedding (B, width)."""
        shift, scale = self.modulation(embedding)[:, :, None, None].chunk(2, dim=1)
        hidden = self.act(self.conv_in(nn.functional.silu(x)) * (1 + scale) + shift)
        after: Tensor = x + self.conv_out(hidden)
        return after


class ConvolutionalNet(nn.Module):
    """Denoiser D(x; σ, label) of grey images (B, 1, H, W); σ in data units.

    Args:
        width: channels.
        blocks: residual blocks.
        sigma_data: standard deviation of the data.
        generator: where the initial weights are drawn.
    """

    frequencies: Tensor

    def __init__(self, width: int, blocks: int, sigma_data: float, generator: torch.Generator) -> None:
        super().__init__()
        self.sigma_data = sigma_data
        self.register_buffer("frequencies", torch.logspace(-1, 4, 16, base=2.0), persistent=False)
        with torch.random.fork_rng(devices=[]):  # torch's own initialisation, overwritten below, draws globally
            self.noise_embedding = nn.Sequential(nn.Linear(32, width), nn.SiLU(), nn.Linear(width, width))
            self.class_embedding = nn.Embedding(NULL_LABEL + 1, width)
            self.stem = nn.Conv2d(1, width, 3, padding=1)
            self.blocks = nn.ModuleList(ConvolutionalBlock(width, 1 + number % 2) for number in range(blocks))
            self.head = nn.Conv2d(width, 1, 3, padding=1)
        with torch.no_grad():
            for module in self.modules():
                if isinstance(module, nn.Linear | nn.Conv2d):
                    assert module.bias is not None
                    bound = math.sqrt(3 / module.weight[0].numel())
                    module.weight.uniform_(-bound, bound, generator=generator)
                    module.bias.zero_()
            self.class_embedding.weight.normal_(generator=generator)
            for block in self.blocks:
                assert isinstance(block, ConvolutionalBlock)
                block.conv_out.weight.zero_()
                block.modulation.weight.zero_()
            self.head.weight.zero_()

    def forward(self, x: Tensor, sigma: Tensor, labels: Tensor) -> Tensor:
        """The expected clean images (B, 1, H, W), at noise levels (B,), given labels (B,), `NULL_LABEL` for none."""
        sigma_image = sigma.to(x.dtype).view(-1, 1, 1, 1)
        total = (sigma_image**2 + self.sigma_data**2).sqrt()
        angles = (sigma.to(x.dtype).log() / 4)[:, None] * self.frequencies
        noise: Tensor = self.noise_embedding(torch.cat([angles.cos(), angles.sin()], dim=1))
        embedding = nn.functional.silu(noise + self.class_embedding(labels))
        hidden: Tensor = self.stem(x / total)
        for block in self.blocks:
            hidden = block(hidden, embedding)
        raw: Tensor = self.head(nn.functional.silu(hidden))
        return (self.sigma_data / total) ** 2 * x + sigma_image * self.sigma_data / total * raw
