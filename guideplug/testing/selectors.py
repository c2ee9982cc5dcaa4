"""The laws of a selector: valid selections, decided by the generator and the state alone."""

import copy
import json
from collections.abc import Mapping
from typing import Any

import torch
from attrs import evolve, frozen
from torch import Tensor

from guideplug.errors import SelectionError
from guideplug.select import CandidateRequest, Losses, Selection, Selector, SelectorState
from guideplug.testing.law import Laws, must
from guideplug.testing.law_helpers import no_global_draws
from guideplug.testing.strategies import STRATEGY
from guideplug.train.selection import checked_selection

__all__ = ["SELECTOR", "Selecting", "check_selector"]

STEPS = 3
DRAWS = 300
"""Selections that importance is tried with."""


@frozen
class Selecting:
    """A selector under test, and the size of its super-batch."""

    selector: Selector
    batch: int = 256


@frozen
class _Step:
    """The input of a selector in a step, and its output."""

    plan: CandidateRequest
    selection: Selection
    state: SelectorState


def _losses(plan: CandidateRequest, step: int, *, more: bool = False) -> Losses:
    """Losses as planned, or with ``more`` those of both networks for any plan."""
    generator = torch.Generator().manual_seed(step)
    learner, reference = torch.rand(2, plan.count, generator=generator)
    scored = plan.count if plan.scored is None else plan.scored
    return Losses(
        plan.count,
        learner[:scored] if more or plan.learner else None,
        reference[:scored] if more or plan.reference is not None else None,
    )


def _steps(selecting: Selecting, *, more: bool = False) -> list[_Step]:
    selector, state, steps = selecting.selector, selecting.selector.init(), []
    for step in range(STEPS):
        plan = selector.plan(selecting.batch, state)
        losses = _losses(plan, step, more=more)
        selection, state = selector.select(losses, state, torch.Generator().manual_seed(11 + step))
        steps.append(_Step(plan, selection, state))
    return steps


SELECTOR: Laws[Selecting] = Laws()


def check_selector(selector: Selector, *, batch: int = 256) -> None:
    """The laws of a selector.

    Valid indices, the plan kept, decided by the generator and the planned losses alone, state as JSON and never changed
    in place; a selection's importance, if any, estimates means over all candidates without bias.
    """
    STRATEGY.check(selector)
    SELECTOR.check(Selecting(selector, batch))


@SELECTOR.add(
    "the plan draws at least one and at most a super-batch", "return CandidateRequest(count) with 1 <= count <= batch"
)
def _plan(selecting: Selecting) -> None:
    for step in _steps(selecting):
        must(1 <= step.plan.count <= selecting.batch, f"it draws {step.plan.count} of {selecting.batch}")
        scored = step.plan.scored
        must(scored is None or 0 <= scored <= step.plan.count, f"it scores {scored} of {step.plan.count}")


@SELECTOR.add(
    "indices are distinct, of type int64 and in range; weights are one finite number each",
    "draw without replacement, as torch.multinomial(p, n, replacement=False, generator=generator) does",
    premise=True,
)
def _indices(selecting: Selecting) -> None:
    for step in _steps(selecting):
        try:
            checked_selection(
                evolve(step.selection, probabilities=None), step.plan.count, selecting.selector
            )  # a law of their own below
        except SelectionError as error:
            raise AssertionError(str(error)) from None


@SELECTOR.add(
    "probabilities are a distribution over all candidates",
    "return the (count,) probabilities that the choice was drawn from: none negative, sum 1; or None",
)
def _probabilities(selecting: Selecting) -> None:
    for step in _steps(selecting):
        p = step.selection.probabilities
        if p is not None:
            must(len(p) == step.plan.count, f"there are {len(p)} for {step.plan.count} candidates")
            must(bool((p >= 0).all()), "one is negative, or no number")
            must(abs(float(p.sum()) - 1) < 1e-6, f"they sum to {float(p.sum()):g}")
            must(bool((p[step.selection.indices] > 0).all()), "one that was chosen has probability 0")


@SELECTOR.add("losses are not changed", "compute out of place: losses.learner - x, not losses.learner.sub_(x)")
def _losses_stay(selecting: Selecting) -> None:
    selector, state = selecting.selector, selecting.selector.init()
    for step in range(STEPS):
        plan = selector.plan(selecting.batch, state)
        losses, before = _losses(plan, step), _losses(plan, step)
        _, state = selector.select(losses, state, torch.Generator().manual_seed(step))
        for actual, expected in ((losses.learner, before.learner), (losses.reference, before.reference)):
            must(actual is None or (expected is not None and torch.equal(actual, expected)))


