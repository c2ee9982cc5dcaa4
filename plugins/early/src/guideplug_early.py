"""Early selection: any selector at first, the whole super-batch once selection no longer pays.

Two rules:

- ``until=none`` (the AJEST authors' rule): off for good at the first super-batch on which the learner's mean loss is
  below the reference's: from then on the reference has nothing to teach. That super-batch is selected from still.
- ``until=231it``: off after so many steps (the paper's text speaks of about 5 % of the training).

Source: "Autoguided online data curation for diffusion model training" 2025, arXiv:2509.15267; the rule is the released
code's. Cost: the inner selector's while on; afterwards none, and every example drawn is trained on.
"""

from collections.abc import Mapping
from typing import Any, final

import torch
from attrs import frozen

from guideplug import (
    Draw,
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
)


def _steps(value: Any) -> Duration | None:
    return None if value is None else Duration.of(value)


@final
@frozen
class Early(Selector):
    """A selector that stops for good."""

    name = "early"
    source = Source(
        "the authors of arXiv:2509.15267",
        2025,
        "Autoguided Online Data Curation for Diffusion Model Training",
        "https://arxiv.org/abs/2509.15267",
    )
    selector: Selector = option(help="the selector that is on at first")
    until: Duration | None = option(
        None, help="the step at which it goes off; none for when the learner beats the reference", converter=_steps
    )

    def __attrs_post_init__(self) -> None:
        if self.until is not None and self.until.unit != "it":
            raise ValueError(f"until is {self.until}: give optimiser steps, such as 231it")

    def needs(self, task: Task, main: Recipe) -> Mapping[str, Recipe | None]:
        return self.selector.needs(task, main)

    def init(self) -> SelectorState:
        return {"step": 0, "off": False, "inner": self.selector.init()}

    def plan(self, batch: int, state: SelectorState) -> Draw:
        if state["off"]:
            return Draw(batch)
        draw = self.selector.plan(batch, state["inner"])
        if self.until is None and not (draw.learner and draw.reference is not None):
            raise ValueError(
                f"selector {self.selector.name!r} does not score learner and reference, so the rule cannot tell when "
                "to stop: give a step, as in until=231it"
            )
        return draw

    def select(
        self, losses: Losses, state: SelectorState, generator: torch.Generator
    ) -> tuple[Selection, SelectorState]:
        step = state["step"] + 1
        if state["off"]:
            return Selection(torch.arange(losses.count)), {**state, "step": step}
        selection, inner = self.selector.select(losses, state["inner"], generator)
        off = self._goes_off(losses, step) or self.selector.switched_off(inner)
        return selection, {"step": step, "off": off, "inner": inner}

    def _goes_off(self, losses: Losses, step: int) -> bool:
        if self.until is not None:
            return step >= self.until.amount
        assert losses.learner is not None  # by `plan`
        assert losses.reference is not None
        return bool(losses.learner.mean() < losses.reference.mean())

    def switched_off(self, state: SelectorState) -> bool:
        return bool(state["off"])


@hook
def guideplug_selectors() -> list[type[Selector]]:
    return [Early]
