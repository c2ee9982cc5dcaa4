"""Every installed guider where flows start: at t = 1, in float32, it gives what it gives in float64."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from guideplug import Guider, LinearStep, Registry
from guideplug.testing.kit import Kit

torch.set_num_threads(1)

REGISTRY = Registry.installed()
OFFERS = {
    offer.name: (plugin, offer.what)
    for plugin in REGISTRY.plugins
    for offer in plugin.offers
    if offer.kind == Guider.kind and isinstance(offer.what, type)
}
NOISE = 2.0**24
THROUGH_NOISE = {"tangential"}
"""Guiders of noise predictions, (x - D) / sigma, in which D is lost in float32; docs/flows.md says what to do."""
WITHOUT_SPREAD = {"rescale"}
"""Guiders of the spread over coordinates, which the kit's Gaussians of one mean do not have at noise alone."""


@pytest.fixture(scope="module")
def kit() -> Kit:
    return Kit(REGISTRY)


@pytest.mark.parametrize("name", sorted(OFFERS.keys() - WITHOUT_SPREAD))
def test_its_answer_at_noise_alone_is_that_of_float64(name: str, kit: Kit, tmp_path: Path) -> None:
    plugin, cls = OFFERS[name]
    with torch.random.fork_rng(devices=[]):
        guided: Any = kit._guided(kit._example(plugin, cls, tmp_path))  # type: ignore[arg-type]
    case = guided.cases[0]

    def answer(dtype: torch.dtype) -> Tensor:
        same = case.as_kind(dtype=dtype)
        x = NOISE * torch.randn(same.x.shape, generator=torch.Generator().manual_seed(0)).to(dtype)
        point = same.guided(guided.guider).trajectory()
        with torch.no_grad():
            denoised: Tensor = point(x, NOISE, same.condition, toward=27.0, step=LinearStep(NOISE, 27.0))
        return denoised.double()

    single, exact = answer(torch.float32), answer(torch.float64)
    assert bool(single.isfinite().all())
    difference = float((single - exact).abs().max()) / max(1.0, float(exact.abs().max()))
    assert difference < (1.0 if name in THROUGH_NOISE else 1e-4)