@SELECTOR.add("no draw from a global generator", "draw from the generator that select is given")
def _draws_from_its_own(selecting: Selecting) -> None:
    with no_global_draws():
        _steps(selecting)


@SELECTOR.add(
    "the same losses, state and generator give the same selection",
    "keep what it remembers in the state that select returns, never in the strategy or the module",
)
def _repeats(selecting: Selecting) -> None:
    for number, (first, second) in enumerate(zip(_steps(selecting), _steps(selecting), strict=True)):
        must(first.plan == second.plan, f"step {number} was planned in another way")
        must(torch.equal(first.selection.indices, second.selection.indices), f"step {number} chose others")
        must(first.state == second.state, f"step {number} left another state")


@SELECTOR.add(
    "the choice does not depend on losses that the plan does not ask for",
    "begin select with losses = self.planned(losses, state)",
)
def _only_what_is_planned(selecting: Selecting) -> None:
    for number, (first, second) in enumerate(zip(_steps(selecting), _steps(selecting, more=True), strict=True)):
        p, q = first.selection.probabilities, second.selection.probabilities
        must(torch.equal(first.selection.indices, second.selection.indices), f"step {number} chose others")
        must((p is None) == (q is None), f"step {number} said probabilities once only")
        must(p is None or q is None or torch.equal(p, q), f"step {number} chose by other probabilities")
        must(first.state == second.state, f"step {number} left another state")


@SELECTOR.add("the state is not changed in place", "return a new mapping: {**state, 'steps': state['steps'] + 1}")
def _state_stays(selecting: Selecting) -> None:
    selector, state = selecting.selector, selecting.selector.init()
    for step in range(STEPS):
        before = copy.deepcopy(state)
        plan = selector.plan(selecting.batch, state)
        must(state == before, "plan changed it")
        _, after = selector.select(_losses(plan, step), state, torch.Generator().manual_seed(step))
        must(state == before, "select changed it")
        state = after


@SELECTOR.add(
    "the state survives JSON", "hold numbers, texts, booleans, None, lists and mappings of texts: tensor.tolist()"
)
def _state_is_data(selecting: Selecting) -> None:
    for state in (selecting.selector.init(), *(step.state for step in _steps(selecting))):
        must(isinstance(state, Mapping), f"it is a {type(state).__name__}, no mapping")
        again: Any = json.loads(json.dumps(state))
        must(again == state, f"{state!r} became {again!r}")


@SELECTOR.add("a selection says importance if and only if has_importance()", "return True from has_importance, or None")
def _says_importance(selecting: Selecting) -> None:
    claims = selecting.selector.has_importance()
    for step in _steps(selecting):
        must((step.selection.importance is not None) == claims, f"has_importance() is {claims}")


@SELECTOR.add(
    "importance estimates the mean over all candidates without bias",
    "return factors proportional to 1 / (how likely the choice was), as docs/concepts.md has them",
    where=lambda selecting: selecting.selector.has_importance(),
)
def _importance(selecting: Selecting) -> None:
    """Compare means of three features over all candidates with their estimates from many selections."""
    selector, state = selecting.selector, selecting.selector.init()
    plan = selector.plan(selecting.batch, state)
    learner, reference = torch.rand(2, plan.count, generator=torch.Generator().manual_seed(23))
    scored = plan.count if plan.scored is None else plan.scored
    losses = Losses(
        plan.count,
        learner[:scored] if plan.learner else None,
        reference[:scored] if plan.reference is not None else None,
    )
    features = torch.stack([torch.ones(plan.count), learner, reference]).double()
    frequencies: list[Tensor] = []
    for draw in range(DRAWS):
        selection, _ = selector.select(losses, state, torch.Generator().manual_seed(draw))
        assert selection.importance is not None
        factors = selection.importance()
        one_each = factors.shape == selection.indices.shape and bool(torch.isfinite(factors).all())
        must(one_each, "it is not one finite number for each index")
        frequencies.append((features[:, selection.indices] * factors.double()).mean(1))
    estimates = torch.stack(frequencies)
    allowed = 5 * estimates.std(0) / DRAWS**0.5 + 1e-5
    off = (estimates.mean(0) - features.mean(1)).abs()
    must(bool((off <= allowed).all()), f"off by {float((off / allowed).max()):.1f} times what chance explains")
