"""Strategies that are right but for one planted defect: the kit names the law that it breaks, and no law without it."""

from typing import Any, final

import pytest
import torch
from attrs import define, frozen
from defects import broken

from guideplug import (
    CandidateRequest,
    Losses,
    Selection,
    Selector,
    SelectorState,
    option,
)
from guideplug.testing.strategies import STRATEGY

torch.set_num_threads(1)


class _Plain(Selector):
    def plan(self, batch: int, state: SelectorState) -> CandidateRequest:
        return CandidateRequest(batch)

    def select(self, losses: Losses, state: SelectorState, generator: torch.Generator) -> Any:
        return Selection(torch.arange(losses.count)), state


@final
@define(slots=False)
class Thawed(_Plain):
    """Its options can be changed."""

    name = "thawed"
    share: float = option(0.5, help="how many")


@final
@frozen
class Unsaid(_Plain):
    """An option that nobody explains."""

    name = "unsaid"
    share: float = 0.5


@frozen
class Open(_Plain):
    """Others may derive from it."""

    name = "open"


@final
@frozen
class Silent(_Plain):
    name = "silent"


@final
class Bare(_Plain):
    """No attrs class."""

    name = "bare"


@final
@frozen
class Unwritten(_Plain):
    """An option that is not what it is read as."""

    name = "unwritten"
    share: float = option(0.5, help="how many", converter=lambda value: value / 2)


@pytest.mark.parametrize(
    ("strategy", "law"),
    [
        (Thawed(), "it is frozen"),
        (Unsaid(), "every option has a help text"),
        (Open(), "it is final"),
        (Silent(), "it says in a line what it is"),
        (Bare(), "it is an attrs class"),
        (Unwritten(), "it equals itself after being written as an expression and read"),
    ],
)
def test_what_a_strategy_owes(strategy: Selector, law: str) -> None:
    assert list(broken(STRATEGY, strategy)) == [law]
