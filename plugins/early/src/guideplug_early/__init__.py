"""Early selection: any selector at first, the whole super-batch once selection no longer pays.

Three rules, with l_t and r_t the mean losses of learner and reference on super-batch t:

- ``early(..., until=none)`` (the AJEST authors' rule): off for good at the first super-batch with l_t < r_t: from then
  on the reference has nothing to teach. As in the released code, that super-batch is already trained on whole.
- ``early(..., until=231it)``: off after so many steps, ``until=2Mex`` after so many examples back-propagated, or
  ``until=0.05`` after this share of the training, in the unit of its duration, rounded up (the paper's text speaks of
  about 5 %).
- ``early-smoothed(..., length=L, patience=P)`` (ours): off for good once smoothed means have had that order for P
  super-batches in a row, so that one noisy super-batch cannot trip it. The means are exponential averages, corrected
  for their beginning as in Adam:

      m_t = (1 - 1/L) m_(t-1) + l_t / L,    smoothed l_t = m_t / (1 - (1 - 1/L)^t)

Source: "Autoguided online data curation for diffusion model training" 2025, arXiv:2509.15267; the first rule is the
released code's. Cost: the inner selector's while on; afterwards none, and every example drawn is trained on.
"""

import abc
from collections.abc import Mapping
from typing import Any, final

import torch
from attrs import evolve, frozen

from guideplug import (
    CandidateRequest,
    Duration,
    Losses,
    Recipe,
    Selection,
    Selector,
    SelectorState,
    Source,
    Task,
    hook,
    option,
    up_to,
)

AJEST = Source(
    "the authors of arXiv:2509.15267",
    2025,
    "Autoguided Online Data Curation for Diffusion Model Training",
    "https://arxiv.org/abs/2509.15267",
)


@frozen
class Stopping(Selector):
    """A selector that a rule switches off permanently."""

    selector: Selector = option(help="the selector that is on at first")

    @abc.abstractmethod
    def rule(self, losses: Losses, memory: SelectorState) -> tuple[bool, SelectorState]:
        """Whether these losses turn it off, their super-batch included; and what to remember until the next."""

    def over(self, memory: SelectorState) -> bool:
        """Whether the super-batch that was selected from was the last one."""
        return False

    def remember(self, memory: SelectorState, selection: Selection) -> SelectorState:
        """What to remember of a selection besides what the rule does."""
        return memory

    @abc.abstractmethod
    def unscored(self) -> str:
        """What to do about a selector that does not score both networks; empty where the rule needs no scores."""

    def needs(self, task: Task, main: Recipe) -> Mapping[str, Recipe | None]:
        return self.selector.needs(task, main)

    def init(self) -> SelectorState:
        return {"off": False, "rule": {}, "inner": self.selector.init()}

    def plan(self, batch: int, state: SelectorState) -> CandidateRequest:
        if state["off"]:
            return CandidateRequest(batch)
        draw = self.selector.plan(batch, state["inner"])
        if self.unscored() and not (draw.learner and draw.reference is not None):
            raise ValueError(
                f"selector {self.selector.name!r} does not score learner and reference, so the rule cannot tell when "
                f"to stop: {self.unscored()}"
            )
        return draw

    def select(
        self, losses: Losses, state: SelectorState, generator: torch.Generator
    ) -> tuple[Selection, SelectorState]:
        off, memory = (True, state["rule"]) if state["off"] else self.rule(losses, state["rule"])
        if off:
            importance = (lambda: torch.ones(losses.count)) if self.has_importance() else None
            whole = Selection(torch.arange(losses.count), importance=importance)
            return whole, {"off": True, "rule": memory, "inner": state["inner"]}
        selection, inner = self.selector.select(losses, state["inner"], generator)
        memory = self.remember(memory, selection)
        return selection, {
            "off": self.over(memory) or self.selector.switched_off(inner),
            "rule": memory,
            "inner": inner,
        }

    def has_importance(self) -> bool:
        return self.selector.has_importance()

    def switched_off(self, state: SelectorState) -> bool:
        return bool(state["off"])


