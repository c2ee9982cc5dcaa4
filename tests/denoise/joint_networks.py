"""Tiny transformers of diffusers with joint attention over image and text."""

import pytest
import torch


def _randomised(network):
    generator = torch.Generator().manual_seed(1)
    for parameter in network.parameters():
        parameter.data = 0.3 * torch.randn(parameter.shape, generator=generator)
    return network.eval().requires_grad_(False)


class Called(torch.nn.Module):
    """A transformer called as ``network(x, time, **condition)``, with its blocks under their own names."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner
        self.transformer_blocks = inner.transformer_blocks
        self.single_transformer_blocks = getattr(inner, "single_transformer_blocks", None)

    def forward(self, x, time, **condition):
        if self.single_transformer_blocks is not None:  # FLUX: ids of positions, without an axis of the batch
            text = condition["encoder_hidden_states"].shape[1]
            condition |= {"img_ids": torch.zeros(x.shape[1], 3), "txt_ids": torch.zeros(text, 3)}
        return self.inner(x, timestep=time, **condition)


def sd3():
    """The network, an input, a condition, and the shape of samples."""
    diffusers = pytest.importorskip("diffusers")
    network = diffusers.SD3Transformer2DModel(
        sample_size=8, patch_size=2, in_channels=4, num_layers=4, attention_head_dim=8, num_attention_heads=2,
        joint_attention_dim=12, caption_projection_dim=16, pooled_projection_dim=10, out_channels=4,
        pos_embed_max_size=8,
    )  # fmt: skip
    generator = torch.Generator().manual_seed(2)
    condition = {
        "encoder_hidden_states": torch.randn(2, 5, 12, generator=generator),
        "pooled_projections": torch.randn(2, 10, generator=generator),
    }
    return Called(_randomised(network)), torch.randn(2, 4, 8, 8, generator=generator), condition, (4, 8, 8)


def flux():
    """The network, an input of packed latents, a condition, and the shape of samples."""
    diffusers = pytest.importorskip("diffusers")
    network = diffusers.FluxTransformer2DModel(
        patch_size=1, in_channels=8, num_layers=2, num_single_layers=2, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=12, pooled_projection_dim=10, axes_dims_rope=(4, 4, 8),
    )  # fmt: skip
    generator = torch.Generator().manual_seed(2)
    condition = {
        "encoder_hidden_states": torch.randn(2, 5, 12, generator=generator),
        "pooled_projections": torch.randn(2, 10, generator=generator),
    }

    return Called(_randomised(network)), torch.randn(2, 9, 8, generator=generator), condition, (9, 8)
