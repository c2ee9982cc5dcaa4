"""Recipes that are right but for one planted defect: the kit names the law that it breaks, and no law without it."""

from collections.abc import Mapping
from typing import Any, final

import torch
from attrs import frozen
from defects import broken
from torch import nn

from guideplug import (
    Recipe,
    Sampler,
    Space,
    option,
)
from guideplug.testing.recipes import RECIPE
from guideplug.testing.strategies import STRATEGY
from guideplug.testing.toys import LineDenoiser, Normal, Straight

torch.set_num_threads(1)


@final
@frozen
class Gives(Recipe):
    """A linear layer whose first weights nobody decides."""

    name = "gives"
    seed: int | None = option(None, help="decides the weights")

    def build(self) -> nn.Module:
        return LineDenoiser(Space((2,)), self.seed)

    def make(self, module: nn.Module, builder: Any) -> Mapping[str, Any]:
        return {}


@final
@frozen
class Undeclared(Recipe):
    """A sampler, and no word of what it draws."""

    name = "undeclared"
    sampler: Sampler = option(factory=Straight, help="how it draws")

    def build(self) -> nn.Module:
        return LineDenoiser(Space((2,)), 0)

    def make(self, module: nn.Module, builder: Any) -> Mapping[str, Any]:
        return {}


def test_a_recipes_defect() -> None:
    right = Normal().recipe("main", None)
    assert right is not None
    assert broken(STRATEGY, right) == broken(RECIPE, right) == {}
    assert {"equal recipes build equal modules", "building leaves global generators alone"} <= broken(
        RECIPE, Gives()
    ).keys()
    assert "what guides or samples in it is tried before any work" in broken(RECIPE, Undeclared())
