"""EDM2's network as an architecture: ``edm2(channels=64, channel_mult=[1, 2])``.

Source: Karras, Aittala, Lehtinen, Hellsten, Aila and Laine 2024, arXiv:2312.02696, configuration G.
Cost: one call of the U-Net per call of the denoiser; the log-variance is a linear map of the noise level.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, final

import attrs
import torch
from attrs import frozen
from attrs.validators import deep_iterable, min_len, optional
from torch import Tensor

from guideplug import (
    Condition,
    Domain,
    Leaf,
    Network,
    NoiseDomain,
    Output,
    PickledNetwork,
    Space,
    ValueOutput,
    at_least,
    between,
    option,
    positive,
)
from guideplug_edm_networks.magnitude import Fourier, MagnitudeConv
from guideplug_edm_networks.preconditioned import Precision, Preconditioned, image_side
from guideplug_edm_networks.snapshots import arguments_of, domain_of
from guideplug_edm_networks.unet2 import UNet
from guideplug_edm_networks.widths import MULTIPLE, filter_taps

__all__ = ["EDM2", "EDM2Denoiser"]

share = between(0.0, 1.0)


@final
class EDM2Denoiser(Preconditioned):
    """EDM2's preconditioned U-Net, with the head of the log-variance of its loss.

    Made by `EDM2.build`.
    """

    outputs: Mapping[str, Output] = {"logvar": ValueOutput()}

    def __init__(self, space: Space, label_dim: int, precision: Precision, unet: UNet, logvar_channels: int) -> None:
        super().__init__(space, label_dim, precision)
        self.unet = unet
        self.logvar_fourier = Fourier(logvar_channels)
        self.logvar_linear = MagnitudeConv(logvar_channels, 1)

    def raw(self, x: Tensor, noise: Tensor, classes: Tensor | None) -> Tensor:
        output: Tensor = self.unet(x, noise, classes)
        return output

    def logvar(self, sigma: Tensor) -> Tensor:
        """The learned log-variance u of the loss at noise levels (B,), (B,), in full precision; equation 22."""
        with torch.autocast(sigma.device.type, enabled=False):
            wide = sigma.to(torch.promote_types(sigma.dtype, torch.float32))
            value: Tensor = self.logvar_linear(self.logvar_fourier(wide.log() / 4))
        return value.flatten()

    def named_outputs(
        self, x: Tensor, sigma: Tensor, condition: Condition, names: Sequence[str]
    ) -> Mapping[str, Tensor]:
        """The denoised images, and the log-variance "logvar" (B,)."""
        outputs = {"logvar": self.logvar(sigma)}
        if "denoised" in names:
            outputs["denoised"] = self.denoise(x, sigma, condition)
        return outputs

    def after_step(self) -> None:
        """Forced weight normalisation of all layers."""
        for module in self.modules():
            if isinstance(module, MagnitudeConv):
                module.normalise()


@final
@frozen
class EDM2(Network):
    """EDM2's magnitude-preserving U-Net for square images and latents."""

    name = "edm2"
    channels: int = option(
        192, help="channels of the first level, in multiples of which the others are", validator=at_least(2)
    )
    channel_mult: tuple[float, ...] = option(
        (1, 2, 3, 4),
        help="channels of each level, in multiples of channels",
        validator=deep_iterable(MULTIPLE, min_len(1)),
    )
    blocks: int = option(3, help="residual blocks per level", validator=at_least(1))
    attention: tuple[int, ...] = option((16, 8), help="sides of feature maps with self-attention", unit="pixels")
    channels_per_head: int = option(64, help="channels of an attention head", validator=at_least(1))
    channel_mult_noise: float | None = option(
        None, help="channels of the noise level's embedding, in multiples of channels; none: of the first level",
        validator=optional(MULTIPLE),
    )  # fmt: skip
    channel_mult_emb: float | None = option(
        None, help="channels of the embedding, in multiples of channels; none: of the widest level",
        validator=optional(MULTIPLE),
    )  # fmt: skip
    label_balance: float = option(0.5, help="contribution of the class to the embedding", validator=share)
    concat_balance: float = option(0.5, help="contribution of skip connections to the decoder", validator=share)
    res_balance: float = option(0.3, help="contribution of the residual branch", validator=share)
    attn_balance: float = option(0.3, help="contribution of attention", validator=share)
    clip_act: float | None = option(256.0, help="bound of activations; none: unbounded", validator=optional(positive))
    resample_filter: tuple[float, ...] = option((1, 1), help="weights of the resampling filter", validator=filter_taps)
    logvar_channels: int = option(128, help="features of the noise level for the log-variance", validator=at_least(1))
    dropout: float = option(0.0, help="probability in training", validator=share)
    precision: Precision = option("fp32", help="type of the U-Net's arithmetic on accelerators")

    @classmethod
    def example(cls, folder: Path) -> Mapping[str, Any]:
        """A small one."""
        return {"channels": 8, "channel_mult": (1, 2), "blocks": 1, "attention": (4,), "channels_per_head": 8}

    def build(self, domain: Domain) -> Leaf:
        """The network for square images; without classes if the domain has no labels.

        Raises:
            ValueError: the samples are no square images, their side cannot be halved so often, or a width is not a
                multiple of the channels of a head.
        """
        space, label_dim = domain.space, domain.num_labels or 0
        unet = UNet(
            img_resolution=image_side(space, len(self.channel_mult), self.name),
            img_channels=space.shape[0],
            label_dim=label_dim,
            model_channels=self.channels,
            channel_mult=self.channel_mult,
            channel_mult_noise=self.channel_mult_noise,
            channel_mult_emb=self.channel_mult_emb,
            num_blocks=self.blocks,
            attn_resolutions=self.attention,
            channels_per_head=self.channels_per_head,
            label_balance=self.label_balance,
            concat_balance=self.concat_balance,
            dropout=self.dropout,
            res_balance=self.res_balance,
            attn_balance=self.attn_balance,
            clip_act=self.clip_act,
            resample_filter=self.resample_filter,
        )
        denoiser = EDM2Denoiser(space, label_dim, self.precision, unet, self.logvar_channels)
        denoiser.after_step()
        return denoiser

    @classmethod
    def of_pickled(cls, snapshot: PickledNetwork) -> tuple[Network, NoiseDomain] | None:
        """The architecture of an EDM2 snapshot."""
        if snapshot.named != "Precond of UNet" or "logvar_linear" not in snapshot.inner:
            return None
        return cls(**arguments_of(snapshot, attrs.fields_dict(cls))), domain_of(snapshot)
