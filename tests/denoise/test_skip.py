"""Skipped layers: blocks of one stream and of two, against diffusers."""

import pytest
import torch
from joint_networks import flux, sd3
from torch import nn

from guideplug import perturbed, skip_layers, wrap
from guideplug.errors import DenoiserError

GENERATOR = torch.Generator().manual_seed(0)


def test_skipped_blocks_of_sd3_are_those_of_its_pipeline():
    """D_w + s (D_c - D_skip), to 3e-6."""
    network, x, condition, shape = sd3()
    views = {"skip-layer": skip_layers(*(f"transformer_blocks.{number}" for number in range(4)))}
    model = wrap(network, shape, predicts="denoised", views=views)
    with torch.no_grad():
        for layers in ([1], [0, 2], [3]):
            ours = perturbed(model, "skip-layer", layers=layers)(x, 1.0, condition)
            theirs = network(x, torch.ones(len(x)), **condition, skip_layers=layers).sample
            torch.testing.assert_close(ours, theirs, atol=3e-6, rtol=3e-6)
            guided = model + 2.8 * (model - perturbed(model, "skip-layer", layers=layers))
            plain = network(x, torch.ones(len(x)), **condition).sample
            torch.testing.assert_close(guided(x, 1.0, condition), plain + 2.8 * (plain - theirs), atol=3e-6, rtol=3e-6)
            assert not torch.allclose(plain, theirs, atol=1e-4)


@pytest.mark.parametrize("block", ["transformer_blocks.0", "single_transformer_blocks.1"])
def test_skipped_blocks_of_flux_are_as_without_them(block):
    network, x, condition, shape = flux()
    model = wrap(network, shape, predicts="denoised", views={"skip-layer": skip_layers(block)})
    with torch.no_grad():
        ours = perturbed(model, "skip-layer")(x, 1.0, condition)
        blocks, number = block.rsplit(".", 1)
        kept = nn.ModuleList(one for i, one in enumerate(network.get_submodule(blocks)) if i != int(number))
        network.inner.set_submodule(blocks, kept)
        torch.testing.assert_close(ours, model(x, 1.0, condition), atol=3e-6, rtol=3e-6)


class Pair(nn.Module):
    def forward(self, hidden_states, encoder_hidden_states):
        return encoder_hidden_states, hidden_states[:, :1]


def test_streams_of_another_shape_are_refused():
    with (
        pytest.raises(DenoiserError, match="a Pair cannot be skipped: it gives neither"),
        skip_layers("0")(network := nn.Sequential(Pair())),
    ):
        network[0](torch.ones(2, 3, 4), torch.ones(2, 5, 4))
