"""Noisy samples, and guidance that no type of theirs holds."""

import pytest
import torch

from guideplug import Guider, Registry
from guideplug.config import Reader
from guideplug.denoise.noisy import check_noisy, wide
from guideplug.errors import DenoiserError, DivergenceError, UsageError
from guideplug.testing import GaussianDenoiser

X, LABELS = torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2])
MAIN, WEAK = (
    GaussianDenoiser(mean, std, conditioning="labels", shape=(3, 8, 8)) for mean, std in ((0.1, 0.5), (0.4, 0.8))
)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_noisy_samples_are_of_any_floating_point_type(dtype):
    check_noisy(X.to(dtype))
    assert wide(dtype) == (torch.float64 if dtype == torch.float64 else torch.float32)


def test_bytes_are_refused_with_what_to_do():
    with pytest.raises(
        DenoiserError, match=r"x is of type uint8: .*; bytes of images .* are x\.float\(\) / 127\.5 - 1$"
    ):
        check_noisy(X.byte())


def expressions():
    """Every installed guider at a weight of its own, around a guider with a weight, and of two such guiders."""
    for name in Registry.installed().names("guider"):
        yield from (f"{name}(weight={{0}})", f"{name}(guider=cfg(weight={{0}}))")
        yield f"{name}([cfg(weight={{0}}), autoguidance(weight={{0}})])"


@pytest.mark.parametrize(
    ("dtype", "weight"), [(torch.float32, "3e38"), (torch.float16, "1e6"), (torch.bfloat16, "3e38")]
)
def test_no_weight_ends_in_a_traceback(dtype, weight):
    """A weight is finite guidance, or samples that are not finite, which samplers look for, or a divergence."""
    reader, diverged = Reader(Registry.installed()), []
    for text in expressions():
        try:
            point = reader.expression(text.format(weight), Guider).guide(MAIN, {"weak": WEAK})
        except (UsageError, DenoiserError):
            continue  # without such an option, or for other networks
        try:
            point(X.to(dtype), 1.0, LABELS, toward=0.5, step=(1.0, 0.5))
        except DivergenceError as error:
            diverged.append(text)
            assert f"is more than {str(dtype)[6:]} holds" in str(error)
        except DenoiserError as error:
            assert "offers no view" in str(error)
    assert any("blend" in text for text in diverged)
