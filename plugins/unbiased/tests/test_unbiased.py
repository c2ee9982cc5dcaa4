"""Weighting by importance: the expected gradient is the whole super-batch's, and what is refused."""

import math

import pytest
import torch

from guideplug import Losses, Registry, Selection, Selector
from guideplug.config import Reader
from guideplug.errors import ConfigError
from guideplug.run.resolve import Request, resolve
from guideplug.testing import check_selector
from guideplug_early import Early
from guideplug_jest import JEST
from guideplug_random import Random
from guideplug_unbiased import Unbiased

torch.set_num_threads(1)

JESTER = JEST(filter_ratio=0.5, num_chunks=3, gain=4.0)
COUNT = 12


def expression(text: str) -> Selector:
    return Reader(Registry.installed()).expression(text, Selector)


@pytest.mark.slow
@pytest.mark.parametrize("inner", [Random(), JEST(), JEST(first="scored"), Early(JEST()), Unbiased(JEST())])
def test_it_keeps_the_laws_of_selectors(inner: Selector) -> None:
    check_selector(Unbiased(inner))


def gradients(weighted: bool, draws: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Gradients (draws, 3) of a linear model on what is selected by its losses, and that of the whole super-batch."""
    generator = torch.Generator().manual_seed(3)
    x, y = torch.randn(COUNT, 3, generator=generator), torch.randn(COUNT, generator=generator)
    w = torch.tensor([0.4, -0.3, 0.2])
    error = x @ w - y
    each = 2 * error[:, None] * x  # of (x w - y)^2
    losses = Losses(COUNT, error.square(), torch.full((COUNT,), 0.5))
    selector = Unbiased(JESTER) if weighted else JESTER
    found = []
    for _ in range(draws):
        selection, _ = selector.select(losses, selector.init(), generator)
        weights = torch.ones(len(selection.indices)) if selection.weights is None else selection.weights
        found.append((weights[:, None] * each[selection.indices]).mean(0))
    return torch.stack(found).double(), each.mean(0).double()


@pytest.mark.proof
def test_the_expected_gradient_is_the_whole_super_batchs() -> None:
    found, whole = gradients(True, 20_000)
    assert float(((found.mean(0) - whole).abs() / (found.std(0) / math.sqrt(len(found)))).max()) < 4


def test_without_the_weights_it_is_not() -> None:
    found, whole = gradients(False, 4000)
    assert float(((found.mean(0) - whole).abs() / (found.std(0) / math.sqrt(len(found)))).max()) > 10


def test_the_choice_is_the_inner_selectors() -> None:
    losses = Losses(COUNT, torch.arange(12.0) / 4, torch.zeros(12))
    inner, _ = JESTER.select(losses, {}, torch.Generator().manual_seed(1))
    outer, _ = Unbiased(JESTER).select(losses, {}, torch.Generator().manual_seed(1))
    assert torch.equal(inner.indices, outer.indices)
    assert inner.weights is None
    assert inner.importance is not None
    assert torch.equal(outer.weights, inner.importance().float())  # type: ignore[arg-type]
    assert inner.effective_sample_size == outer.effective_sample_size


def test_it_goes_off_with_the_inner_selector_and_then_weights_nothing() -> None:
    selector = Unbiased(Early(JESTER, until="1it"))
    losses = Losses(COUNT, torch.arange(12.0), torch.zeros(12))
    _, state = selector.select(losses, selector.init(), torch.Generator())
    assert selector.switched_off(state)
    selection, _ = selector.select(Losses(COUNT), state, torch.Generator())
    assert torch.equal(selection.indices, torch.arange(12))
    assert torch.equal(selection.weights, torch.ones(12))  # type: ignore[arg-type]


def test_weights_of_the_inner_selector_stay() -> None:
    class Twice(Selector):
        name = "twice"

        def plan(self, batch, state):  # type: ignore[no-untyped-def]
            return Random().plan(batch, state)

        def select(self, losses, state, generator):  # type: ignore[no-untyped-def]
            ones = torch.ones(losses.count)
            return Selection(torch.arange(losses.count), weights=2 * ones, importance=lambda: 3 * ones), state

    selection, _ = Unbiased(Twice()).select(Losses(4), {}, torch.Generator())
    assert torch.equal(selection.weights, torch.full((4,), 6.0))  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["unbiased(rho)", "unbiased(loss)", "unbiased(early(rho))"])
def test_a_selector_without_chances_is_refused_before_any_training(text: str) -> None:
    with pytest.raises(ConfigError, match=r"does not say how likely its choices are.*such as jest") as refused:
        resolve(Request(values={"task": "tree", "selector": text}), Registry.installed())
    assert "\n" not in str(refused.value)


def test_it_wraps_presets_and_their_options_are_reached() -> None:
    assert expression("unbiased(early-jest)") == Unbiased(Early(JEST()))
    assert expression("unbiased(jest, filter_ratio=0.5)") == Unbiased(JEST(filter_ratio=0.5))
