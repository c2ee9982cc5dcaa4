"""Selection inside each micro-batch: a super-batch in equal parts, and the inner selector's choice from each.

A super-batch of B is cut into P parts of B / P, in the order in which it was drawn, and the inner selector keeps what
it would of a super-batch of B / P. So a part can be scored and selected from while no other is in memory
(``train.accumulate`` = P evaluates as many examples at a time), and b = P b_part examples are trained on in one step.

Where the inner selector says by what factors its choice estimates means without bias, so does this one: with b_p kept
of part p, which has n_p of n candidates,

    factor_i = b / b_p * n_p / n * inner factor_i      i in part p

Source: the released code of AJEST selects so (arXiv:2509.15267): 24 of each 128 in 8 chunks, of super-batches of 2048.
Cost: the inner selector's, on the super-batch.
"""

from collections.abc import Callable, Mapping
from typing import final

import torch
from attrs import evolve, frozen

from guideplug import CandidateRequest, Losses, Recipe, Selection, Selector, SelectorState, Source, Task, option, up_to

__all__ = ["Micro"]


@final
@frozen
class Micro(Selector):
    """Any selector inside each of the equal parts of a super-batch."""

    name = "micro"
    source = Source(
        "the authors of arXiv:2509.15267",
        2025,
        "Autoguided Online Data Curation for Diffusion Model Training",
        "https://arxiv.org/abs/2509.15267",
    )
    selector: Selector = option(help="the selector inside each micro-batch")
    parts: int = option(2, help="micro-batches of a super-batch", validator=up_to(1_000_000))

    def needs(self, task: Task, main: Recipe) -> Mapping[str, Recipe | None]:
        return self.selector.needs(task, main)

    def init(self) -> SelectorState:
        return self.selector.init()

    def plan(self, batch: int, state: SelectorState) -> CandidateRequest:
        if self.selector.switched_off(state):
            return CandidateRequest(batch)
        if batch % self.parts:
            raise ValueError(
                f"a super-batch of {batch} is not cut into {self.parts} equal parts: give a multiple of {self.parts}"
            )
        inner = self.selector.plan(batch // self.parts, state)
        if inner.scored is not None:
            raise ValueError(
                f"selector {self.selector.name!r} scores only some of what it draws: put it outside, as in "
                f"{self.selector.name}({self.name}(...))"
            )
        return evolve(inner, count=inner.count * self.parts)

    def select(
        self, losses: Losses, state: SelectorState, generator: torch.Generator
    ) -> tuple[Selection, SelectorState]:
        if self.selector.switched_off(state):
            return Selection(torch.arange(losses.count), importance=lambda: torch.ones(losses.count)), state
        if losses.count % self.parts:
            raise ValueError(
                f"{losses.count} candidates are not {self.parts} equal parts: draw plan.count, a multiple of them; a "
                "data loader leaves a short last batch out with drop_last=True"
            )
        size, chosen = losses.count // self.parts, []
        for begin in range(0, losses.count, size):
            rows = slice(begin, begin + size)
            learner, reference = (None if one is None else one[rows] for one in (losses.learner, losses.reference))
            selection, state = self.selector.select(Losses(size, learner, reference), state, generator)
            chosen.append(selection)
        return _joined(chosen, size), state

    def has_importance(self) -> bool:
        return self.selector.has_importance()

    def switched_off(self, state: SelectorState) -> bool:
        return self.selector.switched_off(state)


def _joined(parts: list[Selection], size: int) -> Selection:
    """The selections of parts of ``size`` candidates each as one."""
    kept = [len(part.indices) for part in parts]
    shares = [count / sum(kept) for count in kept]
    probabilities = [part.probabilities for part in parts]
    factors: list[Callable[[], torch.Tensor] | None] = [part.importance for part in parts]

    def importance() -> torch.Tensor:
        return torch.cat(
            [one() / (share * len(parts)) for one, share in zip(factors, shares, strict=True) if one is not None]
        )

    weighted = any(part.weights is not None for part in parts)
    return Selection(
        torch.cat([part.indices + number * size for number, part in enumerate(parts)]),
        weights=torch.cat([torch.ones(len(one.indices)) if one.weights is None else one.weights for one in parts])
        if weighted
        else None,
        probabilities=None
        if any(one is None for one in probabilities)
        else torch.cat([one * share for one, share in zip(probabilities, shares, strict=True) if one is not None]),
        importance=None if any(one is None for one in factors) else importance,
    )
