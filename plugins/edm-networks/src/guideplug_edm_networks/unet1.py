"""EDM's U-Nets of images: DDPM++ and NCSN++ (Karras et al. 2022, arXiv:2206.00364, appendix F and table 7).

The architectures are those of Song et al. 2021, arXiv:2011.13456, as EDM trains them. Names of submodules, and with
them those of weights, are EDM's; the code is our own.
"""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.functional import silu

__all__ = ["SongUNet"]

SKIP_SCALE = math.sqrt(0.5)
"""The factor of a block's output, a sum of two terms of one variance."""
EPSILON = 1e-6


def glorot(*shape: int, scale: float = 1.0) -> nn.Parameter:
    """Initial weights (out, in, *): uniform, of variance ``2 scale^2 / (fan-in + fan-out)`` (Glorot, Bengio 2010)."""
    size = math.prod(shape[2:])
    return nn.Parameter((torch.rand(shape) * 2 - 1) * (scale * math.sqrt(6 / (size * (shape[0] + shape[1])))))


class Linear(nn.Module):
    """A linear layer."""

    def __init__(self, inputs: int, outputs: int, *, bias: bool = True) -> None:
        super().__init__()
        self.weight = glorot(outputs, inputs)
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """From x (B, inputs) in, (B, outputs) out."""
        return functional.linear(x, self.weight.to(x.dtype), None if self.bias is None else self.bias.to(x.dtype))


