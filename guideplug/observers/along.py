"""The common part of observers that are called at moments along trainings."""

import abc

from guideplug.config import Duration
from guideplug.errors import ConfigError
from guideplug.observe import Listener, RunInfo, TrainingMoment

__all__ = ["Along"]


class Along(Listener):
    """A listener at moments of the trainings of some roles; events pass it by.

    Args:
        observed: the run.
        every: how much of a training passes between two moments.
        roles: the roles whose trainings count.

    Raises:
        ConfigError: the trainings are those of many runs, which have no moments.
    """

    def __init__(self, observed: RunInfo, every: Duration, roles: tuple[str, ...]) -> None:
        if observed.kind not in ("run", "sample"):
            raise ConfigError(f"it follows the training of one run, and a {observed.kind} makes many: give it to a run")
        self.folder, self.every, self.roles = observed.folder, every, roles

    def on_event(self, event: str, data: dict[str, object]) -> None:
        """Events are not of interest."""

    def on_moment(self, moment: TrainingMoment) -> None:
        """Receive the moments of the chosen roles."""
        if moment.role in self.roles:
            self.at(moment)

    @abc.abstractmethod
    def at(self, moment: TrainingMoment) -> None:
        """Receive one of them."""
