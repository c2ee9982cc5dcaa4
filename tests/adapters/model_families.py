"""Tiny networks of the families that diffusers has, each wrapped as a user would."""

from collections.abc import Callable
from typing import Any, NamedTuple

import diffusers
import torch
from torch import Tensor, nn

from guideplug import DiscreteSchedule, FlowSchedule, blurred_queries, identity_attention, skip_layers, wrap
from guideplug.adapters.wrap import Adapted

TABLE = (1 - torch.linspace(0.01, 0.14, 1000) ** 2).cumprod(0)
HEADS = {"num_attention_heads": 2, "attention_head_dim": 12}


def drawn(*shape: int, seed: int = 2) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


class Called(nn.Module):
    """A network of diffusers as ``network(x, time, **condition)``."""

    def __init__(self, network: nn.Module, **fixed: Any) -> None:
        super().__init__()
        self.network, self.fixed = network, fixed

    def forward(self, x: Tensor, time: Tensor, **condition: Any) -> Any:
        return self.network(x, timestep=time, **condition, **self.fixed)


class LabelCalled(Called):
    def forward(self, x: Tensor, time: Tensor, label: Tensor) -> Any:
        return super().forward(x, time, class_labels=label)


class Family(NamedTuple):
    shape: tuple[int, ...]
    network: Callable[[], nn.Module]
    condition: Any = None
    null: Any = None
    flow: bool = False
    block: str = ""
    """A block that can be skipped."""
    attention: str = ""
    """A submodule whose attention can be weakened."""
    text: Any = None

    def wrapped(self, seed: int) -> Adapted:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            network = self.network().eval().requires_grad_(False)
        for number, parameter in enumerate(network.parameters()):  # zero-initialised ones would ignore conditions
            parameter.data += 0.1 * drawn(*parameter.shape, seed=1000 * seed + number)
        views = {
            "skip-layer": skip_layers(self.block),
            "identity-attention": identity_attention(self.attention, text=self.text),
            "blurred-queries": blurred_queries(self.attention, text=self.text),
        }
        learned = {
            "predicts": "flow" if self.flow else "epsilon",
            "schedule": FlowSchedule(time_scale=1000) if self.flow else DiscreteSchedule(TABLE),
        }
        return wrap(network, self.shape, null=self.null, views=views, **learned)


def unet2d() -> nn.Module:
    return LabelCalled(
        diffusers.UNet2DModel(
            sample_size=8, in_channels=3, out_channels=3, block_out_channels=(8, 8), norm_num_groups=4,
            attention_head_dim=4, layers_per_block=1, down_block_types=("DownBlock2D", "AttnDownBlock2D"),
            up_block_types=("AttnUpBlock2D", "UpBlock2D"), num_class_embeds=4,
        )
    )  # fmt: skip


CONDITIONAL = {
    "sample_size": 8, "block_out_channels": (8, 8), "norm_num_groups": 4, "cross_attention_dim": 8,
    "layers_per_block": 1, "attention_head_dim": 4, "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
}  # fmt: skip


def stable_diffusion() -> nn.Module:
    return Called(diffusers.UNet2DConditionModel(**CONDITIONAL))


def sdxl() -> nn.Module:
    sizes = {"addition_time_embed_dim": 4, "projection_class_embeddings_input_dim": 6 * 4 + 10}
    return Called(diffusers.UNet2DConditionModel(**CONDITIONAL, addition_embed_type="text_time", **sizes))


def dit() -> nn.Module:
    return LabelCalled(
        diffusers.DiTTransformer2DModel(
            **HEADS, in_channels=4, out_channels=4, num_layers=2, sample_size=8, patch_size=2, num_embeds_ada_norm=3
        )
    )


def pixart() -> nn.Module:
    return Called(
        diffusers.PixArtTransformer2DModel(
            **HEADS, in_channels=4, out_channels=4, num_layers=2, sample_size=8, cross_attention_dim=24,
            caption_channels=8, use_additional_conditions=False,
        ),
        added_cond_kwargs={"resolution": None, "aspect_ratio": None},
    )  # fmt: skip


