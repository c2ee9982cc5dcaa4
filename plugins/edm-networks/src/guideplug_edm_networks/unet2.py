"""EDM2's U-Net, all of whose layers preserve magnitudes (Karras et al. 2024, arXiv:2312.02696, configuration G).

Names of submodules, and with them those of weights, are EDM2's. Facts about the architecture are the paper's figure 21
and table 6; the code is our own.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from guideplug_edm_networks.magnitude import Fourier, MagnitudeConv, cat, mean_square_one, silu, weighted_sum

__all__ = ["Block", "UNet"]


class Block(nn.Module):
    """A residual block of the encoder or the decoder, with self-attention if it has heads.

    Args:
        inputs, outputs, embedding: channels.
        decoder: whether the block is of the decoder, which does not normalise its input.
        resample: "down" halves and "up" doubles the side, "keep" keeps it.
        heads: attention heads; 0 for none.
        dropout: the probability in training.
        res_balance, attn_balance: the contribution of the residual branch, and of attention.
        clip_act: activations are clipped to this magnitude; None for no limit.
        filter: the weights of the resampling filter along an axis.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        embedding: int,
        *,
        decoder: bool,
        resample: str = "keep",
        heads: int = 0,
        dropout: float,
        res_balance: float,
        attn_balance: float,
        clip_act: float | None,
        filter: Sequence[float],
    ) -> None:
        super().__init__()
        self.outputs, self.decoder, self.resample, self.heads, self.filter = outputs, decoder, resample, heads, filter
        self.dropout, self.res_balance, self.attn_balance, self.clip_act = dropout, res_balance, attn_balance, clip_act
        self.emb_gain = nn.Parameter(torch.zeros([]))
        self.conv_res0 = MagnitudeConv(inputs if decoder else outputs, outputs, 3)
        self.emb_linear = MagnitudeConv(embedding, outputs)
        self.conv_res1 = MagnitudeConv(outputs, outputs, 3)
        self.conv_skip = MagnitudeConv(inputs, outputs, 1) if inputs != outputs else None
        self.attn_qkv = MagnitudeConv(outputs, 3 * outputs, 1) if heads else None
        self.attn_proj = MagnitudeConv(outputs, outputs, 1) if heads else None

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """From x (B, inputs, H, W) and the embedding (B, embedding) in, (B, outputs, H', W') out."""
        x = resampled(x, self.filter, self.resample)
        if not self.decoder:
            x = mean_square_one(x if self.conv_skip is None else self.conv_skip(x), (1,))
        scale = self.emb_linear(embedding, gain=self.emb_gain) + 1
        y = silu(self.conv_res0(silu(x)) * scale[:, :, None, None].to(x.dtype))
        y = self.conv_res1(functional.dropout(y, self.dropout, self.training))
        if self.decoder and self.conv_skip is not None:
            x = self.conv_skip(x)
        x = weighted_sum(x, y, self.res_balance)
        if self.heads:
            x = weighted_sum(x, self.attention(x), self.attn_balance)
        return x if self.clip_act is None else x.clamp(-self.clip_act, self.clip_act)

    def attention(self, x: Tensor) -> Tensor:
        """Self-attention over pixels with normalised queries, keys and values; (B, C, H, W) in and out."""
        assert self.attn_qkv is not None
        assert self.attn_proj is not None
        split = self.attn_qkv(x).unflatten(1, (self.heads, -1, 3)).flatten(4)  # (B, heads, C / heads, 3, H W)
        query, key, value = mean_square_one(split, (2,)).transpose(2, 4).unbind(3)  # each (B, heads, H W, C / heads)
        mixed = functional.scaled_dot_product_attention(query, key, value)
        out: Tensor = self.attn_proj(mixed.transpose(2, 3).reshape(x.shape))
        return out


def resampled(x: Tensor, taps: Sequence[float], mode: str) -> Tensor:
    """The image (B, C, H, W) at half or twice the size, filtered along both axes by the normalised ``taps``."""
    if mode == "keep":
        return x
    line = torch.tensor(taps, dtype=x.dtype, device=x.device)
    kernel = (line.outer(line) / line.sum().square()).expand(x.shape[1], 1, -1, -1)
    padding = (len(taps) - 1) // 2
    if mode == "down":
        return functional.conv2d(x, kernel, groups=x.shape[1], stride=2, padding=padding)
    return functional.conv_transpose2d(x, 4 * kernel, groups=x.shape[1], stride=2, padding=padding)


