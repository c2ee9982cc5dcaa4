"""Latents shown by an autoencoder in a local folder: its scale and bias, and what is refused."""

from pathlib import Path
from typing import Any, cast

import pytest
import torch

from guideplug import Load, Network, NoiseDomain, Registry, Space
from guideplug.adapters.latents import Autoencoder
from guideplug.config import Reader
from guideplug.errors import CheckpointError
from guideplug.files.checkpoints.sheet import Sheet, beside, write_sheet
from guideplug.files.tensors import write_tensors
from guideplug.task import seeded_build

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


def test_a_loaded_network_shows_its_latents_with_the_scale_of_its_sheet(folder: Path, tmp_path: Path) -> None:
    network = cast(Network, Reader(Registry.installed()).expression("digits-convolutional", cast(Any, Network)))
    domain = NoiseDomain(Space((1, 8, 8)), 10)
    path = tmp_path / "net.safetensors"
    write_tensors(path, seeded_build(network, domain, 0).state_dict())
    encoder = {"vae": "any", "scale": [2.0], "bias": [0.5]}
    write_sheet(beside(path), Sheet(None, None, (1, 8, 8), 0.5, 0.002, 80.0, 10, encoder, 1, {}))
    decoder = Load(path=str(path), task=domain, denoiser=network, vae=str(folder)).build().decoder
    assert isinstance(decoder, Autoencoder)
    assert (list(decoder.scale), list(decoder.bias)) == ([2.0], [0.5])
    assert Load(path=str(path), task=domain, denoiser=network).build().decoder is None


def test_a_folder_without_an_autoencoder_is_one_line(tmp_path: Path) -> None:
    pytest.importorskip("diffusers")
    with pytest.raises(CheckpointError, match="cannot be read") as caught:
        Autoencoder(tmp_path)(torch.zeros(1, 4, 8, 8))
    assert "\n" not in str(caught.value)
