"""Encoded images of the released format, with the scale and bias of the snapshot's encoder."""

import io
import sys
import zipfile
from pathlib import Path

import numpy as np
import torch

from guideplug import Autoencoder
from guideplug.files.checkpoints.reading import pickled_networks
from guideplug.files.checkpoints.sheet import latents

sys.path.insert(0, str(Path(__file__).parent))
from references import reference

MEAN, STD = np.array([5.81, 3.25, 0.12, -2.15]), np.array([4.17, 4.62, 3.71, 3.28])
"""Of raw latents per channel, which become 0 and .5: arXiv:2312.02696, appendix A."""


def test_the_sheet_has_the_statistics_of_the_encoder() -> None:
    encoder = pickled_networks(reference("edm2-latent-cond.pkl"))["ema"].encoder
    assert encoder is not None
    sheet = latents(*encoder)
    assert sheet is not None
    assert sheet["vae"] == "stabilityai/sd-vae-ft-mse"
    np.testing.assert_allclose(sheet["scale"], 0.5 / STD, rtol=1e-7)
    np.testing.assert_allclose(sheet["bias"], -MEAN * 0.5 / STD, rtol=1e-6)


def test_encoded_images_are_scaled_as_by_the_released_code() -> None:
    """Mean and standard deviation are stacked along the channels; ``encoded`` in float32, the formula in float64."""
    with zipfile.ZipFile(reference("latents-8.zip")) as archive:
        names = [name for name in archive.namelist() if name.endswith(".npy")]
        stacked = torch.from_numpy(np.stack([np.load(io.BytesIO(archive.read(name))) for name in names]))
    assert (stacked.shape, stacked.dtype) == ((24, 8, 8, 8), torch.float32)
    mean, std = stacked.chunk(2, dim=1)
    noise = torch.randn(mean.shape, generator=torch.Generator().manual_seed(0))
    autoencoder = Autoencoder(Path("any"), (0.5 / STD).tolist(), (-MEAN * 0.5 / STD).tolist())
    scale, bias = torch.from_numpy(0.5 / STD)[:, None, None], torch.from_numpy(-MEAN * 0.5 / STD)[:, None, None]
    expected = (mean.double() + std.double() * noise.double()) * scale + bias
    ours = autoencoder.encoded(mean, std, noise)
    assert float((ours - expected).abs().max()) < 1e-6
    assert float((autoencoder.raw(ours) - (mean + std * noise)).abs().max()) < 2e-5