def mean_losses(losses: Losses) -> tuple[float, float]:
    """The learner's and the reference's mean loss on a super-batch."""
    if losses.learner is None or losses.reference is None:
        raise ValueError("the rule compares the learner's losses with the reference's, and one of them is missing")
    return float(losses.learner.double().mean()), float(losses.reference.double().mean())


def _until(value: Any) -> Duration | float | None:
    if value is None:
        return None
    return (
        float(value) if isinstance(value, float) or (type(value) is int and abs(value) < 2**63) else Duration.of(value)
    )


@final
@frozen
class Early(Stopping):
    """A selector that stops permanently, by the AJEST authors' rule or at a step."""

    name = "early"
    source = AJEST
    until: Duration | float | None = option(
        None,
        help="after how many steps or examples, or which share of the training, it goes off; none for when the learner "
        "beats the reference",
        converter=_until,
    )

    def __attrs_post_init__(self) -> None:
        until = self.until
        if isinstance(until, Duration) and until.unit == "s":
            raise ValueError(
                f"until is {until}: give optimiser steps, such as 231it, examples, such as 2Mex, or a share of the "
                "training, such as 0.05"
            )
        if isinstance(until, float) and not 0 < until < 1:
            raise ValueError(f"until is {until:g}: a share of the training is above 0 and below 1; steps are as 231it")

    def lasting(self, duration: Duration) -> "Early":
        selector = self.selector.lasting(duration)
        if not isinstance(self.until, float):
            return evolve(self, selector=selector)
        if duration.unit == "s":
            raise ValueError(
                f"until={self.until:g} is a share of a training's steps, which a duration of {duration} does not tell: "
                "give the duration in iterations or examples, or until in steps, as in until=231it"
            )
        return evolve(self, selector=selector, until=duration.part(self.until))

    def rule(self, losses: Losses, memory: SelectorState) -> tuple[bool, SelectorState]:
        if not isinstance(self.until, Duration):
            learner, reference = mean_losses(losses)
            return learner < reference, {}
        return False, {**memory, "step": memory.get("step", 0) + 1}

    def remember(self, memory: SelectorState, selection: Selection) -> SelectorState:
        if not isinstance(self.until, Duration) or self.until.unit == "it":
            return memory
        return {**memory, "examples": memory.get("examples", 0) + len(selection.indices)}

    def over(self, memory: SelectorState) -> bool:
        if not isinstance(self.until, Duration):
            return False
        return bool(memory["step" if self.until.unit == "it" else "examples"] >= self.until.amount)

    def unscored(self) -> str:
        return "give a step, as in until=231it" if self.until is None else ""


@final
@frozen
class EarlySmoothed(Stopping):
    """A selector that stops permanently after several consecutive signals of smoothed losses."""

    name = "early-smoothed"
    source = AJEST
    length: int = option(
        16, help="memory of the smoothed losses; 1 is no smoothing", unit="super-batches", validator=up_to(1_000_000)
    )
    patience: int = option(
        8, help="how many times in a row the learner's must be below", unit="super-batches", validator=up_to(1_000_000)
    )

    def rule(self, losses: Losses, memory: SelectorState) -> tuple[bool, SelectorState]:
        share = 1.0 / self.length
        means = [
            (1 - share) * before + share * now
            for before, now in zip(memory.get("means", (0.0, 0.0)), mean_losses(losses), strict=True)
        ]
        # Both are corrected by the same factor for their beginning at 0, which does not change their order.
        below = memory.get("below", 0) + 1 if means[0] < means[1] else 0
        return below >= self.patience, {"means": means, "below": below}

    def unscored(self) -> str:
        return "give one that does, such as jest, or early with a step, as in until=231it"


@hook
def guideplug_selectors() -> list[type[Selector]]:
    return [Early, EarlySmoothed]
