"""Selectors: the choice of training examples from a super-batch.

Per training step a selector first makes a plan (`plan`): the number of candidates, and whether it needs the learner's
and the reference's losses on them. Only requested losses are computed. Then it selects (`select`). Selectors are
stateless: `SelectorState` is an argument and a result, plain data, saved as JSON.
"""

import abc
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Self, TypeAlias

import torch
from attrs import frozen
from torch import Tensor

from guideplug.config import Duration, Strategy, rewrite_inner
from guideplug.guide import Guider
from guideplug.recipe import Recipe
from guideplug.task import Task

__all__ = ["CandidateRequest", "Losses", "Selection", "Selector", "SelectorState"]

SelectorState: TypeAlias = Mapping[str, Any]
"""A selector's memory: a mapping of names to numbers, texts, booleans, None, lists, or such mappings."""


@frozen
class CandidateRequest:
    """A selector's plan of one step.

    Args:
        count: the number of candidates.
        scored: the number of scored candidates, the first ones; None for all. Losses are of these alone.
        separate_noise: whether the reference is scored on the same clean examples with its own noise levels and noise,
            instead of on the learner's noisy ones.
        learner: whether the learner's losses are needed.
        reference: the role of the network whose losses are needed, or None.
        guider: the guider of the learner in scoring, with the networks of `Selector.needs`; None for the learner alone.
            The learner is trained without it in any case.
    """

    count: int
    learner: bool = False
    reference: str | None = None
    guider: Guider | None = None
    scored: int | None = None
    separate_noise: bool = False


@frozen
class Losses:
    """The losses of a step's candidates.

    Args:
        count: the number of candidates.
        learner, reference: the loss of each network per candidate, (count,), or per scored candidate, the first ones;
            finite floating-point numbers on the CPU, without a graph. None if not computed.

    Raises:
        ValueError: there are no candidates, or losses have another type or shape.
    """

    count: int
    learner: Tensor | None = None
    reference: Tensor | None = None

    def __attrs_post_init__(self) -> None:
        if self.count < 1:
            raise ValueError(f"losses of {self.count} candidates: give at least one")
        for name, losses in (("learner", self.learner), ("reference", self.reference)):
            if losses is not None:
                _check_losses(name, losses, self.count)
        if self.learner is not None and self.reference is not None and len(self.learner) != len(self.reference):
            raise ValueError(
                f"there are {len(self.learner)} losses of the learner and {len(self.reference)} of the reference: "
                "score both on the same candidates"
            )

    def planned(self, draw: CandidateRequest) -> "Losses":
        """The losses requested by a plan, and no others.

        Raises:
            ValueError: a loss is missing, or its number differs from that of the scored candidates.
        """
        learner = self.learner if draw.learner else None
        reference = self.reference if draw.reference is not None else None
        scored = self.count if draw.scored is None else draw.scored
        for name, needed, losses in (
            ("learner", draw.learner, learner),
            ("reference", draw.reference is not None, reference),
        ):
            if needed and losses is None:
                raise ValueError(f"the {name}'s losses are missing: pass them, as in Losses({self.count}, {name}=...)")
            if losses is not None and len(losses) != scored:
                raise ValueError(
                    f"there are {len(losses)} losses of the {name}, and {scored} of {self.count} candidates are "
                    f"scored: pass one for each, of shape ({scored},)"
                )
        return Losses(self.count, learner, reference)


