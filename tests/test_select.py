"""What a selection must be to be trained on, and the effective sample size."""

import math
import re
from typing import Any, final

import pytest
import torch
from attrs import evolve, frozen
from hypothesis import given
from hypothesis import strategies as st

from guideplug import CandidateRequest, Losses, Registry, Selection, Selector, SelectorState, option
from guideplug.config import Reader
from guideplug.errors import ConfigError, SelectionError
from guideplug.testing import check_selector
from guideplug.train.selection import checked_selection


@final
@frozen
class Mine(Selector):
    """Only its name is used."""

    name = "mine"

    def plan(self, batch: int, state: SelectorState) -> CandidateRequest:
        return CandidateRequest(batch)

    def select(
        self, losses: Losses, state: SelectorState, generator: torch.Generator
    ) -> tuple[Selection, SelectorState]:
        return Selection(torch.arange(losses.count)), state


def check(indices: Any, weights: Any = None, count: int = 5) -> Selection:
    return checked_selection(Selection(indices, weights), count, Mine())


@pytest.mark.parametrize(
    ("indices", "said"),
    [
        (torch.tensor([0, 1, 1]), "1 duplicate indices"),
        (torch.tensor([3, 3, 3]), "2 duplicate indices"),
        (torch.tensor([0, 5]), "index 5, out of range for 5 candidates"),
        (torch.tensor([-1, 2]), "index -1, out of range for 5 candidates"),
        (torch.tensor([], dtype=torch.int64), "no indices for 5 candidates"),
        (torch.tensor([]), "indices of type torch.float32"),
        (torch.tensor([0.0, 1.0]), "indices of type torch.float32"),
        (torch.tensor([math.nan]), "indices of type torch.float32"),
        (torch.tensor([True, False, True, False, False]), "indices of type torch.bool"),
        (torch.tensor([1 + 0j]), "indices of type torch.complex64"),
        (torch.tensor([[0], [1]]), "no one-dimensional tensor"),
        (torch.tensor(2), "no one-dimensional tensor"),
        ([0, 1], "no one-dimensional tensor"),
        (None, "no one-dimensional tensor"),
    ],
)
def test_indices_that_cannot_be_used(indices: Any, said: str) -> None:
    with pytest.raises(SelectionError, match=said) as refused:
        check(indices)
    assert re.match(r"selector 'mine' of the (local file|module) \S+ returned ", str(refused.value))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "weights",
    [
        torch.ones(3),
        torch.ones(1),
        torch.ones(2, 1),
        torch.tensor(1.0),
        torch.tensor([1.0, math.nan]),
        torch.tensor([math.inf, 1.0]),
        torch.tensor([1.0, -math.inf]),
    ],
)
def test_weights_that_do_not_fit(weights: torch.Tensor) -> None:
    with pytest.raises(SelectionError, match="returned weights that are not one finite number for each of 2"):
        check(torch.tensor([0, 4]), weights)


def test_weights_that_are_no_tensor_are_refused_in_the_same_way() -> None:
    with pytest.raises(SelectionError, match="weights that are not one finite number for each of 2"):
        check(torch.tensor([0, 4]), [1.0, 2.0])


@given(st.integers(1, 30), st.data())
def test_any_distinct_indices_in_range_are_taken_as_they_are(count: int, data: st.DataObject) -> None:
    chosen = data.draw(st.lists(st.integers(0, count - 1), min_size=1, unique=True))
    selection = Selection(torch.tensor(chosen), torch.linspace(-1, 1, len(chosen)))
    assert checked_selection(selection, count, Mine()) is selection


@pytest.mark.parametrize("kind", [torch.uint8, torch.int32, torch.bool, torch.float32])
def test_other_types_of_indices_are_refused(kind: torch.dtype) -> None:
    with pytest.raises(SelectionError, match="return int64 indices"):  # a uint8 tensor would be read as a mask
        checked_selection(Selection(torch.tensor([0, 1], dtype=kind)), 4, Mine())


