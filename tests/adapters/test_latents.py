"""Latents shown by an autoencoder in a local folder: its scale and bias, and what is refused."""

from pathlib import Path
from typing import Any, cast

import pytest
import torch

from guideplug import Autoencoder, Leaf, Load, Network, NoiseDomain, Registry, Space
from guideplug.config import Reader
from guideplug.errors import CheckpointError
from guideplug.files.checkpoints.sheet import Sheet, beside, write_sheet
from guideplug.files.tensors import write_tensors
from guideplug.task import seeded_build

SMALL = "edm2(channels=8, channel_mult=[1, 2], blocks=1, attention=[], channels_per_head=8, logvar_channels=8)"
SCALE, BIAS = (0.12, 0.11, 0.13, 0.15), (-0.7, -0.35, -0.02, 0.33)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny autoencoder with random weights, as diffusers saves it."""
    diffusers = pytest.importorskip("diffusers")
    path = tmp_path_factory.mktemp("vae")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        diffusers.AutoencoderKL(block_out_channels=(8,), norm_num_groups=4, latent_channels=4).save_pretrained(path)
    return path


def test_images_are_those_of_the_autoencoder(folder: Path) -> None:
    from diffusers import AutoencoderKL

    model = cast(Any, AutoencoderKL).from_pretrained(folder).eval()
    raw = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    autoencoder = Autoencoder(folder, SCALE, BIAS)
    latents = autoencoder.encoded(raw, torch.zeros_like(raw), torch.zeros_like(raw))
    assert torch.allclose(latents[:, 1], raw[:, 1] * SCALE[1] + BIAS[1])
    with torch.no_grad():
        images = model.decode(raw).sample.clamp(-1, 1)
    assert torch.allclose(autoencoder(latents), images, atol=1e-5)


def loaded(folder: Path | None, path: Path, **encoder: Any) -> Leaf:
    """A small network of latents (4, 8, 8), loaded beside its sheet."""
    network = cast(Network, Reader(Registry.installed()).expression(SMALL, cast(Any, Network)))
    domain = NoiseDomain(Space((4, 8, 8)), None)
    weights = seeded_build(network, domain, 0).state_dict()
    write_tensors(path, weights)
    numbers = sum(tensor.numel() for tensor in weights.values())
    write_sheet(beside(path), Sheet(None, None, (4, 8, 8), 0.5, 0.002, 80.0, None, encoder or None, numbers, {}))
    vae = None if folder is None else str(folder)
    recipe = Load(path=str(path), task=domain, denoiser=network, vae=vae)
    recipe.check()
    return recipe.build()


def test_a_loaded_network_shows_its_latents_with_the_scale_of_its_sheet(folder: Path, tmp_path: Path) -> None:
    network = loaded(folder, tmp_path / "net.safetensors", vae="any", scale=SCALE, bias=BIAS)
    assert isinstance(network.decoder, Autoencoder)
    latents = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(network.decode(latents), Autoencoder(folder, SCALE, BIAS)(latents))
    assert not torch.equal(network.decode(latents), Autoencoder(folder)(latents))
    assert loaded(None, tmp_path / "net.safetensors", scale=SCALE, bias=BIAS).decode(latents) is latents


def test_a_guided_denoiser_decodes_as_its_network(folder: Path, tmp_path: Path) -> None:
    network = loaded(folder, tmp_path / "net.safetensors", vae="any", scale=SCALE, bias=BIAS)
    latents = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    guided = network + 2.0 * (network - network.under(None))
    assert torch.equal(guided.decode(latents), network.decode(latents))


@pytest.mark.parametrize(
    ("encoder", "expected"),
    [
        ({}, "nothing says the scale and bias of the latents"),
        ({"scale": [0.1] * 3, "bias": [0.0]}, "has 3 numbers as scale, and latents of 4 channels"),
        ({"scale": 0.1, "bias": [0.0]}, "scale is 0.1: give a list"),
        ({"scale": [0.0], "bias": [0.0]}, "scale is .*: no number may be 0"),
    ],
)
def test_encoders_that_are_none_are_one_line(encoder: Any, expected: str, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=expected) as caught:
        loaded(folder, tmp_path / "net.safetensors", **encoder)
    assert "\n" not in str(caught.value)


def test_latents_are_scaled_from_the_published_statistics() -> None:
    """EDM2's raw mean and standard deviation of latents become 0 and .5."""
    mean, std = torch.tensor([5.81, 3.25, 0.12, -2.15])[:, None, None], torch.tensor([4.17, 4.62, 3.71, 3.28])
    scale = 0.5 / std
    bias = -mean.flatten() * scale
    autoencoder = Autoencoder(Path("any"), scale.tolist(), bias.tolist())
    spread, zero = std[:, None, None], torch.zeros(4, 1, 1)
    assert torch.allclose(autoencoder.encoded(mean, zero, zero), zero, atol=1e-6)
    above = autoencoder.encoded(mean, spread, torch.ones(4, 1, 1))
    assert torch.allclose(above, torch.full((4, 1, 1), 0.5), atol=1e-6)
    assert torch.allclose(autoencoder.raw(above), mean + spread, atol=1e-5)


def test_a_folder_without_an_autoencoder_is_one_line(tmp_path: Path) -> None:
    pytest.importorskip("diffusers")
    with pytest.raises(CheckpointError, match="cannot be read") as caught:
        Autoencoder(tmp_path)(torch.zeros(1, 4, 8, 8))
    assert "\n" not in str(caught.value)
