"""Guidance by frequency: the paper's formula, bands of two pyramids, and diffusers."""

import pytest
import torch
from given_networks import BASE, BATCH, OTHER, WEIGHTS, X, close, diffusers, guided

from guideplug.errors import ConfigError, UsageError
from guideplug.registry.registry import Registry
from guideplug.run.resolve import Request, resolve


@pytest.mark.parametrize("side", [16, 12])
@pytest.mark.parametrize("scales", [(10.0, 5.0), (3.0, 7.0, 2.0)])
def test_frequency_by_kornia_as_diffusers_has_it(scales, side):
    """The paper's weight of a band, 1 + f (w - 1), is its scale.

    Their result keeps the padding; with a scale of 1 their guider repeats another band.
    """
    pytest.importorskip("kornia")
    module = diffusers("frequency_decoupled_guidance")
    x, base, other = torch.randn(3, BATCH, 3, side, side, generator=torch.Generator().manual_seed(2))
    factors = [(scale - 1) / 2 for scale in scales]
    text = f"frequency(autoguidance(weight=3), factors={factors}, pyramid=kornia)"
    theirs = module.FrequencyDecoupledGuidance(list(scales)).forward(base, other).pred[..., :side, :side]
    close(guided(text, base, other)(x, 1.0), theirs, 1e-5, 1e-5)


def test_frequency_without_kornia_says_what_to_install(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"needs kornia: pip install 'guideplug-shapes\[kornia\]'"):
        guided("frequency(autoguidance, pyramid=kornia)")


def down(image):
    height, width = image.shape[-2:]
    half = ((height + 1) // 2, (width + 1) // 2)
    return torch.nn.functional.interpolate(image, half, mode="bilinear", antialias=True)


def up(image, like):
    return torch.nn.functional.interpolate(image, like.shape[-2:], mode="bilinear")


def pyramid(image, levels):
    """The textbook's: each level what the next smaller picture cannot say, the last what is left."""
    bands = []
    for _ in range(levels - 1):
        small = down(image)
        bands.append(image - up(small, image))
        image = small
    return [*bands, image]


def collapsed(bands):
    *finer, image = bands
    for band in reversed(finer):
        image = up(image, band) + band
    return image


@pytest.mark.parametrize("weight", WEIGHTS)
@pytest.mark.parametrize("factors", [[2.0], [1.0, 0.5], [0.5, 0.0, -1.0], [1.0, 1.0, 0.3], [3.0, 1.0, 1.0]])
def test_frequency(weight, factors):
    """arXiv:2506.19713: a weight for each level of the pyramids of both predictions."""
    found = guided(f"frequency(autoguidance(weight={weight}), factors={factors})")(X, 1.0)
    bands = zip(factors, pyramid(BASE, len(factors)), pyramid(OTHER, len(factors)), strict=True)
    levels = []
    for factor, c, u in bands:
        own = 1 + factor * (weight - 1)
        levels.append(u + own * (c - u))
    close(found, collapsed(levels))


def test_the_bands_sum_to_the_whole():
    from guideplug_shapes.frequency import _bands

    image = X.float()
    parts = [_bands(image, [float(i == j) for j in range(3)]) for i in range(3)]
    torch.testing.assert_close(sum(parts), image, rtol=1e-6, atol=1e-6)
    assert torch.equal(_bands(image, [1.0, 1.0, 1.0]), image)
    for part, band in zip(parts, pyramid(image, 3), strict=True):
        assert (part - image).abs().max() > 0.1
        assert band.numel() <= part.numel()


def test_fine_bands_have_the_fine_detail():
    from guideplug_shapes.frequency import _bands

    y, x = torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="ij")
    checks, flat = ((-1) ** (x + y))[None, None], torch.ones(1, 1, 16, 16)
    fine, coarse = (lambda u: _bands(u, [1.0, 0.0])), (lambda u: _bands(u, [0.0, 1.0]))
    torch.testing.assert_close(fine(flat), torch.zeros_like(flat), rtol=0, atol=1e-6)
    torch.testing.assert_close(coarse(flat), flat)
    inside = (..., slice(3, -3), slice(3, -3))
    torch.testing.assert_close(fine(checks)[inside], checks[inside], rtol=0, atol=1e-5)


@pytest.mark.parametrize("weight", WEIGHTS)
def test_frequency_as_diffusers_has_it(weight, monkeypatch):
    """With our pyramid in place of kornia's, which is not installed: the kernel is the only difference."""
    module = diffusers("frequency_decoupled_guidance")
    shape = (2, 8, 8)
    base, other = torch.randn(2, 3, *shape, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    monkeypatch.setattr(module, "_CAN_USE_KORNIA", True)
    monkeypatch.setattr(module, "build_laplacian_pyramid_func", pyramid)
    monkeypatch.setattr(
        module,
        "upsample_and_blur_func",
        lambda image: torch.nn.functional.interpolate(image, scale_factor=2, mode="bilinear"),
    )
    factors = [1.0, 0.5, 0.25]
    theirs = module.FrequencyDecoupledGuidance(guidance_scales=[1 + factor * (weight - 1) for factor in factors])
    found = guided(f"frequency(autoguidance(weight={weight}), factors={factors})", base, other)
    x = torch.zeros_like(base)
    close(found(x, 1.0), theirs.forward(base, other).pred)


def resolved(task, guider):
    return resolve(Request({"task": task, "guider": guider, "device": "cpu"}), Registry.installed())


def test_frequency_is_for_images_and_says_so_before_anything_is_trained():
    with pytest.raises(UsageError) as caught:
        resolved("tree", "frequency(autoguidance)")
    said = "guider 'frequency' is for images (channels, height, width), and samples here have the shape (2,)"
    assert str(caught.value) == said
    with pytest.raises(UsageError, match="is for images"):
        resolved("tree", "interval(frequency(cfg), low=1)")
    with pytest.raises(UsageError, match="is for images"):
        guided("frequency(autoguidance)", torch.zeros(2, 2), torch.zeros(2, 2))


def test_an_image_has_as_many_bands_as_it_can_be_halved():
    with pytest.raises(UsageError, match=r"images of 16 pixels a side or more, .* shape \(1, 8, 8\): give fewer"):
        resolved("digits", "frequency(cfg, factors=[1, 1, 1, 1, 0])")
    resolved("digits", "frequency(cfg, factors=[1, 1, 1, 0])")
    with pytest.raises(UsageError, match="images of 8 pixels a side or more"):
        guided("frequency(autoguidance, factors=[1, 1, 1, 0])")