class UNet(nn.Module):
    """The raw network F of EDM2's preconditioning.

    Args:
        img_resolution: the side of images.
        img_channels: channels of images.
        label_dim: the number of classes; 0 without.
        model_channels: the base number of channels.
        channel_mult: the channels of each level, in multiples of ``model_channels``; each level halves the side.
        channel_mult_noise: the channels of the noise level's embedding; None for those of the first level.
        channel_mult_emb: the channels of the embedding; None for the most of all levels.
        num_blocks: blocks per level.
        attn_resolutions: sides at which blocks have attention.
        channels_per_head: channels of an attention head.
        label_balance, concat_balance: the contribution of the class to the embedding, and of skips to the decoder.
        dropout, res_balance, attn_balance, clip_act, resample_filter: see `Block`.
    """

    def __init__(
        self,
        *,
        img_resolution: int,
        img_channels: int,
        label_dim: int,
        model_channels: int,
        channel_mult: Sequence[float],
        channel_mult_noise: float | None,
        channel_mult_emb: float | None,
        num_blocks: int,
        attn_resolutions: Sequence[int],
        channels_per_head: int,
        label_balance: float,
        concat_balance: float,
        dropout: float,
        res_balance: float,
        attn_balance: float,
        clip_act: float | None,
        resample_filter: Sequence[float],
    ) -> None:
        super().__init__()
        self.label_balance, self.concat_balance = label_balance, concat_balance
        widths = [round(model_channels * factor) for factor in channel_mult]
        noise = widths[0] if channel_mult_noise is None else round(model_channels * channel_mult_noise)
        embedding = max(widths) if channel_mult_emb is None else round(model_channels * channel_mult_emb)
        self.out_gain = nn.Parameter(torch.zeros([]))
        self.emb_fourier = Fourier(noise)
        self.emb_noise = MagnitudeConv(noise, embedding)
        self.emb_label = MagnitudeConv(label_dim, embedding) if label_dim else None

        def block(
            inputs: int, outputs: int, *, decoder: bool, attention: bool = False, resample: str = "keep"
        ) -> Block:
            return Block(
                inputs,
                outputs,
                embedding,
                decoder=decoder,
                resample=resample,
                heads=outputs // channels_per_head if attention else 0,
                dropout=dropout,
                res_balance=res_balance,
                attn_balance=attn_balance,
                clip_act=clip_act,
                filter=tuple(resample_filter),
            )

        self.enc = nn.ModuleDict()
        width = img_channels + 1  # and a channel of ones, in the place of biases
        skips = []
        for level, outputs in enumerate(widths):
            side = img_resolution >> level
            if level == 0:
                self.enc[f"{side}x{side}_conv"] = MagnitudeConv(width, outputs, 3)
                width = outputs
            else:
                self.enc[f"{side}x{side}_down"] = block(width, width, decoder=False, resample="down")
            skips.append(width)
            for number in range(num_blocks):
                self.enc[f"{side}x{side}_block{number}"] = block(
                    width, outputs, decoder=False, attention=side in attn_resolutions
                )
                width = outputs
                skips.append(width)
        self.dec = nn.ModuleDict()
        for level, outputs in reversed(list(enumerate(widths))):
            side = img_resolution >> level
            if level == len(widths) - 1:
                self.dec[f"{side}x{side}_in0"] = block(width, width, decoder=True, attention=True)
                self.dec[f"{side}x{side}_in1"] = block(width, width, decoder=True)
            else:
                self.dec[f"{side}x{side}_up"] = block(width, width, decoder=True, resample="up")
            for number in range(num_blocks + 1):
                self.dec[f"{side}x{side}_block{number}"] = block(
                    width + skips.pop(), outputs, decoder=True, attention=side in attn_resolutions
                )
                width = outputs
        self.out_conv = MagnitudeConv(width, img_channels, 3)

    def forward(self, x: Tensor, noise: Tensor, classes: Tensor | None) -> Tensor:
        """The output F (B, C, H, W), in the type of x.

        Args:
            x: scaled images (B, C, H, W); their type is that of the arithmetic.
            noise: the noise level as the network sees it, (B,).
            classes: weights of the classes (B, label_dim), one-hot for a label, zeros for none; None without classes.
        """
        embedding = self.emb_noise(self.emb_fourier(noise).to(x.dtype))
        if self.emb_label is not None:
            assert classes is not None
            one_hot = classes.to(x.dtype) * math.sqrt(classes.shape[1])
            embedding = weighted_sum(embedding, self.emb_label(one_hot), self.label_balance)
        embedding = silu(embedding)
        x = torch.cat([x, torch.ones_like(x[:, :1])], dim=1)
        skips = []
        for layer in self.enc.values():
            x = layer(x, embedding) if isinstance(layer, Block) else layer(x)
            skips.append(x)
        for name, layer in self.dec.items():
            if "block" in name:
                x = cat(x, skips.pop(), self.concat_balance)
            x = layer(x, embedding)
        out: Tensor = self.out_conv(x, gain=self.out_gain)
        return out
