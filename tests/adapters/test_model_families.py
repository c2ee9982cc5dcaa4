"""Every installed guider on a tiny network of every family of diffusers: off it is the network, on it guides."""

import itertools
from collections import defaultdict
from typing import Any

import pytest
import torch

pytest.importorskip("diffusers")

from model_families import FAMILIES, Family, drawn
from tiers import spread

from guideplug import Denoiser, Guider, LinearStep, Registry, Sampler
from guideplug.config import Reader
from guideplug.errors import GuideplugError

torch.set_num_threads(1)
REGISTRY = Registry.installed()
READER = Reader(REGISTRY)
LEVELS = (8.0, 1.0, 0.3)
IMAGES = {"frequency", "sliding-window"}
"""Guiders of images (channels, height, width)."""


class Models(defaultdict[str, Any]):
    """Another network of the family for any role."""

    def __init__(self, family: Family) -> None:
        super().__init__()
        self.family = family

    def __missing__(self, role: str) -> Denoiser:
        self[role] = self.family.wrapped(len(self) + 1)
        return self[role]


def guiders() -> list[Guider]:
    """Those that run with no option given, but for that whose weight is a network."""
    names = set(REGISTRY.names("guider")) - {"classifier", "posterior", "learned"}
    return [READER.expression(name, Guider) for name in sorted(names)]


def named(part: Any) -> str:
    """The name of a family, which is a text, or of a guider."""
    return str(getattr(part, "name", part))


def answers(point: Denoiser, x: torch.Tensor, condition: Any) -> list[torch.Tensor]:
    path = point.trajectory()
    levels = zip(LEVELS, (*LEVELS[1:], 0.0), strict=True)
    return [path(x, sigma, condition, toward=low, step=LinearStep(sigma, low)) for sigma, low in levels]


@pytest.mark.parametrize(("name", "guider"), spread(itertools.product(FAMILIES, guiders()), slow=3), ids=named)
@torch.no_grad()
def test_a_guider_on_a_family(name: str, guider: Guider) -> None:
    family = FAMILIES[name]
    main, x = family.wrapped(0), 3 * drawn(2, *family.shape, seed=3)
    try:
        point = guider.guide(main, Models(family))
    except GuideplugError as error:
        assert guider.name in IMAGES
        assert "images" in str(error) or "only" in str(error)
        assert "\n" not in str(error)
        return
    plain, guided = (answers(one, x, family.condition) for one in (main, point))
    assert all(torch.isfinite(one).all() and one.shape == x.shape for one in guided)
    assert any(not torch.equal(one, other) for one, other in zip(guided, plain, strict=True))
    alone = answers(point, x[1:], _row(family.condition))
    torch.testing.assert_close(alone[0], guided[0][1:], atol=1e-3, rtol=1e-3)


def _row(condition: Any) -> Any:
    """The second row of a nested condition."""
    if isinstance(condition, dict):
        return {name: _row(part) for name, part in condition.items()}
    return condition[1:]


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_is_sampled_with_its_own_default(name: str) -> None:
    family = FAMILIES[name]
    main = family.wrapped(0)
    sampler = READER.expression(main.sampler(), Sampler)
    guided = READER.expression("cfg(weight=3)", Guider).guide(main, {})
    noise = sampler.sigmas(guided)[0] * drawn(2, *family.shape, seed=3)
    with torch.no_grad():
        assert torch.isfinite(sampler.sample(guided, noise, family.condition)).all()
