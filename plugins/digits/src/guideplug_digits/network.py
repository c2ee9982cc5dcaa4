"""A small denoiser of 8 × 8 images: a transformer on patches, in EDM preconditioning.

D(x; σ, c) = c_skip(σ)·x + c_out(σ)·F(c_in(σ)·x; c_noise(σ), c), with s = σ_data and

    c_skip = s² / (σ² + s²),   c_out = σ·s / √(σ² + s²),   c_in = 1 / √(σ² + s²),   c_noise = ¼ ln σ

(Karras et al., "Elucidating the Design Space of Diffusion-Based Generative Models", 2022, arXiv 2206.00364, table 1).
F cuts the image into 2 × 2 patches and runs residual blocks of self-attention and an MLP over the 16 tokens; shift,
scale and gate of each block come from the embedding of (c_noise, c) and start at zero (Peebles and Xie, "Scalable
Diffusion Models with Transformers", 2022, arXiv 2212.09748). The last layer starts at zero too, so an untrained
network is D = c_skip·x, the best linear denoiser of data with mean 0 and standard deviation s.

For guidance that weakens the attention: `blocks.<i>.attention.mixing` is a submodule of its own that maps
(queries, keys, values) to mixed values. Returning `values` from it is "attention → identity" (perturbed attention);
blurring `queries` before it is smoothed energy; returning a block's first argument from `blocks.<i>` skips the layer.

Cost: one evaluation is one pass; about 1.8 M multiply-adds per image at the default size.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

__all__ = ["NULL_LABEL", "Attention", "AttentionMixing", "Block", "DigitsNet"]

NULL_LABEL = 10
"""The label that stands for "no class": ten digits come before it."""

IMAGE_SIZE = 8


class AttentionMixing(nn.Module):
    """Softmax attention over tokens, without any parameter: the one place where tokens see each other."""

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Mix `values` (B, heads, T, C) by softmax(queries · keysᵀ / √C)."""
        logits = queries @ keys.transpose(-1, -2) / math.sqrt(queries.shape[-1])
        return torch.softmax(logits, dim=-1) @ values


class Attention(nn.Module):
    """Multi-head self-attention over tokens (B, T, width)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.project_in = nn.Linear(width, 3 * width)
        self.mixing = AttentionMixing()
        self.project_out = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens (B, T, width) in, tokens (B, T, width) out."""
        batch, num_tokens, width = tokens.shape
        split = self.project_in(tokens).view(batch, num_tokens, 3, self.heads, width // self.heads)
        queries, keys, values = split.permute(2, 0, 3, 1, 4).unbind(0)  # each (B, heads, T, width / heads)
        mixed: Tensor = self.mixing(queries, keys, values)
        out: Tensor = self.project_out(mixed.transpose(1, 2).reshape(batch, num_tokens, width))
        return out


class Block(nn.Module):
    """Residual attention and residual MLP, both shifted, scaled and gated by the embedding of (σ, label)."""

    def __init__(self, width: int, heads: int, expansion: int) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width, elementwise_affine=False)
        self.attention = Attention(width, heads)
        self.mlp_norm = nn.LayerNorm(width, elementwise_affine=False)
        self.mlp = nn.Sequential(nn.Linear(width, expansion * width), nn.SiLU(), nn.Linear(expansion * width, width))
        self.modulation = nn.Linear(width, 6 * width)

    def forward(self, tokens: Tensor, embedding: Tensor) -> Tensor:
        """Tokens (B, T, width) and embedding (B, width) in, tokens (B, T, width) out."""
        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = self.modulation(embedding)[:, None].chunk(6, dim=-1)
        tokens = tokens + gate_a * self.attention(self.attention_norm(tokens) * (1 + scale_a) + shift_a)
        after: Tensor = tokens + gate_m * self.mlp(self.mlp_norm(tokens) * (1 + scale_m) + shift_m)
        return after