def _check_losses(name: str, losses: Tensor, count: int) -> None:
    """Refuse invalid losses, with advice on what to pass."""
    whose = f"the {name}'s losses are"
    if not isinstance(losses, Tensor):
        raise ValueError(f"{whose} a {type(losses).__name__}: pass a tensor of shape ({count},)")
    if losses.ndim != 1:
        raise ValueError(
            f"{whose} of shape {tuple(losses.shape)}: pass one number for each candidate, of shape ({count},), such as "
            "error.square().flatten(1).mean(1)"
        )
    if not 1 <= len(losses) <= count:
        raise ValueError(f"{whose} {len(losses)} for {count} candidates: pass one for each, of shape ({count},)")
    if not losses.is_floating_point():
        raise ValueError(f"{whose} of type {losses.dtype}: pass floating-point numbers")
    if losses.requires_grad:
        raise ValueError(f"{whose} part of a graph: compute them under torch.no_grad(), or pass losses.detach()")
    if losses.device.type != "cpu":
        raise ValueError(f"{whose} on {losses.device}: pass losses.cpu()")
    if not bool(torch.isfinite(losses).all()):
        raise ValueError(f"{whose} not all finite: stop, or lower the learning rate")


@frozen
class Selection:
    """The selected examples of a step.

    Args:
        indices: distinct candidates, int64, (b,).
        weights: the factor on each selected example's loss, (b,), or None for 1.
        probabilities: the distribution over all candidates, (count,), of the selection, or None if it does not depend
            on the candidates.
        importance: a function that computes factors (b,) such that the mean over the selected of factor * f is an
            unbiased estimate of the mean of f over all candidates, for any f of a candidate; or None if there are none,
            as for a deterministic selection. Training does not use them; the selector ``unbiased`` uses them as
            weights.
    """

    indices: Tensor
    weights: Tensor | None = None
    probabilities: Tensor | None = None
    importance: Callable[[], Tensor] | None = None

    @property
    def effective_sample_size(self) -> float | None:
        """1 / (count * sum p^2): 1 for a uniform distribution, 1 / count for a certain candidate."""
        if self.probabilities is None:
            return None
        p = self.probabilities
        return float(1.0 / (len(p) * p.square().sum()))


class Selector(Strategy):
    """A selection of training examples. Final frozen attrs classes; models, generators and state are arguments."""

    kind: ClassVar[str] = "selector"

    def needs(self, task: "Task", main: "Recipe") -> Mapping[str, "Recipe | None"]:
        """The roles of its scoring networks, with their default recipes."""
        return {}

    def init(self) -> SelectorState:
        """The state before the first step."""
        return {}

    @abc.abstractmethod
    def plan(self, batch: int, state: SelectorState) -> CandidateRequest:
        """The plan of a step with super-batch size ``batch``.

        Raises:
            ValueError: the super-batch is too small for the options.
        """

    @abc.abstractmethod
    def select(
        self, losses: Losses, state: SelectorState, generator: torch.Generator
    ) -> tuple[Selection, SelectorState]:
        """The selection, and the state for the next step.

        Args:
            losses: at least the planned ones; `planned` returns these, and raises if one is missing.
            state: the state of the previous step, or of `init`.
            generator: the step's random generator, on the CPU.

        Raises:
            ValueError: losses are missing, or are of too few candidates for the options.
        """

    def planned(self, losses: Losses, state: SelectorState) -> Losses:
        """The losses requested by its plan for a super-batch of this size, and no others.

        Raises:
            ValueError: a loss is missing or of another number, or the super-batch is too small for the options.
        """
        try:
            draw = self.plan(losses.count, state)
        except ValueError as error:
            raise ValueError(f"{error}; a data loader leaves a short last batch out with drop_last=True") from None
        return losses.planned(draw)

    def lasting(self, duration: Duration) -> Self:
        """The selector for a training of a duration: options in shares of the training become steps.

        By default this is applied to the selectors in its options.

        Raises:
            ValueError: an option cannot be converted for such a duration.
        """

        def lasting(part: Strategy) -> Strategy:
            return part.lasting(duration) if isinstance(part, Selector) else part

        return rewrite_inner(self, lasting, Strategy)

    def has_importance(self) -> bool:
        """Whether all of its selections have `Selection.importance`."""
        return False

    def switched_off(self, state: SelectorState) -> bool:
        """Whether it selects no more for the rest of the training."""
        return False
