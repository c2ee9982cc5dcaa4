"""Selectors that break their contract, each in one way; a plugin file, loaded beside ``toy.py``."""

import math
from typing import Any

import numpy as np
import torch
from attrs import frozen

from guideplug import CandidateRequest, Selection, Selector, hook


def choosing(name: str, doc: str, answer: Any) -> type[Selector]:
    """A selector that returns ``answer(losses)``, a selection."""

    def plan(self, batch, state):
        return CandidateRequest(batch, learner=True)

    def select(self, losses, state, generator):
        return answer(losses), state

    methods = {"__module__": __name__, "name": name, "__doc__": doc, "plan": plan, "select": select}
    return frozen(type(name.title().replace("-", ""), (Selector,), methods))


def planning(name: str, doc: str, request: Any) -> type[Selector]:
    """A selector that plans ``request(batch)`` and takes the first half."""

    def plan(self, batch, state):
        return request(batch)

    def select(self, losses, state, generator):
        return Selection(torch.arange(max(1, losses.count // 2))), state

    methods = {"__module__": __name__, "name": name, "__doc__": doc, "plan": plan, "select": select}
    return frozen(type(name.title().replace("-", ""), (Selector,), methods))


def remembering(name: str, doc: str, remember: Any, init: Any = dict) -> type[Selector]:
    """A selector whose next state is ``remember(state)``."""

    def plan(self, batch, state):
        return CandidateRequest(batch)

    def select(self, losses, state, generator):
        return Selection(torch.arange(max(1, losses.count // 2))), remember(state)

    def begin(self):
        return init()

    methods = {"__module__": __name__, "name": name, "__doc__": doc, "plan": plan, "select": select, "init": begin}
    return frozen(type(name.title().replace("-", ""), (Selector,), methods))


def half(count: int, dtype: torch.dtype = torch.int64) -> torch.Tensor:
    return torch.arange(max(1, count // 2)).to(dtype)


def likely(probabilities: Any) -> Any:
    return lambda losses: Selection(half(losses.count), probabilities=probabilities(losses.count))


def weighted(weights: Any) -> Any:
    return lambda losses: Selection(half(losses.count), weights=weights(len(half(losses.count))))


def negative(count: int) -> torch.Tensor:
    p = torch.full((count,), 1.0 / count)
    p[0], p[1] = -1.0, 1.0 + 2.0 / count
    return p


def mutates(losses: Any) -> Selection:
    chosen = losses.learner.topk(losses.count // 2).indices
    losses.learner.zero_()
    return Selection(chosen)


def exits(losses: Any) -> Selection:
    raise SystemExit(0)


def raises(losses: Any) -> Selection:
    raise LookupError("no\nloss")


def global_draws(losses: Any) -> Selection:
    return Selection(torch.randperm(losses.count)[: losses.count // 2])


def mutated(state: Any) -> Any:
    state["calls"] = state.get("calls", 0) + 1
    return state


WRONG: list[tuple[type[Any], str]] = [
    (choosing("negative-probability", "A negative probability.", likely(negative)), "probabilities"),
    (choosing("unnormalised", "Probabilities that sum to more.", likely(torch.ones)), "probabilities"),
    (choosing("nan-probability", "No numbers.", likely(lambda n: torch.full((n,), math.nan))), "probabilities"),
    (choosing("short-probabilities", "Too few.", likely(lambda n: torch.full((n // 2,), 2.0 / n))), "probabilities"),
    (choosing("whole-probabilities", "Whole numbers.", likely(lambda n: torch.eye(n, dtype=torch.long)[0])),
     "probabilities"),
    (choosing("list-probabilities", "A list.", likely(lambda n: [1.0 / n] * n)), "probabilities"),
    (choosing("nan-weights", "Weights that are no numbers.", weighted(lambda n: torch.full((n,), math.nan))),
     "weights"),
    (choosing("long-weights", "Too many weights.", weighted(lambda n: torch.ones(n + 1))), "weights"),
    (choosing("text-weights", "Texts as weights.", weighted(lambda n: ["1"] * n)), "weights"),
    (choosing("whole-weights", "Complex weights.", weighted(lambda n: torch.ones(n) * 1j)), "weights"),
    (choosing("out-of-range", "An index too high.", lambda losses: Selection(half(losses.count) + losses.count)),
     "out of range"),
    (choosing("negative-index", "A negative index.", lambda losses: Selection(half(losses.count) - 1)),
     "out of range"),
    (choosing("repeated", "An index twice.", lambda losses: Selection(half(losses.count) // 2)), "duplicate"),
    (choosing("float-indices", "Indices of numbers.", lambda losses: Selection(half(losses.count, torch.float32))),
     "float32"),
    (choosing("list-indices", "A list of indices.", lambda losses: Selection([0, 1])), "indices"),
    (choosing("array-indices", "An array.", lambda losses: Selection(np.arange(2))), "indices"),
    (choosing("empty", "No index.", lambda losses: Selection(half(losses.count)[:0])), "no indices"),
    (choosing("returns-tensor", "A tensor.", lambda losses: half(losses.count)), "Selection"),
    (choosing("returns-none", "None.", lambda losses: None), "Selection"),
    (choosing("mutates-losses", "Losses set to 0.", mutates), "changed"),
    (choosing("global-draws", "A draw from the global generator.", global_draws), "global generator"),
    (choosing("raises", "Raises.", raises), "LookupError"),
    (choosing("exits", "Exits.", exits), "SystemExit"),
    (planning("more-than-batch", "More candidates than the batch.", lambda batch: CandidateRequest(2 * batch)),
     "candidates"),
    (planning("no-candidates", "No candidate.", lambda batch: CandidateRequest(0)), "candidates"),
    (planning("negative-candidates", "Fewer than none.", lambda batch: CandidateRequest(-4)), "candidates"),
    (planning("half-candidate", "Half a candidate.", lambda batch: CandidateRequest(batch / 2)), "candidates"),
    (planning("scores-too-many", "More scored than drawn.",
              lambda batch: CandidateRequest(batch, learner=True, scored=batch + 5)), "scores"),
    (planning("plans-number", "A number as a plan.", lambda batch: batch), "CandidateRequest"),
    (planning("plans-none", "None as a plan.", lambda batch: None), "CandidateRequest"),
    (planning("unknown-role", "A reference that it does not need.",
              lambda batch: CandidateRequest(batch, reference="critic")), "critic"),
    (remembering("tensor-state", "A tensor in its state.", lambda state: {"seen": torch.ones(2)}), "state"),
    (remembering("object-state", "An object in its state.", lambda state: {"seen": object()}), "state"),
    (remembering("nan-state", "No number in its state.", lambda state: {"seen": math.nan}), "state"),
    (remembering("list-state", "A list as its state.", lambda state: [1]), "state"),
    (remembering("none-state", "None as its state.", lambda state: None), "state"),
    (remembering("number-keys", "Numbers as names of its state.", lambda state: {1: 2}), "state"),
    (remembering("object-init", "An object in its first state.", lambda state: {}, lambda: {"seen": object()}),
     "state"),
    (remembering("mutated-state", "Its state changed in place.", mutated), "state"),
]  # fmt: skip


@hook
def guideplug_selectors() -> list[type[Selector]]:
    return [cls for cls, _ in WRONG]
