"""Events of a run, and those who watch them.

An event is a name and plain data. Observers are told of each in turn; one that raises is reported once, then no longer
told, and the run goes on as if it had never been there.
"""

import abc
import sys
from collections.abc import Sequence
from typing import Any

__all__ = ["Observer", "Observers"]


class Observer(abc.ABC):
    """Watches a run. It must not change anything it is shown."""

    @abc.abstractmethod
    def notice(self, event: str, data: dict[str, Any]) -> None:
        """One event.

        The events and their data: ``run`` (folder), ``found`` (role, folder), ``wait`` (role; another process is making
        it), ``train`` (role, step, total), ``step``
        (role, step, total, unit, reached, loss, lr, kept, effective_sample_size, seconds), ``checkpoint`` (role, step),
        ``trained`` (role, step, seconds), ``sample`` (arm, done, total), ``measure`` (arm), ``end`` (status).
        """

    def close(self) -> None:  # noqa: B027 - most observers have nothing to close
        """The run is over, well or not."""


class Observers:
    """Several observers as one; a faulty one is dropped with a line on standard error."""

    def __init__(self, observers: Sequence[Observer] = ()) -> None:
        self._observers = list(observers)

    def __call__(self, event: str, **data: Any) -> None:
        for observer in list(self._observers):
            try:
                observer.notice(event, dict(data))
            except Exception as error:  # whatever a stranger's observer does, the run is not its business
                self._drop(observer, error)

    def close(self) -> None:
        """Tell all that the run is over."""
        for observer in list(self._observers):
            try:
                observer.close()
            except Exception as error:
                self._drop(observer, error)

    def _drop(self, observer: Observer, error: Exception) -> None:
        self._observers.remove(observer)
        name = f"{type(observer).__module__}.{type(observer).__qualname__}"
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        sys.stderr.write(f"warning: observer {name} failed ({reason}) and is left out\n")