@given(st.lists(st.floats(0.01, 10), min_size=1, max_size=20))
def test_the_effective_sample_size(weights: list[float]) -> None:
    p = torch.tensor(weights, dtype=torch.float64)
    p /= p.sum()
    found = Selection(torch.tensor([0]), probabilities=p).effective_sample_size
    assert found == pytest.approx(sum(weights) ** 2 / sum(w * w for w in weights) / len(weights))
    assert found is not None
    assert 1 / len(weights) - 1e-9 <= found <= 1 + 1e-9


def test_the_ends_of_the_effective_sample_size() -> None:
    def size(p: list[float]) -> float | None:
        return Selection(torch.tensor([0]), probabilities=torch.tensor(p)).effective_sample_size

    assert size([0.25] * 4) == 1.0
    assert size([0.0, 1.0, 0.0, 0.0]) == 0.25
    assert size([0.5, 0.5, 0.0, 0.0]) == 0.5
    assert Selection(torch.tensor([0])).effective_sample_size is None


def test_a_selector_that_says_nothing_else_needs_nothing_and_never_goes_off() -> None:
    selector = Mine()
    assert selector.init() == {}
    assert selector.needs(None, None) == {}  # type: ignore[arg-type]
    assert selector.switched_off({}) is False
    assert selector.has_importance() is False


