"""Selection that leaves the expected gradient as it was: any selector, its examples weighted by their importance.

A selector with chances says by what factors its chosen examples estimate a mean over the whole super-batch without
bias. Taken as weights on their losses,

    E [1 / b sum over the chosen of factor_i grad f_i] = 1 / B sum over all of grad f_i

so that training follows the gradient of the whole super-batch, with another noise: what is learnt does not change, only
how steadily. Without this a selector changes what is learnt, which is what most are for.

Sources: N. Duffield, C. Lund and M. Thorup 2007, "Priority sampling for estimation of arbitrary subset sums", J. ACM
54(6); A. Katharopoulos and F. Fleuret 2018, "Not all samples are created equal: deep learning with importance
sampling", arXiv:1803.00942 (such weights in training). Cost: the inner selector's.
"""

from collections.abc import Mapping
from typing import final

import torch
from attrs import evolve, frozen

from guideplug import CandidateRequest, Losses, Recipe, Selection, Selector, SelectorState, Source, Task, hook, option


@final
@frozen
class Unbiased(Selector):
    """Any random selector, weighted so that the expected gradient is that of the whole super-batch."""

    name = "unbiased"
    source = Source(
        "N. Duffield, C. Lund, M. Thorup",
        2007,
        "Priority sampling for estimation of arbitrary subset sums",
        "https://doi.org/10.1145/1314690.1314696",
    )
    selector: Selector = option(help="the selector that chooses; one that says how likely its choices are")

    def needs(self, task: Task, main: Recipe) -> Mapping[str, Recipe | None]:
        return self.selector.needs(task, main)

    def init(self) -> SelectorState:
        return self.selector.init()

    def plan(self, batch: int, state: SelectorState) -> CandidateRequest:
        if not self.selector.has_importance():
            raise ValueError(
                f"selector {self.selector.name!r} does not say how likely its choices are, so they cannot be weighted: "
                "give one with chances, such as jest"
            )
        return self.selector.plan(batch, state)

    def select(
        self, losses: Losses, state: SelectorState, generator: torch.Generator
    ) -> tuple[Selection, SelectorState]:
        selection, state = self.selector.select(losses, state, generator)
        if selection.importance is None:
            raise ValueError(f"selector {self.selector.name!r} said no importance, although it has_importance()")
        weights = selection.importance().float()
        if selection.weights is not None:
            weights = weights * selection.weights
        return evolve(selection, weights=weights), state

    def has_importance(self) -> bool:
        return True

    def switched_off(self, state: SelectorState) -> bool:
        return self.selector.switched_off(state)


@hook
def guideplug_selectors() -> list[type[Selector]]:
    return [Unbiased]
