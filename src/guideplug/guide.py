"""Guiders: what turns a denoiser into a guided one."""

import abc
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from guideplug.config import Strategy
from guideplug.denoise import Denoiser

if TYPE_CHECKING:
    from guideplug.recipe import Recipe
    from guideplug.task import Task

__all__ = ["Guider"]


class Guider(Strategy):
    """Guidance as an equation between denoisers.

    A guider is a final frozen attrs class whose fields are its options. Weights follow one convention: ``weight`` is
    off at 1, as in base + (weight - 1) * (base - guide).
    """

    kind: ClassVar[str] = "guider"

    @abc.abstractmethod
    def guide(self, base: Denoiser, models: Mapping[str, Denoiser]) -> Denoiser:
        """The guided denoiser.

        Args:
            base: what is guided.
            models: other denoisers of the same space, by role; those that `needs` names are there in a run.
        """

    def needs(self, task: "Task", main: "Recipe") -> Mapping[str, "Recipe | None"]:
        """The roles it needs beside the main one, and how to obtain them unless the user says otherwise.

        None means that the task knows no way: the run then asks the user for one.
        """
        return {}

    def may_use(self) -> Sequence[str]:
        """Roles that it has a use for where the user gives them a network, and does without elsewhere."""
        return ()