class DigitsNet(nn.Module):
    """Denoiser D(x; σ, label) of 8 × 8 grey images; σ in data units (see `sigma_data`).

    Args:
        width: channels of a token; a multiple of 2 · `heads`.
        blocks: number of attention + MLP blocks, at least 1.
        heads: attention heads of each block.
        expansion: hidden width of a block's MLP, in multiples of `width`.
        patch: side of a patch in pixels; 1, 2 or 4 (64, 16 or 4 tokens).
        sigma_data: standard deviation of the data in the units of x (0.752 for the digits in [-1, 1]).
        num_classes: labels 0 … num_classes − 1 are classes, `num_classes` itself is the null label.
        generator: where the initial weights are drawn; a fresh one of seed 0 if not given (never the global one).

    Raises:
        ValueError: a size below 1, a width that the heads do not divide, a patch that does not tile the image.
    """

    frequencies: Tensor

    def __init__(
        self,
        *,
        width: int = 64,
        blocks: int = 3,
        heads: int = 4,
        expansion: int = 2,
        patch: int = 2,
        sigma_data: float = 0.752,
        num_classes: int = NULL_LABEL,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        for name, value in {"width": width, "blocks": blocks, "heads": heads, "expansion": expansion}.items():
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        if width % (2 * heads):
            raise ValueError(f"width must be a multiple of 2 * heads = {2 * heads}, got {width}")
        if patch not in (1, 2, 4):
            raise ValueError(f"patch must be 1, 2 or 4, got {patch}")
        if not sigma_data > 0 or math.isinf(sigma_data):
            raise ValueError(f"sigma_data must be positive and finite, got {sigma_data}")
        self.patch = patch
        self.sigma_data = sigma_data
        self.num_classes = num_classes
        self.null_label = num_classes
        num_tokens = (IMAGE_SIZE // patch) ** 2

        # c_noise runs over about [-1.6, 1.1]; periods from 12.6 down to 0.4 resolve it without aliasing.
        self.register_buffer("frequencies", torch.logspace(-1, 4, 16, base=2.0), persistent=False)
        with torch.random.fork_rng(devices=[]):  # torch's own initialisation, overwritten below, draws globally
            self.noise_embedding = nn.Sequential(nn.Linear(32, width), nn.SiLU(), nn.Linear(width, width))
            self.class_embedding = nn.Embedding(num_classes + 1, width)
            self.patch_in = nn.Linear(patch * patch, width)
            self.position = nn.Parameter(torch.empty(num_tokens, width))
            self.blocks = nn.ModuleList(Block(width, heads, expansion) for _ in range(blocks))
            self.norm_out = nn.LayerNorm(width, elementwise_affine=False)
            self.modulation_out = nn.Linear(width, 2 * width)
            self.patch_out = nn.Linear(width, patch * patch)
        self._initialise(generator if generator is not None else torch.Generator().manual_seed(0))

    def _initialise(self, generator: torch.Generator) -> None:
        """Linear layers uniform in ±√(3 / inputs), biases 0; embeddings normal; modulations and the output zero."""
        with torch.no_grad():
            for module in self.modules():
                if isinstance(module, nn.Linear):
                    bound = math.sqrt(3 / module.in_features)
                    module.weight.uniform_(-bound, bound, generator=generator)
                    module.bias.zero_()
            self.class_embedding.weight.normal_(generator=generator)
            self.position.normal_(std=0.5, generator=generator)
            zeroed = [module.modulation for module in self.modules() if isinstance(module, Block)]
            for linear in (*zeroed, self.modulation_out, self.patch_out):
                linear.weight.zero_()

    def forward(self, x: Tensor, sigma: Tensor, labels: Tensor) -> Tensor:
        """Denoise: the expected clean image.

        Args:
            x: noisy images (B, 1, 8, 8).
            sigma: noise levels (B,), positive.
            labels: classes (B,), long; `null_label` for none.

        Returns:
            Denoised images (B, 1, 8, 8).
        """
        sigma_image = sigma.to(x.dtype).view(-1, 1, 1, 1)
        total = (sigma_image**2 + self.sigma_data**2).sqrt()
        c_skip = (self.sigma_data / total) ** 2
        c_out = sigma_image * self.sigma_data / total
        return c_skip * x + c_out * self.raw(x / total, sigma.to(x.dtype).log() / 4, labels)

    def raw(self, x: Tensor, c_noise: Tensor, labels: Tensor) -> Tensor:
        """The network F without preconditioning: x (B, 1, 8, 8) of unit variance, c_noise (B,), labels (B,)."""
        angles = c_noise[:, None] * self.frequencies
        noise: Tensor = self.noise_embedding(torch.cat([angles.cos(), angles.sin()], dim=1))
        embedding = nn.functional.silu(noise + self.class_embedding(labels))
        tokens: Tensor = self.patch_in(self._to_patches(x)) + self.position
        for block in self.blocks:
            tokens = block(tokens, embedding)
        shift, scale = self.modulation_out(embedding)[:, None].chunk(2, dim=-1)
        return self._to_image(self.patch_out(self.norm_out(tokens) * (1 + scale) + shift))

    def _to_patches(self, x: Tensor) -> Tensor:
        """Images (B, 1, 8, 8) to tokens (B, T, patch²), row by row."""
        side = IMAGE_SIZE // self.patch
        cut = x.view(-1, side, self.patch, side, self.patch).transpose(2, 3)
        return cut.reshape(-1, side * side, self.patch**2)

    def _to_image(self, tokens: Tensor) -> Tensor:
        """The inverse of `_to_patches`."""
        side = IMAGE_SIZE // self.patch
        cut = tokens.view(-1, side, side, self.patch, self.patch).transpose(2, 3)
        return cut.reshape(-1, 1, IMAGE_SIZE, IMAGE_SIZE)
