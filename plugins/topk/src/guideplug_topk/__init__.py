"""Top-k selection: the examples of a super-batch with the largest score, for certain.

    loss    keep the largest L_i            those the learner is worst at
    rho     keep the largest L_i - R_i      reducible holdout loss: those that can be learnt and are not yet

with the learner's losses L and the reference's R. Both keep b = round(B (1 - f)) of B. Where scores are equal the
candidate that was drawn first is kept. A choice without chance has no importance weights: it changes what is learnt.

`rho` ("RHO-LOSS" in its paper) is JEST's learnability taken greedily; the paper's reference knows held-out data.

Sources: S. Mindermann et al. 2022, "Prioritized training on points that are learnable, worth learning, and not yet
learnt", arXiv:2206.07137 (rho, algorithm 1); K. Kawaguchi and H. Lu 2020, "Ordered SGD: a new stochastic optimization
framework for empirical risk minimization", arXiv:1907.04371 (loss: the q largest of a batch, and what that minimises).
I. Loshchilov and F. Hutter 2015, arXiv:1511.06343, prefer large losses too, but by chance and by rank in all the data.
Cost: a forward pass of the learner (rho: and of the reference) on the super-batch, without a graph; then O(B).
"""

from collections.abc import Mapping
from typing import final

import numpy as np
import torch
from attrs import frozen
from numpy.typing import NDArray

from guideplug import (
    CandidateRequest,
    Losses,
    Recipe,
    Selection,
    Selector,
    SelectorState,
    Source,
    Task,
    between,
    hook,
    option,
)


@final
@frozen
class LargestLoss(Selector):
    """Keep the examples that the learner's loss is largest on."""

    name = "loss"
    source = Source(
        "K. Kawaguchi, H. Lu",
        2020,
        "Ordered SGD: A New Stochastic Optimization Framework for Empirical Risk Minimization",
        "https://arxiv.org/abs/1907.04371",
    )
    filter_ratio: float = option(
        0.8, help="share of the super-batch that is not trained on", validator=between(0, 1, ends=False)
    )

    def plan(self, batch: int, state: SelectorState) -> CandidateRequest:
        kept(batch, self.filter_ratio)
        return CandidateRequest(batch, learner=True)

    def select(
        self, losses: Losses, state: SelectorState, generator: torch.Generator
    ) -> tuple[Selection, SelectorState]:
        losses = self.planned(losses, state)
        assert losses.learner is not None
        return Selection(largest(losses.learner.double().numpy(), kept(losses.count, self.filter_ratio))), state


@final
@frozen
class ReducibleLoss(Selector):
    """Keep the examples with the largest reducible loss: the learner's less the reference's."""

    name = "rho"
    source = Source(
        "S. Mindermann, J. Brauner, M. Razzak, M. Sharma, A. Kirsch, W. Xu, B. Höltgen, A. N. Gomez, A. Morisot, "
        "S. Farquhar, Y. Gal",
        2022,
        "Prioritized Training on Points that are Learnable, Worth Learning, and Not Yet Learnt",
        "https://arxiv.org/abs/2206.07137",
        "algorithm 1",
    )
    filter_ratio: float = option(
        0.8, help="share of the super-batch that is not trained on", validator=between(0, 1, ends=False)
    )
    reference: str = option("weak", help="role of the reference network")

    def needs(self, task: Task, main: Recipe) -> Mapping[str, Recipe | None]:
        return {self.reference: task.recipe("weak", main)}

    def plan(self, batch: int, state: SelectorState) -> CandidateRequest:
        kept(batch, self.filter_ratio)
        return CandidateRequest(batch, learner=True, reference=self.reference)

    def select(
        self, losses: Losses, state: SelectorState, generator: torch.Generator
    ) -> tuple[Selection, SelectorState]:
        losses = self.planned(losses, state)
        assert losses.learner is not None
        assert losses.reference is not None
        # Quarters: the difference of the largest finite losses is finite, and the order is the same.
        reducible = losses.learner.double().numpy() / 4 - losses.reference.double().numpy() / 4
        return Selection(largest(reducible, kept(losses.count, self.filter_ratio))), state


def kept(batch: int, filter_ratio: float) -> int:
    """How many of ``batch`` candidates are kept: as many as the selector ``random`` keeps.

    Raises:
        ValueError: none would be.
    """
    count = round(batch * (1 - filter_ratio))
    if count < 1:
        raise ValueError(f"filter_ratio {filter_ratio:g} keeps none of {batch} examples: raise the batch")
    return count


def largest(scores: NDArray[np.float64], count: int) -> torch.Tensor:
    """The indices of the ``count`` largest scores (B,), ascending; among equal scores the first; O(B)."""
    least = np.partition(scores, len(scores) - count)[len(scores) - count]
    above = np.flatnonzero(scores > least)
    ties = np.flatnonzero(scores == least)[: count - len(above)]
    return torch.from_numpy(np.sort(np.concatenate([above, ties])))


@hook
def guideplug_selectors() -> list[type[Selector]]:
    return [LargestLoss, ReducibleLoss]
