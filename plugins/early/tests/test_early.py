"""Early selection: the rule, the fixed step, and what is refused before any training."""

import json
import math
from collections.abc import Callable, Mapping
from typing import final

import pytest
import torch
from attrs import frozen
from hypothesis import given
from hypothesis import strategies as st

from guideplug import CandidateRequest, Duration, Losses, Registry, Selection, Selector, SelectorState, option
from guideplug.config import Reader
from guideplug.errors import ConfigError
from guideplug.run.resolve import Request, resolve
from guideplug.testing import check_selector
from guideplug_early import Early, EarlySmoothed
from guideplug_jest import JEST
from guideplug_random import Random


@final
@frozen
class Counting(Selector):
    """Keeps the first half; its state counts, and says which super-batches it saw."""

    name = "counting"
    last: int = option(10**9, help="how many steps until it is off for good")

    def init(self) -> SelectorState:
        return {"seen": [], "deep": {"count": 0}}

    def plan(self, batch: int, state: SelectorState) -> CandidateRequest:
        return CandidateRequest(batch, learner=True, reference="weak")

    def select(
        self, losses: Losses, state: SelectorState, generator: torch.Generator
    ) -> tuple[Selection, SelectorState]:
        assert losses.learner is not None
        seen = [*state["seen"], float(losses.learner[0])]
        return Selection(torch.arange(losses.count // 2)), {"seen": seen, "deep": {"count": len(seen)}}

    def switched_off(self, state: SelectorState) -> bool:
        return state["deep"]["count"] >= self.last


def run(
    selector: Selector, learner: list[float], reference: float = 1.0
) -> list[tuple[CandidateRequest, int, bool, SelectorState]]:
    """Step through constant losses; the state goes through JSON, as when a training is stopped at every step."""
    state: Mapping = selector.init()
    found = []
    for value in learner:
        draw = selector.plan(10, state)
        losses = Losses(
            draw.count,
            torch.full((10,), value) if draw.learner else None,
            torch.full((10,), reference) if draw.reference else None,
        )
        selection, state = selector.select(losses, state, torch.Generator())
        state = json.loads(json.dumps(state))
        found.append((draw, len(selection.indices), selector.switched_off(state), state))
    return found


@pytest.mark.parametrize("selector", [Early(JEST()), Early(JEST(), until="2it"), Early(Random(), until="1it")])
def test_it_keeps_the_laws_of_selectors(selector: Early) -> None:
    check_selector(selector)


def test_the_rule_is_off_for_good_at_the_first_super_batch_that_the_learner_wins() -> None:
    steps = run(Early(Counting()), [3.0, 1.0, 0.9, 5.0, 5.0])
    on, off = CandidateRequest(10, True, "weak"), CandidateRequest(10)
    assert [draw for draw, *_ in steps] == [on, on, on, off, off]
    assert [kept for _, kept, *_ in steps] == [5, 5, 10, 10, 10]  # that super-batch is already trained on whole
    assert [switched for _, _, switched, _ in steps] == [False, False, True, True, True]  # equal means do not switch
    assert steps[-1][3]["inner"]["seen"] == pytest.approx([3.0, 1.0])  # the inner one does not see it


@given(st.lists(st.floats(0, 2, width=32), min_size=1, max_size=12))
def test_it_is_never_on_again(learner: list[float]) -> None:
    switched = [off for _, _, off, _ in run(Early(Counting()), learner)]
    first = next((i for i, value in enumerate(learner) if value < 1.0), len(learner))
    assert switched == [i >= first for i in range(len(learner))]


def test_the_rule_compares_means_and_not_single_losses() -> None:
    early = Early(Counting())
    losses = Losses(4, torch.tensor([0.0, 0.0, 0.0, 9.0]), torch.ones(4))
    _, state = early.select(losses, early.init(), torch.Generator())
    assert not early.switched_off(state)
    losses = Losses(4, torch.tensor([2.0, 2.0, 2.0, 2.0]), torch.tensor([1.0, 1.0, 1.0, 9.0]))
    _, state = early.select(losses, early.init(), torch.Generator())
    assert early.switched_off(state)


PICKS = {
    "early(jest(filter_ratio=0.75, num_chunks=4))": [
        [28, 15, 33, 87, 43, 17], [63, 57, 14, 39, 93, 46], [7, 44, 5, 32, 0, 85], [6, 94, 76, 34, 80, 38],
    ],
    "early(jest(filter_ratio=0.75, num_chunks=4, normalize=false, gain=4))": [
        [28, 15, 33, 87, 43, 17], [16, 59, 44, 74, 9, 84], [34, 46, 7, 20, 54, 4], [35, 0, 36, 77, 79, 14],
    ],
}  # fmt: skip
"""What 0.1.0 picked from these losses with generator 11, chunk by chunk."""


def golden_losses(shift: float) -> Losses:
    learner, reference = torch.rand(2, 96, generator=torch.Generator().manual_seed(5))
    return Losses(96, learner + shift, reference)


@pytest.mark.parametrize("expression", PICKS)
def test_while_it_is_on_it_picks_what_it_always_did(expression: str) -> None:
    early = Reader(Registry.installed()).expression(expression, Selector)
    selection, state = early.select(golden_losses(0.2), early.init(), torch.Generator().manual_seed(11))
    chunks = [sorted(chunk.tolist()) for chunk in selection.indices.split(6)]
    assert chunks == [sorted(chunk) for chunk in PICKS[expression]]
    assert not early.switched_off(state)


@pytest.mark.parametrize("kind", [Early, lambda inner: EarlySmoothed(inner, length=1, patience=1)])
def test_the_super_batch_that_switches_it_off_is_trained_on_whole(kind: Callable[[Selector], Selector]) -> None:
    early, generator = kind(JEST()), torch.Generator().manual_seed(7)
    before = generator.get_state()
    selection, state = early.select(golden_losses(-0.5), early.init(), generator)
    assert early.switched_off(state)
    assert torch.equal(generator.get_state(), before)  # nothing is drawn for it
    after, _ = early.select(Losses(96), state, generator)
    for whole in (selection, after):
        assert torch.equal(whole.indices, torch.arange(96))
        assert whole.weights is None
        assert whole.probabilities is None
        assert whole.importance is not None
        assert torch.equal(whole.importance(), torch.ones(96))


def test_until_counts_steps_and_does_not_look_at_losses() -> None:
    steps = run(Early(Counting(), until="3it"), [0.0, 0.0, 9.0, 9.0])
    assert [kept for _, kept, *_ in steps] == [5, 5, 5, 10]
    assert [off for _, _, off, _ in steps] == [False, False, True, True]
    assert Early(Counting(), until="231it").until == Duration(231, "it")


def test_with_until_an_inner_selector_need_not_score() -> None:
    steps = run(Early(Random(filter_ratio=0.5), until="2it"), [1.0] * 4)
    assert [draw for draw, *_ in steps] == [
        CandidateRequest(5),
        CandidateRequest(5),
        CandidateRequest(10),
        CandidateRequest(10),
    ]
    assert [kept for _, kept, *_ in steps] == [5, 5, 10, 10]


@pytest.mark.parametrize("until", ["90s", "1h"])
def test_until_in_other_units_is_refused(until: str) -> None:
    with pytest.raises(ValueError, match=r"until is .*optimiser steps, such as 231it"):
        Early(JEST(), until=until)


@pytest.mark.parametrize("until", ["soon", 5, "-3it", "0it", math.nan])
def test_until_that_is_no_duration_is_refused(until: object) -> None:
    with pytest.raises((ConfigError, ValueError)):
        Early(JEST(), until=until)


@pytest.mark.parametrize("inner", [Random(), JEST(score="hard-learner"), JEST(score="easy-reference")])
def test_a_selector_without_both_scores_is_refused_when_planned(inner: Selector) -> None:
    early = Early(inner)
    with pytest.raises(ValueError, match=rf"'{inner.name}' does not score learner and reference.*until=231it"):
        early.plan(4096, early.init())


def test_and_so_at_configuration() -> None:
    request = Request(values={"task": "tree", "selector": "early(random)"})
    with pytest.raises(ConfigError, match=r"early.*'random' does not score learner and reference.*until=231it"):
        resolve(request, Registry.installed())
    request = Request(values={"task": "tree", "selector": "early(random, until=5it)", "device": "cpu"})
    assert resolve(request, Registry.installed()).selector == Early(Random(), until="5it")


def test_an_inner_selector_that_went_off_takes_the_outer_with_it() -> None:
    """Else the outer rule would ask for scores that nobody makes any more."""
    steps = run(Early(Early(Counting(), until="2it")), [9.0] * 4)
    assert [kept for _, kept, *_ in steps] == [5, 5, 10, 10]
    assert [draw for draw, *_ in steps][2:] == [CandidateRequest(10)] * 2
    assert [off for _, _, off, _ in run(Early(Counting(last=1)), [9.0] * 2)] == [True, True]


def test_the_preset() -> None:
    early = Reader(Registry.installed()).expression("early-jest", Selector)
    assert early == Early(JEST())
    assert early.until is None
    assert Reader(Registry.installed()).expression("early-jest(until=231it)", Selector) == Early(JEST(), until="231it")


def test_its_needs_are_the_inner_selectors() -> None:
    config = resolve(Request(values={"task": "tree", "device": "cpu"}), Registry.installed())
    wanted = Early(JEST(reference="other")).needs(config.task, config.main)
    assert wanted == JEST(reference="other").needs(config.task, config.main)
    assert list(wanted) == ["other"]


# The smoothed rule


SMOOTHED = EarlySmoothed(Counting(), length=4, patience=3)


def off_at(steps: list[tuple[CandidateRequest, int, bool, SelectorState]]) -> int | None:
    return next((i for i, (_, _, off, _) in enumerate(steps) if off), None)


@pytest.mark.parametrize("selector", [EarlySmoothed(JEST()), EarlySmoothed(JEST(), length=1, patience=1)])
def test_the_smoothed_rule_keeps_the_laws_of_selectors(selector: Selector) -> None:
    check_selector(selector)


@pytest.mark.parametrize("at", [0, 3, 20])
def test_one_noisy_super_batch_trips_the_rule_but_not_the_smoothed_one(at: int) -> None:
    learner = [1.5] * 40
    learner[at] = 0.0  # a super-batch on which the learner is twice as far below the reference as above it elsewhere
    assert off_at(run(Early(Counting()), learner)) == at
    assert off_at(run(EarlySmoothed(Counting()), learner)) is None


def test_it_goes_off_once_the_smoothed_losses_have_crossed_for_long_enough() -> None:
    learner = [3.0] * 6 + [0.5] * 30
    means, below, expected = [0.0, 0.0], 0, None
    for step, value in enumerate(learner):
        means = [0.75 * means[0] + 0.25 * value, 0.75 * means[1] + 0.25 * 1.0]
        corrected = [mean / (1 - 0.75 ** (step + 1)) for mean in means]
        below = below + 1 if corrected[0] < corrected[1] else 0
        if below >= 3 and expected is None:
            expected = step
    assert expected is not None
    assert expected > 6 + 3
    steps = run(SMOOTHED, learner)
    assert off_at(steps) == expected
    assert [kept for _, kept, *_ in steps] == [5] * expected + [10] * (len(learner) - expected)
    assert [draw for draw, *_ in steps][expected + 1 :] == [CandidateRequest(10)] * (len(learner) - expected - 1)


def test_losses_that_cross_back_begin_the_count_again() -> None:
    selector = EarlySmoothed(Counting(), length=1, patience=3)
    assert off_at(run(selector, [0.5, 0.5, 2.0, 0.5, 0.5, 2.0, 0.5, 0.5, 0.5, 9.0])) == 8
    assert off_at(run(selector, [0.5, 0.5, 1.0, 0.5, 0.5, 1.0])) is None  # equal is not below


@given(st.lists(st.floats(0, 2, width=32), min_size=1, max_size=12))
def test_without_smoothing_and_patience_it_is_the_rule(learner: list[float]) -> None:
    plain = EarlySmoothed(Counting(), length=1, patience=1)
    assert off_at(run(plain, learner)) == off_at(run(Early(Counting()), learner))


@pytest.mark.parametrize("inner", [Random(), JEST(score="hard-learner"), JEST(score="easy-reference")])
def test_the_smoothed_rule_needs_both_scores(inner: Selector) -> None:
    with pytest.raises(ValueError, match=rf"'{inner.name}' does not score learner and reference.*give one that does"):
        EarlySmoothed(inner).plan(4096, EarlySmoothed(inner).init())


@pytest.mark.parametrize("options", [{"length": 0}, {"patience": 0}])
def test_a_memory_or_a_patience_of_nothing_is_refused(options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        EarlySmoothed(JEST(), **options)


def test_both_have_the_importance_of_the_inner_selector() -> None:
    for kind in (Early, EarlySmoothed):
        assert kind(JEST()).has_importance()
        assert not kind(Counting()).has_importance()
