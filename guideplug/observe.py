"""Events of a run, and their observers.

An event is a name and plain data. An `Observer` is a strategy that the user chooses; for a run it opens a `Listener`,
which receives each event in turn. Observers do not change results: a run has the same bits with and without them.
A listener that raises is reported once and receives no further events; the run continues.

A listener may also be called at moments along each training of a run (`Listener.every`), with copies of the current
networks to sample, draw and measure (`TrainingMoment`). Their seconds are none of the training's, and its draws stay.
"""

import abc
import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol

import attrs

from guideplug.config import Duration, Strategy, decides_nothing, described
from guideplug.config.libraries import missing_libraries
from guideplug.config.origin import origin_of
from guideplug.errors import ConfigError, Interrupted, visible

if TYPE_CHECKING:
    from guideplug.denoise import Leaf
    from guideplug.task import Arm

__all__ = ["Listener", "Observer", "Observers", "RunInfo", "TrainingMoment", "surroundings"]


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


class TrainingMoment(Protocol):
    """A moment along a training, for the call of `Listener.on_moment` alone."""

    @property
    def role(self) -> str:
        """The role of the network in training."""

    @property
    def step(self) -> int:
        """Finished optimiser steps."""

    @property
    def number(self) -> int:
        """The number of the moment along the training, from 1: how often ``every`` has passed."""

    @property
    def weights(self) -> Sequence[str]:
        """The names of the current networks: "raw", and the averages by EMA length, such as "ema0.05"."""

    def network(self, weights: str) -> "Leaf":
        """A copy of the network with some of its `weights`, in evaluation mode, without gradients."""

    def sample(self, weights: str, count: int) -> "Arm":
        """The first ``count`` samples of the run, unguided: from the same noise under any weights, at any moment."""

    def measure(self, arm: "Arm", metrics: Sequence[str] = ()) -> dict[str, float | None]:
        """The values of metrics of the task for samples, beside as many true ones; of all metrics by default.

        Raises:
            ConfigError: the task has no metric of a name.
            ContractError: a metric raised, or gave no number.
        """

    def draw(self, arms: "Sequence[Arm]", path: Path) -> None:
        """Draw samples side by side, as the task's figure does, beside true ones, as a PNG.

        Raises:
            RunError: the task cannot draw them.
        """

    def emit(self, event: str, **data: Any) -> None:
        """Emit an event with ``role`` and ``step`` to all listeners. A run that goes on from before has it once."""


class Listener(abc.ABC):
    """The receiver of one run's events, called in its process and thread: slow listeners delay the run."""

    every: Duration | None = None
    """How much of each training passes between two calls of `on_moment`; None, the default, for no calls."""

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

    def on_moment(self, moment: TrainingMoment) -> None:  # noqa: B027 - most listeners receive events alone
        """Receive a moment of a training, between two of its steps: one after each `every` that has passed."""

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
        self._each(event, self._listeners, lambda listener: listener.on_event(event, _copied(data)))

    @property
    def at_moments(self) -> list[tuple[str, Duration]]:
        """The names of listeners that are called along trainings, and how often."""
        return [(name.name, listener.every) for name, listener in self._listeners if listener.every is not None]

    def on_moment(self, passed: Callable[[Duration], int], moment: Callable[[int], TrainingMoment]) -> None:
        """Call the listeners whose moment of a training it is.

        Args:
            passed: the number of a moment that ends with the last step, by its ``every``; 0 for none.
            moment: the moment of a number.
        """
        due = [(name, one) for name, one in self._listeners if one.every is not None and passed(one.every)]

        def call(listener: Listener) -> None:
            assert listener.every is not None
            listener.on_moment(moment(passed(listener.every)))

        self._each("moment", due, call)

    def _each(
        self, event: str, listeners: "Iterable[tuple[_Name, Listener]]", call: Callable[[Listener], None]
    ) -> None:
        """Call listeners, and remove and report those that raise."""
        failed: list[tuple[_Name, Listener, BaseException]] = []
        for name, listener in listeners:
            try:
                with surroundings():
                    call(listener)
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
