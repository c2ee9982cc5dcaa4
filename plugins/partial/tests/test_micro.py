"""Selection inside micro-batches: the inner selector's choice from each part, its importance, and what is refused."""

import pytest
import torch

from guideplug import Losses, Selector
from guideplug.testing import check_selector
from guideplug_early import Early
from guideplug_jest import JEST
from guideplug_partial import Partial
from guideplug_partial.micro import Micro
from guideplug_random import Random
from guideplug_topk import LargestLoss
from guideplug_unbiased import Unbiased

INNER = JEST(filter_ratio=0.5, num_chunks=2)


def drawn(count: int, seed: int = 1) -> Losses:
    generator = torch.Generator().manual_seed(seed)
    return Losses(count, *(torch.rand(count, generator=generator) for _ in range(2)))


@pytest.mark.slow
@pytest.mark.parametrize(
    "selector",
    [
        Micro(INNER),
        Micro(INNER, parts=4),
        Unbiased(Micro(INNER)),
        Micro(Unbiased(INNER)),
        Micro(LargestLoss(filter_ratio=0.5)),
        Micro(Random(filter_ratio=0.5)),
        Early(Micro(INNER), until="2it"),
        Partial(Micro(INNER)),
    ],
)
def test_the_laws_of_selectors(selector: Selector) -> None:
    check_selector(selector)


def test_the_setting_of_ajest_on_images() -> None:
    selector = Micro(JEST(filter_ratio=0.8125, num_chunks=8), parts=16)
    plan = selector.plan(2048, selector.init())
    assert (plan.count, plan.learner, plan.reference, plan.scored) == (2048, True, "weak", None)
    selection, _ = selector.select(drawn(2048), selector.init(), torch.Generator().manual_seed(0))
    assert torch.bincount(selection.indices // 128).tolist() == [24] * 16


def test_each_part_is_the_inner_selectors_choice() -> None:
    losses, generator = drawn(96), torch.Generator().manual_seed(3)
    selection, _ = Micro(INNER, parts=3).select(losses, {}, torch.Generator().manual_seed(3))
    assert losses.learner is not None
    assert losses.reference is not None
    alone = []
    for begin in (0, 32, 64):
        rows = slice(begin, begin + 32)
        part, _ = INNER.select(Losses(32, losses.learner[rows], losses.reference[rows]), {}, generator)
        alone.append(part.indices + begin)
    assert torch.equal(selection.indices, torch.cat(alone))
    assert selection.probabilities is not None
    assert selection.probabilities.sum() == pytest.approx(1)


def test_one_part_is_the_inner_selector() -> None:
    losses = drawn(64)
    one, _ = Micro(INNER, parts=1).select(losses, {}, torch.Generator().manual_seed(0))
    inner, _ = INNER.select(losses, {}, torch.Generator().manual_seed(0))
    assert torch.equal(one.indices, inner.indices)
    assert one.importance is not None
    assert inner.importance is not None
    assert torch.equal(one.importance(), inner.importance())


def test_its_importance_estimates_means_without_bias() -> None:
    selector, losses = Micro(JEST(filter_ratio=0.5, num_chunks=2, gain=2.0), parts=2), drawn(16)
    values = torch.linspace(0, 1, 16) ** 2
    generator, estimates = torch.Generator().manual_seed(0), []
    for _ in range(300):
        selection, _ = selector.select(losses, {}, generator)
        assert selection.importance is not None
        estimates.append(float((selection.importance() * values[selection.indices]).mean()))
    mean = torch.tensor(estimates, dtype=torch.float64)
    assert abs(mean.mean() - values.mean()) < 4 * mean.std() / len(estimates) ** 0.5


def test_parts_that_keep_different_numbers_are_weighed_by_their_candidates() -> None:
    selector = Micro(Early(INNER), parts=2)  # off at the second part, which is kept whole
    losses = Losses(32, torch.cat([torch.full((16,), 2.0), torch.zeros(16)]), torch.ones(32))
    selection, state = selector.select(losses, selector.init(), torch.Generator().manual_seed(0))
    assert selection.indices.tolist()[8:] == list(range(16, 32))
    assert selection.importance is not None
    assert selection.importance()[8:].tolist() == pytest.approx([24 / 32] * 16)
    assert selector.switched_off(state)
    assert selector.plan(31, state).count == 31


@pytest.mark.parametrize(
    ("selector", "batch", "words"),
    [
        (Micro(INNER, parts=3), 64, "a super-batch of 64 is not cut into 3 equal parts: give a multiple of 3"),
        (Micro(INNER, parts=32), 64, "too small for filter_ratio"),
        (Micro(Partial(INNER)), 64, r"put it outside, as in partial\(micro\(...\)\)"),
    ],
)
def test_what_cannot_be_cut_is_refused(selector: Selector, batch: int, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        selector.plan(batch, selector.init())
