"""Events of a run, and their observers.

An event is a name and plain data. An `Observer` is a strategy that the user chooses; for a run it opens a `Listener`,
which receives each event in turn. Observers do not change results: a run has the same bits with and without them.
A listener that raises is reported once and receives no further events; the run continues.
"""

import abc
import os
import signal
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import attrs

from guideplug.config import Strategy, decides_nothing, described
from guideplug.config.libraries import missing_libraries
from guideplug.config.origin import origin_of
from guideplug.errors import ConfigError, Interrupted, visible

__all__ = ["Listener", "Observer", "Observers", "RunInfo", "surroundings"]


@attrs.frozen
class RunInfo:
    """The observed run.

    Args:
        folder: the folder of its results; a listener writes to a subfolder of its own.
        kind: "run", "sample", "compare" or "study".
        config: its configuration, as the values of its TOML.
        resumed: whether it resumes an earlier attempt, of which a listener may have seen a part.
    """

    folder: Path
    kind: str = "run"
    config: Mapping[str, Any] = attrs.field(factory=dict)
    resumed: bool = False


class Listener(abc.ABC):
    """The receiver of one run's events, called in its process and thread: slow listeners delay the run."""

    def __init_subclass__(cls, **options: Any) -> None:
        """Adapt a class with the old name ``notice`` of `on_event`, with a warning."""
        super().__init_subclass__(**options)
        before = cls.__dict__.get("notice")
        if before is not None and "on_event" not in cls.__dict__:
            warnings.warn(
                f"{cls.__qualname__}.notice is called on_event: the old name goes with the next release",
                DeprecationWarning,
                stacklevel=3,  # through the metaclass
            )
            cls.on_event = before  # type: ignore[method-assign]

    @abc.abstractmethod
    def on_event(self, event: str, data: dict[str, Any]) -> None:
        """Receive one event with its data; docs/observers.md lists all events, with fields and units."""

    def close(self) -> None:  # noqa: B027 - most listeners have nothing to close
        """End: the run has ended, successfully or not, or the listener has raised."""


@decides_nothing
class Observer(Strategy):
    """A tracker or the like, chosen by ``--observer``. Final frozen attrs classes; the fields are its options."""

    kind: ClassVar[str] = "observer"
    extras: ClassVar[Mapping[str, str]] = {}
    """Libraries imported by `open` that are an extra of its distribution: the requirement by import name, as in
    ``{"tensorboard": "guideplug-tensorboard[tensorboard]"}``.
    """

    @classmethod
    def missing(cls) -> Iterator[str]:
        """A line per missing library of ``extras``, with how to install it."""
        return missing_libraries(cls.extras)

    def check(self) -> None:
        """Refuse an observer with a missing library, before any work.

        Raises:
            ConfigError: a library is missing; the message says how to install it.
        """
        for line in self.missing():
            raise ConfigError(f"observer {self.name!r} {line}")

    @abc.abstractmethod
    def open(self, observed: RunInfo) -> Listener:
        """Open a listener for one run; heavy libraries are imported here, and nothing is written before."""


class _Name(NamedTuple):
    """An observer's name, and where it comes from, for people."""

    name: str
    origin: str = ""


class Observers:
    """Several listeners as one; one that raises is removed, with a line on stderr and an event for the others."""

    def __init__(self, listeners: Iterable[Listener] = ()) -> None:
        self._listeners = [(_Name(f"{type(one).__module__}.{type(one).__qualname__}"), one) for one in listeners]

    def open(self, observers: Iterable[Observer], observed: RunInfo) -> None:
        """Open a listener per observer, in addition to the present ones."""
        for observer in observers:
            name = _Name(observer.name, f" of {origin_of(type(observer).__module__)}")
            try:
                with surroundings():
                    listener = observer.open(observed)
                    if not isinstance(listener, Listener):
                        raise TypeError(f"it opened {described(listener)}: return a Listener")
            except BaseException as error:
                self._report(name, "open", error)
            else:
                self._listeners.append((name, listener))

    def __call__(self, event: str, **data: Any) -> None:
        failed: list[tuple[_Name, Listener, BaseException]] = []
        for name, listener in self._listeners:
            try:
                with surroundings():
                    listener.on_event(event, _copied(data))
            except BaseException as error:
                failed.append((name, listener, error))
        gone = [listener for _, listener, _ in failed]
        self._listeners = [one for one in self._listeners if one[1] not in gone]
        for name, listener, cause in failed:
            self._report(name, event, cause)
            try:
                with surroundings():
                    listener.close()  # releases files, threads and processes
            except BaseException as another:
                _check_ours(another)

    def close(self) -> None:
        """Close all listeners, the first one last, so that it receives errors of the others."""
        while self._listeners:
            name, listener = self._listeners.pop()
            try:
                with surroundings():
                    listener.close()
            except BaseException as error:
                self._report(name, "close", error)

    def _report(self, name: _Name, event: str, error: BaseException) -> None:
        """Report an error of an observer, which must not stop the run."""
        _check_ours(error)
        message = " ".join(str(error).split())
        reason = f"{type(error).__name__}: {message}" if message else type(error).__name__
        who = f"observer {name.name}{name.origin}"
        line = f"warning: {who} failed at {event!r} ({reason}) and is left out; the run goes on"
        sys.stderr.write(visible(line) + "\n")
        self("observer", observer=name.name, at=event, error=reason)


@contextmanager
def surroundings() -> Iterator[None]:
    """A block of a listener, after which the working folder and torch's settings are as before it.

    Raises:
        RuntimeError: what was changed.
    """
    torch = sys.modules.get("torch")
    folder = Path.cwd()
    settings: tuple[Any, ...] = () if torch is None else (torch.get_default_dtype(), torch.is_grad_enabled())
    try:
        yield
    finally:
        changed = []
        if Path.cwd() != folder:
            os.chdir(folder)
            changed.append("the working folder")
        if torch is not None and settings != (torch.get_default_dtype(), torch.is_grad_enabled()):
            changed.append("torch's default dtype or its gradient mode")
            torch.set_default_dtype(settings[0])
            torch.set_grad_enabled(settings[1])
    if changed:
        raise RuntimeError(f"it changed {' and '.join(changed)}, which is put back")


def _check_ours(error: BaseException) -> None:
    """Reraise what stops the run: an interrupt of it, or a possible Ctrl-C of the user.

    A run with its own SIGINT handler gets no KeyboardInterrupt from it.
    """
    if isinstance(error, Interrupted):
        raise error
    if isinstance(error, KeyboardInterrupt) and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        raise error


def _copied(value: Any) -> Any:
    """A deep copy of plain data."""
    if isinstance(value, Mapping):
        return {name: _copied(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_copied(item) for item in value]
    return value