class Conv(nn.Module):
    """A convolution with a bias. A kernel of 0 is none: such a layer resamples.

    Args:
        inputs, outputs: channels.
        kernel: the side of the kernel, odd, or 0.
        resample: "up" and "down" double and halve the side; "keep" keeps it.
        taps: the weights of the resampling filter along an axis.
        scale: the factor of the initial weights.
    """

    resample_filter: Tensor | None

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        *,
        resample: str = "keep",
        taps: Sequence[float] = (1, 1),
        scale: float = 1.0,
    ) -> None:
        super().__init__()
        self.resample, self.padding = resample, kernel // 2
        self.weight = glorot(outputs, inputs, kernel, kernel, scale=scale) if kernel else None
        self.bias = nn.Parameter(torch.zeros(outputs)) if kernel else None
        line = torch.tensor(taps, dtype=torch.float32)
        square = (line.outer(line) / line.sum().square())[None, None]
        self.register_buffer("resample_filter", None if resample == "keep" else square)

    def forward(self, x: Tensor) -> Tensor:
        """From x (B, inputs, H, W) in, (B, outputs, H', W') out: resampled, then convolved."""
        if self.resample_filter is not None:
            x = self.resampled(x, (self.resample_filter.shape[-1] - 1) // 2)
        return self.with_bias(
            x if self.weight is None else functional.conv2d(x, self.weight.to(x.dtype), padding=self.padding)
        )

    def resampled(self, x: Tensor, padding: int) -> Tensor:
        """From x (B, C, H, W) filtered, at half or twice the side."""
        assert self.resample_filter is not None
        taps = self.resample_filter.to(x.dtype).expand(x.shape[1], 1, -1, -1)
        if self.resample == "down":
            return functional.conv2d(x, taps, groups=x.shape[1], stride=2, padding=padding)
        return functional.conv_transpose2d(x, 4 * taps, groups=x.shape[1], stride=2, padding=padding)

    def with_bias(self, x: Tensor) -> Tensor:
        """Add the bias of its channels to x."""
        return x if self.bias is None else x + self.bias.to(x.dtype)[:, None, None]


class FusedDown(Conv):
    """A convolution followed by a halving, both with the padding of the kernel's and the filter's size at once."""

    def forward(self, x: Tensor) -> Tensor:
        """From x (B, inputs, H, W) in, (B, outputs, H / 2, W / 2) out."""
        assert self.resample_filter is not None
        assert self.weight is not None
        padding = self.padding + (self.resample_filter.shape[-1] - 1) // 2
        return self.with_bias(self.resampled(functional.conv2d(x, self.weight.to(x.dtype), padding=padding), 0))


class GroupNorm(nn.GroupNorm):
    """Groups of at least four channels, at most 32 groups."""

    def __init__(self, channels: int) -> None:
        super().__init__(max(1, min(32, channels // 4)), channels, eps=EPSILON)

    def forward(self, x: Tensor) -> Tensor:
        """From x (B, channels, H, W) in and out."""
        return functional.group_norm(x, self.num_groups, self.weight.to(x.dtype), self.bias.to(x.dtype), self.eps)


class UNetBlock(nn.Module):
    """A residual block, with self-attention of one head if ``attention``.

    Args:
        in_channels, out_channels, embedding: channels.
        resample, taps: of the convolution, see `Conv`.
        attention: whether self-attention follows.
        dropout: the probability in training.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        embedding: int,
        *,
        resample: str = "keep",
        taps: Sequence[float],
        attention: bool = False,
        dropout: float,
    ) -> None:
        super().__init__()
        self.in_channels, self.out_channels, self.dropout = in_channels, out_channels, dropout
        self.norm0 = GroupNorm(in_channels)
        self.conv0 = Conv(in_channels, out_channels, 3, resample=resample, taps=taps)
        self.affine = Linear(embedding, out_channels)
        self.norm1 = GroupNorm(out_channels)
        self.conv1 = Conv(out_channels, out_channels, 3, scale=1e-5)
        skips = out_channels != in_channels or resample != "keep"
        self.skip = Conv(in_channels, out_channels, 1, resample=resample, taps=taps) if skips else None
        self.norm2 = GroupNorm(out_channels) if attention else None
        self.qkv = Conv(out_channels, 3 * out_channels, 1, scale=math.sqrt(0.2)) if attention else None
        self.proj = Conv(out_channels, out_channels, 1, scale=1e-5) if attention else None

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """From x (B, in_channels, H, W) and the embedding (B, embedding) in, (B, out_channels, H', W') out."""
        y = self.conv0(silu(self.norm0(x)))
        y = silu(self.norm1(y + self.affine(embedding)[:, :, None, None]))
        y = self.conv1(functional.dropout(y, self.dropout, self.training))
        x = (y + (x if self.skip is None else self.skip(x))) * SKIP_SCALE
        if self.norm2 is None or self.qkv is None or self.proj is None:
            return x
        query, key, value = self.qkv(self.norm2(x)).flatten(2).unflatten(1, (-1, 3)).transpose(1, 3).unbind(2)
        mixed = functional.scaled_dot_product_attention(query, key, value)  # of (B, H W, C)
        attended: Tensor = self.proj(mixed.transpose(1, 2).reshape(x.shape))
        return (attended + x) * SKIP_SCALE


class Positional(nn.Module):
    """Cosines and sines of the noise level at ``channels / 2`` frequencies from 1 to 1e-4."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, noise: Tensor) -> Tensor:
        """From noise (B,), (B, channels) out."""
        half = self.channels // 2
        steps = torch.arange(half, dtype=torch.float32, device=noise.device) / max(half - 1, 1)
        angles = noise[:, None] * 1e-4**steps
        return torch.cat([angles.cos(), angles.sin()], dim=1)


class Fourier(nn.Module):
    """Cosines and sines of the noise level at normally distributed frequencies of standard deviation 16."""

    freqs: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("freqs", 16 * torch.randn(channels // 2))

    def forward(self, noise: Tensor) -> Tensor:
        """From noise (B,), (B, channels) out."""
        angles = noise[:, None] * (2 * math.pi * self.freqs)
        return torch.cat([angles.cos(), angles.sin()], dim=1)


class SongUNet(nn.Module):
    """The raw network F of EDM's preconditioning: DDPM++ with positional embedding, or NCSN++ with random features.

    Args:
        img_resolution: the side of images.
        in_channels, out_channels: channels of images.
        label_dim: the number of classes; 0 without.
        augment_dim: the width of augmentation labels, which are zero in sampling; 0 without.
        model_channels: the base number of channels.
        channel_mult: the channels of each level, in multiples of ``model_channels``; each level halves the side.
        channel_mult_emb, channel_mult_noise: channels of the embedding, and of the noise level's.
        num_blocks: blocks per level.
        attn_resolutions: sides at which blocks have attention.
        dropout: the probability in training.
        label_dropout: the probability of training without the class.
        embedding_type: "positional" or "fourier".
        encoder_type: "standard", or "residual" and "skip" with the image at each level.
        decoder_type: "standard", or "skip" with an image from each level.
        resample_filter: the weights of the resampling filter along an axis.
    """

    def __init__(
        self,
        *,
        img_resolution: int,
        in_channels: int,
        out_channels: int,
        label_dim: int = 0,
        augment_dim: int = 0,
        model_channels: int = 128,
        channel_mult: Sequence[float] = (1, 2, 2, 2),
        channel_mult_emb: float = 4,
        num_blocks: int = 4,
        attn_resolutions: Sequence[int] = (16,),
        dropout: float = 0.1,
        label_dropout: float = 0.0,
        embedding_type: Literal["positional", "fourier"] = "positional",
        channel_mult_noise: float = 1,
        encoder_type: Literal["standard", "skip", "residual"] = "standard",
        decoder_type: Literal["standard", "skip"] = "standard",
        resample_filter: Sequence[float] = (1, 1),
    ) -> None:
        super().__init__()
        self.label_dropout = label_dropout
        widths = [round(model_channels * factor) for factor in channel_mult]
        embedding, noise = round(model_channels * channel_mult_emb), round(model_channels * channel_mult_noise)
        taps, last = tuple(resample_filter), len(widths) - 1

        def block(inputs: int, outputs: int, resample: str = "keep", *, attention: bool = False) -> UNetBlock:
            return UNetBlock(
                inputs, outputs, embedding, resample=resample, taps=taps, attention=attention, dropout=dropout
            )

        self.map_noise = Positional(noise) if embedding_type == "positional" else Fourier(noise)
        self.map_label = Linear(label_dim, noise) if label_dim else None
        self.map_augment = Linear(augment_dim, noise, bias=False) if augment_dim else None
        self.map_layer0, self.map_layer1 = Linear(noise, embedding), Linear(embedding, embedding)

        self.enc = nn.ModuleDict()
        width = image_width = in_channels
        skips = []
        for level, outputs in enumerate(widths):
            side = img_resolution >> level
            name = f"{side}x{side}"
            if level == 0:
                self.enc[f"{name}_conv"] = Conv(width, model_channels, 3)
                width = model_channels
            else:
                self.enc[f"{name}_down"] = block(width, width, "down")
                if encoder_type == "skip":
                    self.enc[f"{name}_aux_down"] = Conv(image_width, image_width, 0, resample="down", taps=taps)
                    self.enc[f"{name}_aux_skip"] = Conv(image_width, width, 1)
                if encoder_type == "residual":
                    self.enc[f"{name}_aux_residual"] = FusedDown(image_width, width, 3, resample="down", taps=taps)
                    image_width = width
            skips.append(width)
            for number in range(num_blocks):
                self.enc[f"{name}_block{number}"] = block(width, outputs, attention=side in attn_resolutions)
                width = outputs
                skips.append(width)
        self.dec = nn.ModuleDict()
        for level, outputs in reversed(list(enumerate(widths))):
            side = img_resolution >> level
            name = f"{side}x{side}"
            if level == last:
                self.dec[f"{name}_in0"] = block(width, width, attention=True)
                self.dec[f"{name}_in1"] = block(width, width)
            else:
                self.dec[f"{name}_up"] = block(width, width, "up")
            for number in range(num_blocks + 1):
                attends = number == num_blocks and side in attn_resolutions
                self.dec[f"{name}_block{number}"] = block(width + skips.pop(), outputs, attention=attends)
                width = outputs
            if decoder_type == "skip" or level == 0:
                if decoder_type == "skip" and level < last:
                    self.dec[f"{name}_aux_up"] = Conv(out_channels, out_channels, 0, resample="up", taps=taps)
                self.dec[f"{name}_aux_norm"] = GroupNorm(width)
                self.dec[f"{name}_aux_conv"] = Conv(width, out_channels, 3, scale=1e-5)

    def forward(self, x: Tensor, noise: Tensor, classes: Tensor | None, augment: Tensor | None = None) -> Tensor:
        """The output F (B, out_channels, H, W).

        Args:
            x: scaled images (B, in_channels, H, W).
            noise: the noise level as the network sees it, (B,).
            classes: weights of the classes (B, label_dim), one-hot for a label, zeros for none; None without classes.
            augment: augmentation labels (B, augment_dim); None for zeros.
        """
        embedding = self.embedding(noise, classes, augment).to(x.dtype)
        return self.decoded(*self.encoded(x, embedding), embedding)

    def embedding(self, noise: Tensor, classes: Tensor | None, augment: Tensor | None) -> Tensor:
        """The embedding (B, embedding) of noise level, classes and augmentation labels."""
        raw = self.map_noise(noise)
        raw = torch.cat(raw.chunk(2, dim=1)[::-1], dim=1)  # sines first
        if self.map_label is not None:
            assert classes is not None
            if self.training and self.label_dropout:
                kept = torch.rand(len(classes), 1, device=classes.device) >= self.label_dropout
                classes = classes * kept
            raw = raw + self.map_label(classes.to(raw.dtype) * math.sqrt(classes.shape[1]))
        if self.map_augment is not None and augment is not None:
            raw = raw + self.map_augment(augment)
        out: Tensor = silu(self.map_layer1(silu(self.map_layer0(raw))))
        return out

    def encoded(self, x: Tensor, embedding: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The features of the deepest level, and those of all layers for the decoder."""
        skips: list[Tensor] = []
        image = x
        for name, layer in self.enc.items():
            if "aux_down" in name:
                image = layer(image)
            elif "aux_skip" in name:
                x = skips[-1] = x + layer(image)
            elif "aux_residual" in name:
                x = skips[-1] = image = (x + layer(image)) * SKIP_SCALE
            else:
                x = layer(x, embedding) if isinstance(layer, UNetBlock) else layer(x)
                skips.append(x)
        return x, skips

    def decoded(self, x: Tensor, skips: list[Tensor], embedding: Tensor) -> Tensor:
        """The image from the features of all levels; ``skips`` is emptied."""
        image: Tensor | None = None
        head = x
        for name, layer in self.dec.items():
            if "aux_up" in name:
                image = layer(image)
            elif "aux_norm" in name:
                head = silu(layer(x))
            elif "aux_conv" in name:
                image = layer(head) if image is None else layer(head) + image
            else:
                x = layer(torch.cat([x, skips.pop()], dim=1) if "block" in name else x, embedding)
        assert image is not None
        return image
