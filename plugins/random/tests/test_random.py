"""Random selection draws what it keeps, and looks at nothing."""

import math

import pytest
import torch

from guideplug.select import Losses
from guideplug.testing import check_selector
from guideplug_random import Random


def test_it_keeps_the_laws_of_selectors() -> None:
    check_selector(Random())
    check_selector(Random(filter_ratio=0.3))


def test_only_what_is_kept_is_drawn_and_nothing_is_scored() -> None:
    plan = Random().plan(4096, {})
    assert (plan.count, plan.learner, plan.reference) == (819, False, None)
    selection, state = Random().select(Losses(plan.count), {}, torch.Generator())
    assert torch.equal(selection.indices, torch.arange(819))
    assert selection.weights is None
    assert selection.probabilities is None
    assert selection.effective_sample_size is None
    assert state == {}
    assert not Random().switched_off(state)


@pytest.mark.parametrize(("batch", "ratio", "kept"), [(10, 0.5, 5), (7, 0.9, 1), (4096, 0.01, 4055), (1, 0.4, 1)])
def test_the_count_is_rounded(batch: int, ratio: float, kept: int) -> None:
    assert Random(filter_ratio=ratio).plan(batch, {}).count == kept


def test_a_batch_that_leaves_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match=r"filter_ratio 0.8 keeps none of 2 examples"):
        Random().plan(2, {})


@pytest.mark.parametrize("ratio", [0.0, 1.0, -1.0, math.nan, math.inf])
def test_filter_ratios_outside_the_open_interval_are_refused(ratio: float) -> None:
    with pytest.raises(ValueError, match="filter_ratio"):
        Random(filter_ratio=ratio)
