"""The resumable state of a custom loop that trains one module with one optimiser, for recipes.

loop = LoopState(module, optimizer)
builder.checkpoint(loop)                        # loads the state of an earlier attempt
builder.progress(loop.step, steps)
while loop.step < steps:
...                                         # random draws depend on loop.step alone
loop.step += 1
builder.progress(loop.step, steps, loss)    # saves the state at times, and before it stops
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
    """The state of a loop: a `guideplug.Resumable`.

    Random draws must follow from ``step``, as those of `guideplug.TrainingStreams` (seed, step): global generators are
    not part of the state.

    Args:
        module: the trained module.
        optimizer: its optimiser.
        step: the number of finished optimiser steps.
        facts: further values to save, as JSON.
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
        """Restore the state from `state`."""
        self.module.load_state_dict(under(tensors, "module."))
        load_optimizer(self.optimizer, tensors)
        self.step, self.facts = data["step"], dict(data["facts"])


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimiser's state per parameter, as ``optimizer.NUMBER.KEY``."""
    entries = optimizer.state_dict()["state"].items()
    return {f"optimizer.{n}.{key}": torch.as_tensor(value) for n, one in entries for key, value in one.items()}


def load_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Restore the optimiser's state from `optimizer_tensors`; its options are unchanged."""
    slots: dict[int, dict[str, Tensor]] = {}
    for name, tensor in under(tensors, "optimizer.").items():
        index, _, key = name.partition(".")
        slots.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict({"state": slots, "param_groups": optimizer.state_dict()["param_groups"]})


def under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors with a prefix in their names, which is removed."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
