"""Top-k selection: a stable sort is the oracle of the partition."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from guideplug import CandidateRequest, Losses, Selector
from guideplug.testing import check_selector
from guideplug_jest import JEST
from guideplug_random import Random
from guideplug_topk import LargestLoss, ReducibleLoss, largest

LARGEST = float(np.finfo(np.float64).max)


def chosen(selector: Selector, learner: torch.Tensor, reference: torch.Tensor) -> list[int]:
    selection, state = selector.select(Losses(len(learner), learner, reference), {}, torch.Generator())
    assert state == {}
    assert (selection.weights, selection.probabilities, selection.importance) == (None, None, None)
    assert not selector.has_importance()
    return selection.indices.tolist()


@pytest.mark.parametrize(
    "selector", [LargestLoss(), ReducibleLoss(), LargestLoss(filter_ratio=0.3), ReducibleLoss(filter_ratio=0.95)]
)
def test_they_keep_the_laws_of_selectors(selector: Selector) -> None:
    check_selector(selector)


@given(
    st.lists(st.sampled_from([0.0, -0.0, 1.0, 2.0, LARGEST, -LARGEST, 5e-324]) | st.floats(-1, 1), min_size=1),
    st.data(),
)
def test_the_partition_is_a_stable_sort(scores: list[float], data: st.DataObject) -> None:
    count = data.draw(st.integers(1, len(scores)))
    expected = sorted(range(len(scores)), key=lambda i: (-scores[i], i))[:count]
    assert largest(np.array(scores), count).tolist() == sorted(expected)


def test_what_each_keeps() -> None:
    learner = torch.tensor([5.0, 1.0, 4.0, 2.0, 3.0])
    reference = torch.tensor([5.0, 0.0, 1.0, 2.0, 0.5])
    assert chosen(LargestLoss(filter_ratio=0.6), learner, reference) == [0, 2]
    assert chosen(ReducibleLoss(filter_ratio=0.6), learner, reference) == [2, 4]
    assert chosen(ReducibleLoss(filter_ratio=0.4), torch.ones(5), torch.ones(5)) == [0, 1, 2]  # the first of equal ones


def test_what_each_asks_for() -> None:
    assert LargestLoss().plan(4096, {}) == CandidateRequest(4096, learner=True)
    assert ReducibleLoss(reference="other").plan(4096, {}) == CandidateRequest(4096, learner=True, reference="other")
    learner = torch.rand(4096, generator=torch.Generator().manual_seed(0))
    assert len(chosen(ReducibleLoss(), learner, torch.zeros(4096))) == Random().plan(4096, {}).count == 819


def test_rho_is_jest_at_a_huge_gain() -> None:
    learner, reference = torch.rand(2, 100, generator=torch.Generator().manual_seed(1)).double()
    jest = JEST(num_chunks=1, first="scored", gain=1e9)
    greedy, _ = jest.select(Losses(100, learner, reference), {}, torch.Generator().manual_seed(2))
    assert chosen(ReducibleLoss(), learner, reference) == sorted(greedy.indices.tolist())


def test_the_largest_finite_losses_do_not_overflow() -> None:
    learner = torch.tensor([LARGEST, LARGEST, 0.0, -LARGEST], dtype=torch.float64)
    reference = torch.tensor([LARGEST, -LARGEST, -1.0, LARGEST], dtype=torch.float64)
    assert chosen(ReducibleLoss(filter_ratio=0.75), learner, reference) == [1]


@pytest.mark.parametrize("kind", [LargestLoss, ReducibleLoss])
def test_options_that_are_refused(kind: type[Selector]) -> None:
    with pytest.raises(ValueError, match=r"filter_ratio 0.8 keeps none of 2 examples"):
        kind().plan(2, {})
    for ratio in (0.0, 1.0, math.nan):
        with pytest.raises(ValueError, match="filter_ratio"):
            kind(filter_ratio=ratio)  # type: ignore[call-arg]
