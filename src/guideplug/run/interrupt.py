"""Stopping a run between two steps: SIGINT and SIGTERM ask, a second SIGINT insists."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["Interrupted", "Stop", "asked_to_stop"]


class Interrupted(BaseException):
    """The run was asked to stop; the exit code is that of the signal. Not an error, so not an `Exception`."""

    def __init__(self, exit_code: int) -> None:
        super().__init__(exit_code)
        self.exit_code = exit_code


class Stop:
    """Whether the run was asked to stop: call it where it may be stopped."""

    def __init__(self) -> None:
        self.signal: int | None = None

    def __call__(self) -> None:
        """Raise `Interrupted` if a signal came."""
        if self.signal is not None:
            raise Interrupted(128 + self.signal)


@contextmanager
def asked_to_stop() -> Iterator[Stop]:
    """Turn SIGINT and SIGTERM into a question asked between steps; other threads' runs are left alone."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def handle(number: int, frame: FrameType | None) -> None:
        if stop.signal is not None and number == signal.SIGINT:
            raise Interrupted(128 + number)
        stop.signal = number

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
