"""Random selection: the baseline of every selector.

It keeps round(B (1 - f)) of a super-batch of B, chosen blindly, and so draws only those: nothing is scored, and nothing
is thrown away. (A baseline that draws all B and discards most pays for data that it does not use.)

Cost: none.
"""

from typing import final

import torch
from attrs import frozen

from guideplug import CandidateRequest, Losses, Selection, Selector, SelectorState, between, hook, option


@final
@frozen
class Random(Selector):
    """Keep a uniformly random share of each super-batch."""

    name = "random"
    filter_ratio: float = option(
        0.8, help="share of the super-batch that is not trained on", validator=between(0, 1, ends=False)
    )

    def plan(self, batch: int, state: SelectorState) -> CandidateRequest:
        keep = round(batch * (1 - self.filter_ratio))
        if keep < 1:
            raise ValueError(f"filter_ratio {self.filter_ratio:g} keeps none of {batch} examples: raise the batch")
        return CandidateRequest(keep)

    def select(
        self, losses: Losses, state: SelectorState, generator: torch.Generator
    ) -> tuple[Selection, SelectorState]:
        return Selection(torch.arange(losses.count), importance=lambda: torch.ones(losses.count)), state

    def has_importance(self) -> bool:
        return True


@hook
def guideplug_selectors() -> list[type[Selector]]:
    return [Random]
