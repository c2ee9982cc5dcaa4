"""Partial scoring: what is drawn, scored and kept, its importance, and what is refused before any training."""

import pytest
import torch

from guideplug import Duration, Losses, Selector
from guideplug.testing import check_selector
from guideplug_early import Early
from guideplug_jest import JEST
from guideplug_partial import Partial
from guideplug_random import Random
from guideplug_topk import LargestLoss
from guideplug_unbiased import Unbiased

INNER = JEST(filter_ratio=0.5, num_chunks=2)


@pytest.mark.slow
@pytest.mark.parametrize(
    "selector",
    [
        Partial(INNER),
        Partial(INNER, share=0.25, filter_ratio=0.5),
        Unbiased(Partial(INNER)),
        Partial(Unbiased(INNER)),
        Partial(LargestLoss(filter_ratio=0.5)),
        Partial(Early(INNER, until="2it")),
        Early(Partial(INNER), until="2it"),
    ],
)
def test_the_laws_of_selectors(selector: Selector) -> None:
    check_selector(selector)


def test_what_is_drawn_scored_and_kept() -> None:
    selector = Partial(INNER, share=0.25, filter_ratio=0.8)
    draw = selector.plan(400, selector.init())
    assert (draw.count, draw.scored, draw.learner, draw.reference) == (100 + 60, 100, True, "weak")
    losses = Losses(160, torch.rand(100), torch.rand(100))
    selection, _ = selector.select(losses, {}, torch.Generator().manual_seed(0))
    alone, _ = INNER.select(Losses(100, losses.learner, losses.reference), {}, torch.Generator().manual_seed(0))
    assert torch.equal(selection.indices[:50], alone.indices)
    assert selection.indices[50:].tolist() == list(range(100, 160))
    assert selection.probabilities is not None
    assert selection.probabilities.sum() == pytest.approx(1)
    assert selection.probabilities[100:].sum() == pytest.approx(60 / 110)


def test_after_the_inner_selector_is_off_all_are_drawn_and_kept() -> None:
    selector = Partial(Early(INNER, until="1it"))
    state = selector.init()
    draw = selector.plan(64, state)
    _, state = selector.select(
        Losses(draw.count, torch.rand(32), torch.rand(32)), state, torch.Generator().manual_seed(0)
    )
    assert selector.switched_off(state)
    draw = selector.plan(64, state)
    assert (draw.count, draw.scored, draw.learner) == (64, None, False)
    selection, _ = selector.select(Losses(64), state, torch.Generator())
    assert selection.indices.tolist() == list(range(64))


def test_a_share_of_the_training_reaches_the_inner_rule() -> None:
    selector = Partial(Early(INNER, until=0.05)).lasting(Duration.of("4096it"))
    assert selector == Partial(Early(INNER, until="205it"))


@pytest.mark.parametrize(
    ("selector", "message"),
    [
        (Partial(Random()), "'random' does not score all that it draws"),
        (Partial(Partial(INNER)), "'partial' does not score all that it draws"),
        (Partial(INNER, share=0.001), "leave 0 to be scored and 13 to be drawn blindly"),
        (Partial(INNER, share=0.99), "leave 63 to be scored and 0 to be drawn blindly"),
    ],
)
def test_what_is_refused(selector: Partial, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        selector.plan(64, selector.init())
