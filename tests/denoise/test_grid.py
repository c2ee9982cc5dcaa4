"""Grids of tokens, and the blur over them."""

import math

import pytest
import torch

from guideplug.denoise.grid import blurred, sides
from guideplug.errors import DenoiserError


@pytest.mark.parametrize(
    ("length", "sample", "grid"),
    [
        (16, (), (1, 4, 4)),
        (24, (2, 4, 8, 12), (1, 4, 6)),  # patches of 2
        (96, (2, 4, 8, 12), (1, 8, 12)),
        (24, (2, 4, 3, 8, 12), (1, 4, 6)),  # the frames are in the batch
        (72, (2, 4, 3, 8, 12), (3, 4, 6)),
        (256, (2, 4, 4, 8, 8), (4, 8, 8)),  # a square larger than a frame is none
        (16, (2, 4, 8, 12), (1, 4, 4)),  # a network that resizes
        (9, (2, 9, 8), (1, 3, 3)),
    ],
)
def test_sides(length, sample, grid):
    assert sides(length, sample) == grid


@pytest.mark.parametrize(("length", "sample"), [(6, ()), (35, (2, 4, 8, 12)), (12, (2, 12, 8))])
def test_what_is_no_grid_is_refused(length, sample):
    with pytest.raises(DenoiserError, match=f"queries of {length} tokens cannot be blurred: they are no .*grid"):
        sides(length, sample)


def test_a_blur_of_frames_of_any_sides_is_that_of_each_row_and_column():
    generator = torch.Generator().manual_seed(0)
    frames = torch.randn(2, 3, 4, 6, 5, generator=generator)
    whole = blurred(frames.flatten(1, 3), 0.8, (3, 4, 6)).view_as(frames)
    torch.testing.assert_close(whole[:, 1], blurred(frames[:, 1].flatten(1, 2), 0.8, (1, 4, 6)).view(2, 4, 6, 5))
    upright = blurred(frames.transpose(2, 3).flatten(1, 3), 0.8, (3, 6, 4)).view(2, 3, 6, 4, 5)
    torch.testing.assert_close(upright.transpose(2, 3), whole)
    square = torch.randn(2, 4, 4, 5, generator=generator)
    stripes = square.mean(2, keepdim=True).expand_as(square)  # constant along rows: blurred across them alone
    wide = stripes[:, :, :1].expand(-1, -1, 7, -1)
    found = blurred(wide.flatten(1, 2), 0.8, (1, 4, 7)).view_as(wide)
    torch.testing.assert_close(found[:, :, 0], blurred(stripes.flatten(1, 2), 0.8).view_as(stripes)[:, :, 0])


@pytest.mark.parametrize("blur", [0.5, 1.0, 2.0, 10.0])
@pytest.mark.parametrize("side", [4, 5, 8])
def test_the_blur_is_that_of_diffusers(blur, side):
    """Whose two branches are the wrong way round, a finite blur being the mean: right if told that it is infinite.

    Its guider uses neither, for the hook is never put on.
    """
    utils = pytest.importorskip("diffusers.hooks.smoothed_energy_guidance_utils")
    tokens = torch.randn(2, side * side, 6, generator=torch.Generator().manual_seed(0))
    kernel = math.ceil(6 * blur) + 1 - math.ceil(6 * blur) % 2
    expected = utils._gaussian_blur_2d(tokens.clone(), kernel, blur, 0.0)
    torch.testing.assert_close(blurred(tokens, blur), expected, atol=1e-5, rtol=1e-5)
    mean = utils._gaussian_blur_2d(tokens.clone(), kernel, blur, 9999.9)
    torch.testing.assert_close(blurred(tokens, math.inf), mean, atol=1e-5, rtol=1e-5)


def test_the_blur_keeps_constants_and_tends_to_the_mean():
    assert torch.allclose(blurred(torch.ones(2, 16, 3), 1.3), torch.ones(2, 16, 3))
    tokens = torch.randn(2, 6, 3, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(blurred(tokens, math.inf), tokens.mean(1, keepdim=True).expand(2, 6, 3))
    with pytest.raises(DenoiserError, match="queries of 6 tokens cannot be blurred: they are no square grid"):
        blurred(tokens, 1.0)