def sd3() -> nn.Module:
    return Called(
        diffusers.SD3Transformer2DModel(
            **HEADS, sample_size=8, patch_size=2, in_channels=4, out_channels=4, num_layers=3, joint_attention_dim=8,
            caption_projection_dim=24, pooled_projection_dim=10, pos_embed_max_size=8,
        )
    )  # fmt: skip


def flux() -> nn.Module:
    network = diffusers.FluxTransformer2DModel(
        patch_size=1, in_channels=8, num_layers=2, num_single_layers=1, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=8, pooled_projection_dim=10, axes_dims_rope=(4, 4, 8),
    )  # fmt: skip

    class Thousandth(nn.Module):
        """Its own factor of 1000 of the time, before that of the schedule."""

        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, x: Tensor, time: Tensor, **condition: Any) -> Any:
            places = {"img_ids": torch.zeros(x.shape[1], 3), "txt_ids": torch.zeros(5, 3)}
            return self.network(x, timestep=time / 1000, **places, **condition)

    return Thousandth()


def wan() -> nn.Module:
    return Called(
        diffusers.WanTransformer3DModel(
            **HEADS, patch_size=(1, 2, 2), in_channels=4, out_channels=4, text_dim=8, freq_dim=16, ffn_dim=16,
            num_layers=2, rope_max_seq_len=32,
        )
    )  # fmt: skip


def text(width: int = 8, rows: int = 2, seed: int = 5, **more: Any) -> dict[str, Any]:
    return {"encoder_hidden_states": drawn(rows, 5, width, seed=seed), **more}


def sdxl_text(rows: int, seed: int) -> dict[str, Any]:
    added = {"text_embeds": drawn(rows, 10, seed=seed), "time_ids": torch.arange(6.0).expand(rows, 6)}
    return text(rows=rows, seed=seed, added_cond_kwargs=added)


def pooled_text(rows: int, seed: int) -> dict[str, Any]:
    return text(rows=rows, seed=seed, pooled_projections=drawn(rows, 10, seed=seed + 1))


MIDDLE = "network.mid_block.attentions.0"
LABELS = {"label": torch.tensor([0, 2])}
FAMILIES = {
    "UNet2DModel": Family(
        (3, 8, 8), unet2d, LABELS, {"label": 3}, block="network.mid_block.resnets.1.conv2", attention=MIDDLE,
    ),
    "Stable Diffusion": Family(
        (4, 8, 8), stable_diffusion, text(), text(rows=1, seed=6),
        block=f"{MIDDLE}.transformer_blocks.0", attention=f"{MIDDLE}.transformer_blocks.0.attn1",
    ),
    "SDXL": Family(
        (4, 8, 8), sdxl, sdxl_text(2, 5), sdxl_text(1, 6),
        block=f"{MIDDLE}.transformer_blocks.0", attention=f"{MIDDLE}.transformer_blocks.0.attn1",
    ),
    "DiT": Family(
        (4, 8, 8), dit, LABELS, {"label": 3},
        block="network.transformer_blocks.1", attention="network.transformer_blocks.1.attn1",
    ),
    "PixArt": Family(
        (4, 8, 8), pixart, text(), text(rows=1, seed=6),
        block="network.transformer_blocks.1", attention="network.transformer_blocks.1.attn1",
    ),
    "SD3": Family(
        (4, 8, 8), sd3, pooled_text(2, 5), pooled_text(1, 6), flow=True, text="last",
        block="network.transformer_blocks.1", attention="network.transformer_blocks.1.attn",
    ),
    "FLUX": Family(
        (9, 8), flux, pooled_text(2, 5), pooled_text(1, 6), flow=True, text="first",
        block="network.transformer_blocks.1", attention="network.transformer_blocks.1.attn",
    ),
    "Wan": Family(
        (4, 3, 8, 8), wan, text(), text(rows=1, seed=6), flow=True,
        block="network.blocks.1", attention="network.blocks.1.attn1",
    ),
}  # fmt: skip
