"""Selection from a part of each super-batch: some candidates are scored and selected, the others drawn blindly.

Of a super-batch of B, S = share B candidates are scored, and the inner selector keeps what it would of a super-batch of
S. Of the B - S others (1 - f) (B - S) are trained on without being looked at, and the rest of them is never drawn. So
scoring costs ``share`` of what it would, and what is learnt is between that of the selector and of random selection.

Where the inner selector says by what factors its choice estimates means without bias, so does this one: with b_S and
b_R examples from the two parts, b = b_S + b_R, and n_S + b_R candidates drawn,

    factor_i = b / b_S * n_S / (n_S + b_R) * inner factor_i      scored
    factor_i = b / (n_S + b_R)                                   blind

Source: none; JEST's authors save scoring by coarser images instead (arXiv:2406.17711, section 3.2).
Cost: the inner selector's, on S candidates.
"""

from collections.abc import Mapping
from typing import final

import torch
from attrs import evolve, frozen

from guideplug import CandidateRequest, Losses, Recipe, Selection, Selector, SelectorState, Task, between, hook, option
from guideplug_partial.micro import Micro


@final
@frozen
class Partial(Selector):
    """Any selector on a share of each super-batch; the others are drawn uniformly."""

    name = "partial"
    selector: Selector = option(help="the selector of the candidates that are scored")
    share: float = option(0.5, help="share of the super-batch that is scored", validator=between(0, 1, ends=False))
    filter_ratio: float = option(
        0.8, help="share of the unscored ones that is not trained on", validator=between(0, 1, ends=False)
    )

    def needs(self, task: Task, main: Recipe) -> Mapping[str, Recipe | None]:
        return self.selector.needs(task, main)

    def init(self) -> SelectorState:
        return self.selector.init()

    def plan(self, batch: int, state: SelectorState) -> CandidateRequest:
        if self.selector.switched_off(state):
            return CandidateRequest(batch)
        scored = round(batch * self.share)
        blind = round((batch - scored) * (1 - self.filter_ratio))
        if not scored or not blind:
            raise ValueError(
                f"share {self.share:g} and filter_ratio {self.filter_ratio:g} of a super-batch of {batch} leave "
                f"{scored} to be scored and {blind} to be drawn blindly: give a larger batch"
            )
        inner = self.selector.plan(scored, state)
        if inner.scored is not None or not (inner.learner or inner.reference is not None):
            raise ValueError(
                f"selector {self.selector.name!r} does not score all that it draws: give one that does, such as jest"
            )
        return evolve(inner, count=inner.count + blind, scored=inner.count)

    def select(
        self, losses: Losses, state: SelectorState, generator: torch.Generator
    ) -> tuple[Selection, SelectorState]:
        if self.selector.switched_off(state):
            return Selection(torch.arange(losses.count), importance=lambda: torch.ones(losses.count)), state
        known = losses.learner if losses.learner is not None else losses.reference
        if known is None or len(known) == losses.count:
            share = "none" if known is None else f"all {losses.count}"
            raise ValueError(f"{share} of the candidates are scored: draw plan.count, and score the first plan.scored")
        scored, blind = len(known), losses.count - len(known)
        inner, state = self.selector.select(Losses(scored, losses.learner, losses.reference), state, generator)
        kept = len(inner.indices)
        selection = Selection(
            torch.cat([inner.indices, torch.arange(scored, losses.count)]),
            weights=None if inner.weights is None else torch.cat([inner.weights, inner.weights.new_ones(blind)]),
            probabilities=None
            if inner.probabilities is None
            else torch.cat([inner.probabilities * kept, inner.probabilities.new_ones(blind)]) / (kept + blind),
        )
        if inner.importance is None:
            return selection, state
        whole, of_scored = (kept + blind) / losses.count, inner.importance

        def importance() -> torch.Tensor:
            return torch.cat([of_scored() * (whole * scored / kept), torch.full((blind,), whole)])

        return evolve(selection, importance=importance), state

    def has_importance(self) -> bool:
        return self.selector.has_importance()

    def switched_off(self, state: SelectorState) -> bool:
        return self.selector.switched_off(state)


@hook
def guideplug_selectors() -> list[type[Selector]]:
    return [Partial, Micro]
