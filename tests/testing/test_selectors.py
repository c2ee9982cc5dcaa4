"""Selectors that are right but for one planted defect: the kit names the law that it breaks, and no law without it."""

from typing import Any, ClassVar, final

import pytest
import torch
from attrs import frozen
from defects import broken

from guideplug import (
    CandidateRequest,
    Losses,
    Selection,
    Selector,
    SelectorState,
    option,
)
from guideplug.testing.selectors import SELECTOR, Selecting
from guideplug.testing.strategies import STRATEGY

torch.set_num_threads(1)


@final
@frozen
class Right(Selector):
    """Half of the candidates, by their losses."""

    name = "right"
    share: float = option(0.5, help="how many")
    defect: str = option("", help="what is wrong")
    memory: ClassVar[list[int]] = []

    def init(self) -> SelectorState:
        return {"steps": 0, "seen": []}

    def plan(self, batch: int, state: SelectorState) -> CandidateRequest:
        return CandidateRequest(2 * batch if self.defect == "too many" else batch, learner=True)

    def select(
        self, losses: Losses, state: SelectorState, generator: torch.Generator
    ) -> tuple[Selection, SelectorState]:
        assert losses.learner is not None
        defect, count = self.defect, losses.count // 2
        p = losses.learner.double().softmax(0)
        after: dict[str, Any] = {"steps": state["steps"] + 1, "seen": [*state["seen"], count]}
        if defect == "losses in place":
            losses.learner.sub_(1.0)
        if defect == "state in place":
            state["seen"].append(count)
        if defect == "state is no data":
            after["seen"] = p
        if defect == "a set in the state":
            after["seen"] = {1, 2}
        chosen = torch.multinomial(p, count, generator=None if defect == "draws globally" else generator)
        if defect == "duplicates":
            chosen[0] = chosen[1]
        if defect == "out of range":
            chosen[0] = losses.count
        if defect == "int32":
            chosen = chosen.int()
        if defect == "keeps state":
            self.memory.append(1)
            chosen = chosen.roll(len(self.memory))
        if defect == "more losses" and losses.reference is not None:
            chosen = chosen.flip(0)
        if defect == "more losses in p" and losses.reference is not None:
            p = losses.reference.double().softmax(0)
        weights = torch.ones(len(chosen) - 1) if defect == "weights" else None
        if defect == "sum":
            p = p * 1.01
        if defect == "negative":
            p = p - p.mean() + 1 / len(p)
            p[0], p[1] = p[0] - 1, p[1] + 1
        if defect == "too few":
            p = p[1:] / p[1:].sum()
        importance = (lambda: torch.ones(len(chosen))) if defect in ("biased", "unsaid") else None
        return Selection(chosen, weights, p, importance), after

    def has_importance(self) -> bool:
        return self.defect == "biased"


SELECTORS = [
    ("too many", "the plan draws at least one and at most a super-batch"),
    ("duplicates", "indices are distinct, of type int64 and in range; weights are one finite number each"),
    ("out of range", "indices are distinct, of type int64 and in range; weights are one finite number each"),
    ("int32", "indices are distinct, of type int64 and in range; weights are one finite number each"),
    ("weights", "indices are distinct, of type int64 and in range; weights are one finite number each"),
    ("sum", "probabilities are a distribution over all candidates"),
    ("negative", "probabilities are a distribution over all candidates"),
    ("too few", "probabilities are a distribution over all candidates"),
    ("losses in place", "losses are not changed"),
    ("draws globally", "no draw from a global generator"),
    ("keeps state", "the same losses, state and generator give the same selection"),
    ("more losses", "the choice does not depend on losses that the plan does not ask for"),
    ("more losses in p", "the choice does not depend on losses that the plan does not ask for"),
    ("state in place", "the state is not changed in place"),
    ("state is no data", "the state survives JSON"),
    ("a set in the state", "the state survives JSON"),
    ("unsaid", "a selection says importance if and only if has_importance()"),
    ("biased", "importance estimates the mean over all candidates without bias"),
]


def test_the_right_selector_keeps_all_laws() -> None:
    assert broken(STRATEGY, Right()) == {}
    assert broken(SELECTOR, Selecting(Right())) == {}


@pytest.mark.parametrize(("defect", "law"), SELECTORS)
def test_a_selectors_defect(defect: str, law: str) -> None:
    found = broken(SELECTOR, Selecting(Right(defect=defect)))
    assert law in found
    assert "\n" not in found[law]
