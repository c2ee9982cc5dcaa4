"""Rewards: a score of clean samples under their condition, R(x0, c), for whoever fits something to raise it.

The abstract strategy alone: the core has no reward and uses none. Plugins offer rewards by name, and recipes of plugins
take them as options. Code of a user's own needs no plugin: such recipes name it as ``module:function``
(`guideplug.PythonRef`).
"""

import abc
from typing import ClassVar

from torch import Tensor

from guideplug.config import Strategy
from guideplug.denoise import Condition

__all__ = ["Reward"]


class Reward(Strategy):
    """A score of clean samples: the more the better. Final frozen attrs classes; the fields are its options.

    One that is about a task's data has an option ``task`` without a default, which is then the run's.
    """

    kind: ClassVar[str] = "reward"

    @abc.abstractmethod
    def score(self, x0: Tensor, condition: Condition) -> Tensor:
        """The scores (B,), finite, differentiable in x0, each of its own sample alone.

        Args:
            x0: clean samples (B, *), in data units; of a latent model, decoded ones.
            condition: theirs: None, a tensor or a mapping, batch first.
        """

    def content(self) -> str:
        """What decides the scores but is no option, such as the hash of a file's bytes."""
        return ""
