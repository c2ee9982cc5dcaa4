"""EDM's networks of images as architectures: ``ddpmpp``, ``ncsnpp`` and what lies between.

Source: Karras, Aittala, Aila and Laine 2022, arXiv:2206.00364, table 7 and appendix F.
Cost: one call of the U-Net per call of the denoiser.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, final

import attrs
from attrs import frozen
from attrs.validators import deep_iterable, min_len
from torch import Tensor

from guideplug import (
    Domain,
    Leaf,
    Network,
    NoiseDomain,
    PickledNetwork,
    Space,
    at_least,
    between,
    non_negative,
    option,
)
from guideplug_edm_networks.preconditioned import Precision, Preconditioned, image_side
from guideplug_edm_networks.snapshots import arguments_of, domain_of
from guideplug_edm_networks.unet1 import SongUNet
from guideplug_edm_networks.widths import MULTIPLE, filter_taps

__all__ = ["EDM", "EDMDenoiser"]


@final
class EDMDenoiser(Preconditioned):
    """A U-Net in EDM's preconditioning. Made by `EDM.build`."""

    def __init__(self, space: Space, label_dim: int, precision: Precision, model: SongUNet) -> None:
        super().__init__(space, label_dim, precision)
        self.model = model

    def raw(self, x: Tensor, noise: Tensor, classes: Tensor | None) -> Tensor:
        output: Tensor = self.model(x, noise, classes)
        return output


@final
@frozen
class EDM(Network):
    """EDM's U-Net for square images: DDPM++, or with other options NCSN++."""

    name = "edm"
    channels: int = option(
        128, help="channels of the first level, in multiples of which the others are", validator=at_least(2)
    )
    channel_mult: tuple[float, ...] = option(
        (1, 2, 2, 2),
        help="channels of each level, in multiples of channels",
        validator=deep_iterable(MULTIPLE, min_len(1)),
    )
    blocks: int = option(4, help="residual blocks per level", validator=at_least(1))
    attention: tuple[int, ...] = option((16,), help="sides of feature maps with self-attention", unit="pixels")
    embedding: Literal["positional", "fourier"] = option("positional", help="features of the noise level")
    encoder: Literal["standard", "skip", "residual"] = option("standard", help="how the image reaches deeper levels")
    decoder: Literal["standard", "skip"] = option("standard", help="whether each level adds to the image")
    channel_mult_noise: float = option(
        1.0, help="channels of the noise level's embedding, in multiples of channels", validator=MULTIPLE
    )
    channel_mult_emb: float = option(
        4.0, help="channels of the embedding, in multiples of channels", validator=MULTIPLE
    )
    resample_filter: tuple[float, ...] = option((1, 1), help="weights of the resampling filter", validator=filter_taps)
    augment: int = option(0, help="width of augmentation labels, which are zero in sampling", validator=non_negative)
    dropout: float = option(0.1, help="probability in training", validator=between(0.0, 1.0))
    precision: Precision = option("fp32", help="type of the U-Net's arithmetic on accelerators")

    @classmethod
    def example(cls, folder: Path) -> Mapping[str, Any]:
        """A small one."""
        return {"channels": 8, "channel_mult": (1, 2), "blocks": 1, "attention": (4,)}

    def build(self, domain: Domain) -> Leaf:
        """The network for square images; without classes if the domain has no labels.

        Raises:
            ValueError: the samples are no square images, or their side cannot be halved so often.
        """
        space, label_dim = domain.space, domain.num_labels or 0
        model = SongUNet(
            img_resolution=image_side(space, len(self.channel_mult), self.name),
            in_channels=space.shape[0],
            out_channels=space.shape[0],
            label_dim=label_dim,
            augment_dim=self.augment,
            model_channels=self.channels,
            channel_mult=self.channel_mult,
            channel_mult_emb=self.channel_mult_emb,
            num_blocks=self.blocks,
            attn_resolutions=self.attention,
            dropout=self.dropout,
            embedding_type=self.embedding,
            channel_mult_noise=self.channel_mult_noise,
            encoder_type=self.encoder,
            decoder_type=self.decoder,
            resample_filter=self.resample_filter,
        )
        return EDMDenoiser(space, label_dim, self.precision, model)

    @classmethod
    def of_pickled(cls, snapshot: PickledNetwork) -> tuple[Network, NoiseDomain] | None:
        """The architecture of an EDM snapshot: a DDPM++ or NCSN++ U-Net in EDM's preconditioning."""
        if snapshot.named != "EDMPrecond of SongUNet":
            return None
        return cls(**arguments_of(snapshot, attrs.fields_dict(cls))), domain_of(snapshot)
