"""The state of a loop of one's own that trains one module with one optimiser; a recipe's work goes on from it.

loop = LoopState(module, optimizer)
builder.checkpoint(loop)                        # loads what an earlier try left
builder.progress(loop.step, steps)
while loop.step < steps:
...                                         # draws that depend on loop.step alone
loop.step += 1
builder.progress(loop.step, steps, loss)    # keeps the state now and then, and before it stops
"""

from collections.abc import Mapping
from typing import Any, final

import torch
from attrs import define, field
from torch import Tensor, nn

__all__ = ["LoopState", "load_optimizer", "optimizer_tensors", "under"]


@final
@define
class LoopState:
    """Where a loop stands: a `guideplug.Resumable`.

    What it draws must follow from ``step``, as `guideplug.TrainingStreams` (seed, step) does: global generators are no
    part of the state.

    Args:
        module: what is trained.
        optimizer: what trains it.
        step: optimiser steps done.
        facts: other values to keep, which JSON can hold.
    """

    module: nn.Module
    optimizer: torch.optim.Optimizer
    step: int = 0
    facts: dict[str, Any] = field(factory=dict)

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors of the module and the optimiser; the step and the facts."""
        tensors = {f"module.{name}": value for name, value in self.module.state_dict().items()}
        return tensors | optimizer_tensors(self.optimizer), {"step": self.step, "facts": self.facts}

    def load_state(self, tensors: Mapping[str, Tensor], data: Mapping[str, Any]) -> None:
        """Go on from what `state` gave."""
        self.module.load_state_dict(under(tensors, "module."))
        load_optimizer(self.optimizer, tensors)
        self.step, self.facts = data["step"], dict(data["facts"])


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """What an optimiser remembers of its parameters, as ``optimizer.NUMBER.KEY``."""
    entries = optimizer.state_dict()["state"].items()
    return {f"optimizer.{n}.{key}": torch.as_tensor(value) for n, one in entries for key, value in one.items()}


def load_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Let an optimiser remember what `optimizer_tensors` gave; its options stay as they are."""
    slots: dict[int, dict[str, Tensor]] = {}
    for name, tensor in under(tensors, "optimizer.").items():
        index, _, key = name.partition(".")
        slots.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict({"state": slots, "param_groups": optimizer.state_dict()["param_groups"]})


def under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin with a prefix, without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
