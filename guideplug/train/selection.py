"""What a selector answers in a training, checked where it enters: plan, selection and state.

Losses and selections are on the host, so their values are read; a state is looked at as JSON where it is saved, and in
the first step.
"""

import copy
import json
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from guideplug.config import described, named
from guideplug.denoise import unwritten
from guideplug.errors import SelectionError
from guideplug.rng import undrawn
from guideplug.select import CandidateRequest, Losses, Selection, Selector, SelectorState

__all__ = ["check_state", "checked_selection", "plan_of", "select", "tried_plan"]

ONE = 1e-3
"""Largest distance of a sum of probabilities from 1."""


def _refusal(selector: Selector, contract: str) -> SelectionError:
    return SelectionError(f"{named(selector)} {contract}")


def plan_of(selector: Selector, batch: int, state: SelectorState) -> CandidateRequest:
    """The plan of a step, checked.

    Raises:
        SelectionError: it is none, or draws or scores more or fewer candidates than there are.
    """
    plan = selector.plan(batch, state)
    if not isinstance(plan, CandidateRequest):
        raise _refusal(selector, f"planned {described(plan)}: return a CandidateRequest(count)")
    for what, number, low, high in (
        ("draws", plan.count, 1, batch),
        ("scores", plan.scored, 0, plan.count),
    ):
        if (number is not None or what == "draws") and not (type(number) is int and low <= number <= high):
            raise _refusal(
                selector, f"{what} {described(number)} candidates of {high}: plan a whole number from {low} to {high}"
            )
    return plan


def select(
    selector: Selector, losses: Losses, state: SelectorState, generator: torch.Generator
) -> tuple[Selection, SelectorState]:
    """The selection of a step and the next state, checked.

    Raises:
        SelectionError: they cannot be used, or the losses were changed.
        ValueError: the selector refuses the losses.
    """
    scores = {"the learner's losses": losses.learner, "the reference's losses": losses.reference}
    inputs = {name: part for name, part in scores.items() if part is not None}
    with unwritten(partial(_refusal, selector), **inputs):
        answer = selector.select(losses, state, generator)
    if not isinstance(answer, tuple) or len(answer) != 2:
        raise _refusal(selector, f"returned {described(answer)}: return a Selection, and the next state")
    selection, after = answer
    if not isinstance(after, Mapping):
        raise _refusal(selector, f"returned {described(after)} as its state: return a mapping, such as the one before")
    return checked_selection(selection, losses.count, selector), after


def checked_selection(selection: Selection, count: int, selector: Selector) -> Selection:
    """The selection, validated.

    Raises:
        SelectionError: the indices are not integers, empty, repeated or out of range, or weights or probabilities do
            not fit them.
    """
    if not isinstance(selection, Selection):
        raise _refusal(selector, f"returned {described(selection)}: return a Selection of indices")
    indices, refusal = selection.indices, partial(_refusal, selector)
    if not isinstance(indices, Tensor) or indices.ndim != 1:
        raise refusal("returned indices that are no one-dimensional tensor: return indices of shape (b,)")
    if indices.dtype != torch.int64:
        raise refusal(f"returned indices of type {indices.dtype}: return int64 indices")
    if len(indices) == 0:
        raise refusal(f"returned no indices for {count} candidates: return at least one")
    chosen = indices.cpu().numpy()
    low, high = int(chosen.min()), int(chosen.max())
    if low < 0 or high >= count:
        raise refusal(f"returned index {low if low < 0 else high}, out of range for {count} candidates")
    taken = np.zeros(count, dtype=bool)
    taken[chosen] = True
    duplicates = len(chosen) - int(taken.sum())
    if duplicates:
        raise refusal(f"returned {duplicates} duplicate indices: each at most once")
    weights = selection.weights
    if weights is not None and not _numbers(weights, len(indices)):
        raise refusal(f"returned weights that are not one finite number for each of {len(indices)} indices")
    probabilities = selection.probabilities
    if probabilities is not None:
        if not _numbers(probabilities, count):
            raise refusal(f"returned probabilities that are not one finite number for each of {count} candidates")
        least, total = float(probabilities.min()), float(probabilities.sum())
        if least < 0 or abs(total - 1) > ONE:
            raise refusal(
                f"returned probabilities from {least:g} that sum to {total:g}: return those of a distribution, or None"
            )
    return selection


def _numbers(values: object, count: int) -> bool:
    """Whether values are one finite floating-point number for each of ``count``."""
    return (
        isinstance(values, Tensor)
        and tuple(values.shape) == (count,)
        and values.is_floating_point()
        and bool(torch.isfinite(values).all())
    )


def check_state(selector: Selector, state: SelectorState) -> None:
    """Refuse a state that is not saved and read as itself.

    Raises:
        SelectionError: the state, and what it may hold.
    """
    try:
        again: Any = json.loads(json.dumps(state, allow_nan=False))
        same = bool(again == state)
    except (TypeError, ValueError, RecursionError):
        same = False
    if not same:
        raise _refusal(
            selector,
            f"has a state that JSON does not keep, {_cropped(state)}: hold finite numbers, texts, booleans, None, "
            "lists and mappings of texts",
        )


def _cropped(state: object) -> str:
    text = " ".join(repr(state).split())
    return text if len(text) <= 80 else f"{text[:80]}..."


def tried_plan(selector: Selector, batch: int) -> CandidateRequest:
    """The plan of the first step, after a trial selection by drawn losses.

    Raises:
        SelectionError: plan, selection or state cannot be used, the state was changed in place, or something was drawn
            from a global generator.
        ValueError: the selector refuses a super-batch of this size.
    """
    state = selector.init()
    if not isinstance(state, Mapping):
        raise _refusal(selector, f"begins with {described(state)} as its state: return a mapping from init")
    check_state(selector, state)
    before = copy.deepcopy(dict(state))
    plan = plan_of(selector, batch, state)
    scored = plan.count if plan.scored is None else plan.scored
    generator = torch.Generator().manual_seed(0)
    learner, reference = (torch.rand(max(scored, 1), generator=generator) for _ in range(2))
    losses = Losses(
        plan.count,
        learner if plan.learner and scored else None,
        reference if plan.reference is not None and scored else None,
    )
    with undrawn(partial(_refusal, selector)):
        _, after = select(selector, losses, state, generator)
    check_state(selector, after)
    if dict(state) != before:
        raise _refusal(selector, "changed its state in place: return a new mapping, as in {**state, 'steps': 1}")
    return plan