@final
@frozen
class Weighing(Selector):
    """Half of what it is offered, blindly; its importance is right where ``factor`` is 1."""

    name = "weighing"
    factor: float = option(1.0, help="what it says instead of 1")
    claims: bool = option(True, help="whether it says that it has importance")
    greedy: bool = option(False, help="whether it takes the largest losses")

    def plan(self, batch: int, state: SelectorState) -> CandidateRequest:
        return CandidateRequest(batch, learner=True)

    def select(
        self, losses: Losses, state: SelectorState, generator: torch.Generator
    ) -> tuple[Selection, SelectorState]:
        assert losses.learner is not None
        order = torch.randperm(losses.count, generator=generator)
        chosen = (losses.learner.argsort(descending=True) if self.greedy else order)[: losses.count // 2]
        return Selection(chosen, importance=lambda: torch.full((len(chosen),), self.factor)), state

    def has_importance(self) -> bool:
        return self.claims


def test_the_laws_notice_importance_that_is_wrong() -> None:
    check_selector(Weighing())
    for wrong, said in [
        (Weighing(factor=1.1), "importance estimates the mean"),
        (Weighing(greedy=True), "importance estimates the mean"),
        (Weighing(claims=False), "says importance if and only if has_importance"),
    ]:
        with pytest.raises(AssertionError, match=said):
            check_selector(wrong)


# Losses


GOOD = torch.rand(6)


@pytest.mark.parametrize("name", ["learner", "reference"])
@pytest.mark.parametrize(
    ("losses", "said"),
    [
        (GOOD.mean(), r"of shape \(\): pass one number for each candidate, of shape \(6,\), such as"),
        (GOOD[:, None], r"of shape \(6, 1\): pass one number for each candidate"),
        (GOOD.reshape(2, 3), r"of shape \(2, 3\): pass one number for each candidate"),
        (torch.rand(7), r"7 for 6 candidates: pass one for each, of shape \(6,\)"),
        (GOOD[:0], r"0 for 6 candidates: pass one for each"),
        (GOOD.clone().requires_grad_(), r"part of a graph: .*torch\.no_grad\(\), or pass losses\.detach\(\)"),
        (2 * GOOD.clone().requires_grad_(), "part of a graph"),
        (torch.rand(6, device="meta"), r"on meta: pass losses\.cpu\(\)"),
        (torch.arange(6), r"of type torch\.int64: pass floating-point numbers"),
        (GOOD > 0.5, r"of type torch\.bool: pass floating-point numbers"),
        (GOOD / 0, "not all finite"),
        (GOOD * math.nan, "not all finite"),
        ([0.1] * 6, "a list: pass a tensor"),
        (0.3, "a float: pass a tensor"),
    ],
)
def test_losses_that_a_loop_might_pass_are_refused_in_one_line(name: str, losses: Any, said: str) -> None:
    with pytest.raises(ValueError, match=f"the {name}'s losses are {said}") as refused:
        Losses(6, **{name: losses})
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("count", [0, -1])
def test_losses_of_no_candidates_are_refused(count: int) -> None:
    with pytest.raises(ValueError, match=f"losses of {count} candidates: give at least one"):
        Losses(count)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_losses_of_any_floating_type_are_taken(dtype: torch.dtype) -> None:
    assert Losses(6, GOOD.to(dtype), GOOD).learner is not None


def test_losses_of_different_candidates_are_refused() -> None:
    with pytest.raises(ValueError, match=r"6 losses of the learner and 5 of the reference: score both on the same"):
        Losses(6, GOOD, GOOD[:5])


def test_planned_losses_are_those_of_the_plan_alone() -> None:
    both = Losses(6, GOOD, 2 * GOOD)
    for draw, kept in [
        (CandidateRequest(6), (False, False)),
        (CandidateRequest(6, learner=True), (True, False)),
        (CandidateRequest(6, reference="weak"), (False, True)),
        (CandidateRequest(6, learner=True, reference="weak"), (True, True)),
    ]:
        planned = both.planned(draw)
        assert (planned.learner is not None, planned.reference is not None) == kept
        assert planned.planned(draw).count == 6


def test_losses_that_the_plan_misses_are_named() -> None:
    draw = CandidateRequest(6, learner=True, reference="weak")
    with pytest.raises(ValueError, match=r"learner's losses are missing: pass them, as in Losses\(6, learner="):
        Losses(6, reference=GOOD).planned(draw)
    with pytest.raises(ValueError, match="the reference's losses are missing"):
        Losses(6, GOOD).planned(draw)
    with pytest.raises(ValueError, match="6 losses of the learner, and 4 of 6 candidates are scored"):
        Losses(6, GOOD, GOOD).planned(evolve(draw, scored=4))
    with pytest.raises(ValueError, match="4 losses of the learner, and 6 of 6 candidates are scored"):
        Losses(6, GOOD[:4], GOOD[:4]).planned(draw)


def installed_selectors() -> list[Selector]:
    """Every installed selector that looks at losses, around jest where it takes another."""
    registry = Registry.installed()
    reader, selectors = Reader(registry), []
    for name in registry.names("selector"):
        try:
            selector = reader.expression(name, Selector)
        except ConfigError:
            selector = reader.expression(f"{name}(jest)", Selector)
        plan = selector.plan(256, selector.init())
        if plan.learner or plan.reference is not None:
            selectors.append(selector)
    return selectors


@pytest.mark.parametrize("selector", installed_selectors(), ids=lambda selector: selector.name)
def test_in_a_loop_of_ones_own_missing_losses_and_short_batches_are_refused(selector: Selector) -> None:
    state, generator = selector.init(), torch.Generator()
    plan = selector.plan(256, state)
    with pytest.raises(ValueError, match=r"missing|none of the candidates are scored") as missing:
        selector.select(Losses(plan.count), state, generator)
    one, two = torch.tensor([2.0]), torch.tensor([1.0])  # the learner's is larger: early goes on
    short = Losses(1, one, two) if plan.scored is None else Losses(2, one, two)
    with pytest.raises(ValueError, match="drop_last=True") as refused:
        selector.select(short, state, generator)
    assert "\n" not in str(missing.value) + str(refused.value)


def test_there_are_selectors_that_look_at_losses() -> None:
    assert {selector.name for selector in installed_selectors()} >= {"jest", "rho", "loss", "early", "partial"}
