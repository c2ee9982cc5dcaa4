"""The architectures: sizes, presets, forced normalisation, precision, and what they refuse."""

from typing import Any

import pytest
import torch
from torch import Tensor

from guideplug import DenoiserError, NoiseDomain, Registry, Space
from guideplug.config import Reader
from guideplug.task import Network, seeded_build
from guideplug_edm_networks import EDM, EDM2, EDM2Denoiser
from guideplug_edm_networks.magnitude import MagnitudeConv, cat, mean_square_one, weighted_sum

MILLIONS = {
    "edm2-img512-xs": 125, "edm2-img512-s": 280, "edm2-img512-m": 498, "edm2-img512-l": 777, "edm2-img512-xl": 1119,
    "edm2-img512-xxl": 1523, "edm2-img64-s": 280, "edm2-img64-m": 498, "edm2-img64-l": 777, "edm2-img64-xl": 1119,
    "edm-cifar10-ddpmpp": 56, "edm-cifar10-ncsnpp": 56, "edm-ffhq-ddpmpp": 62, "edm-ffhq-ncsnpp": 63,
}  # fmt: skip
"""Parameters in millions: arXiv:2312.02696, table 2; arXiv:2206.00364, table 7, rounded."""
SMALL: Any = {"channels": 8, "channel_mult": (1, 2), "blocks": 1, "attention": (4,)}
IMAGES = NoiseDomain(Space((3, 8, 8)), 4)


@pytest.mark.parametrize("name", MILLIONS)
def test_published_sizes_have_their_published_parameters(name: str) -> None:
    shape = (4, 64, 64) if "img512" in name else (3, 32, 32) if "cifar10" in name else (3, 64, 64)
    network = Reader(Registry.installed()).expression(name, Network)  # type: ignore[type-abstract]
    with torch.device("meta"):
        module = network.build(NoiseDomain(Space(shape), 1000 if "img" in name else None))
    assert round(sum(parameter.numel() for parameter in module.parameters()) / 1e6) == pytest.approx(
        MILLIONS[name], abs=0.5
    )


def test_weights_stay_normalised_in_training() -> None:
    module = seeded_build(EDM2(**SMALL, channels_per_head=8), IMAGES, 0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(3.0)
    before = module(torch.ones(2, 3, 8, 8), 1.0, torch.tensor([0, 1]))
    module.after_step()
    layers = [layer for layer in module.modules() if isinstance(layer, MagnitudeConv)]
    assert len(layers) > 10
    for layer in layers:
        squares = layer.weight.detach().square().flatten(1).mean(1)
        assert torch.allclose(squares, torch.ones_like(squares), atol=1e-3)
    after = module(torch.ones(2, 3, 8, 8), 1.0, torch.tensor([0, 1]))
    assert torch.allclose(after, before, atol=1e-3)  # the direction of weights alone decides


def test_layers_keep_magnitudes() -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 4000, 12, generator=generator).unbind(0)
    rms = lambda x: float(x.square().mean().sqrt())  # noqa: E731
    assert rms(weighted_sum(a, b, 0.3)) == pytest.approx(1.0, abs=0.02)
    assert rms(cat(a, torch.randn(4000, 5, generator=generator), 0.4)) == pytest.approx(1.0, abs=0.02)
    assert rms(mean_square_one(7 * a, (1,))) == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("network", [EDM2(**SMALL, channels_per_head=8), EDM(**SMALL)], ids=["edm2", "edm"])
@pytest.mark.parametrize("labels", [None, 4])
def test_gradients_reach_every_parameter_in_use(network: Network, labels: int | None) -> None:
    module = seeded_build(network, NoiseDomain(Space((3, 8, 8)), labels), 0).train()
    with torch.no_grad():
        for parameter in module.parameters():
            if not parameter.ndim:
                parameter.fill_(1.0)  # gains begin at zero
    x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    module(x, torch.tensor([0.5, 2.0]), None if labels is None else torch.tensor([0, 3])).square().mean().backward()
    without = [name for name, parameter in module.named_parameters() if parameter.grad is None]
    assert all(name.startswith("logvar") for name in without), without


def test_the_log_variance_is_a_number_per_level() -> None:
    module = seeded_build(EDM2(**SMALL, channels_per_head=8), IMAGES, 0)
    assert isinstance(module, EDM2Denoiser)
    assert module.logvar(torch.tensor([0.1, 1.0, 10.0])).shape == (3,)


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (torch.zeros(2, 3), "weights of the classes"),
        (torch.zeros(2), "labels"),
        ({"label": torch.zeros(2, dtype=torch.long)}, "dict"),
    ],
)
def test_conditions_of_another_form_are_refused(condition: Any, expected: str) -> None:
    module = seeded_build(EDM(**SMALL), IMAGES, 0)
    with pytest.raises(DenoiserError, match=expected):
        module(torch.zeros(2, 3, 8, 8), 1.0, condition)


@pytest.mark.parametrize(
    ("options", "shape", "expected"),
    [
        ({}, (2,), "square images"),
        ({}, (3, 8, 6), "square images"),
        ({"channel_mult": (1, 1, 1, 1, 1)}, (3, 8, 8), "halves images 4 times"),
    ],
)
def test_samples_that_are_no_images_are_refused(options: Any, shape: tuple[int, ...], expected: str) -> None:
    for network in (EDM2(**{**SMALL, **options}), EDM(**{**SMALL, **options})):
        with pytest.raises(ValueError, match=expected):
            network.build(NoiseDomain(Space(shape), None))


def test_reduced_precision_is_for_accelerators() -> None:
    x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    answers: list[Tensor] = []
    for precision in ("fp32", "fp16"):
        module = seeded_build(EDM2(**SMALL, channels_per_head=8, precision=precision), IMAGES, 0)
        answers.append(module(x, 1.0, torch.tensor([0, 1])))
    assert torch.equal(*answers)
