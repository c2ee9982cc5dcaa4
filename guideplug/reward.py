"""Rewards: scores of clean samples under their condition, R(x0, c), for fitting to them.

This is the abstract strategy; the core has no reward and uses none. Plugins offer rewards by name, and recipes of
plugins take them as options. The user's own code needs no plugin: such recipes name it as ``module:function``
(`guideplug.PythonRef`).
"""

import abc
from typing import ClassVar

from torch import Tensor

from guideplug.config import Strategy
from guideplug.denoise import Condition

__all__ = ["Reward"]


class Reward(Strategy):
    """A score of clean samples, higher is better. Final frozen attrs classes; the fields are its options.

    A reward on a task's data has an option ``task`` without a default, which is then the run's task.
    """

    kind: ClassVar[str] = "reward"

    @abc.abstractmethod
    def score(self, x0: Tensor, condition: Condition) -> Tensor:
        """The scores (B,), finite, differentiable in x0, independent per sample.

        Args:
            x0: clean samples (B, *), in data units; decoded for a latent model.
            condition: their condition: None, a tensor or a mapping, batch first.
        """

    def content(self) -> str:
        """Deciding content besides the options, such as the hash of a file's bytes."""
        return ""
