"""Stopping at once, and where it is worth it after the step in progress: SIGINT and SIGTERM.

A signal raises `Interrupted` where the process is, since every file is written whole or not at all. In a training it
waits for the end of the step, whose state is then saved; a second signal does not wait. A process that is deep in one
long call of compiled code, where Python cannot raise, is ended by a thread that watches.
"""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["Interrupted", "StopToken", "defer_signals", "handle_signals"]

SIGNALS = (signal.SIGINT, signal.SIGTERM)
PATIENCE = 0.7
"""Seconds that one call of compiled code gets to end after a signal."""


class Interrupted(BaseException):
    """The run was asked to stop; the exit code is that of the signal. Not an error, so not an `Exception`."""

    def __init__(self, exit_code: int) -> None:
        super().__init__(exit_code)
        self.exit_code = exit_code


class StopToken:
    """Whether the run was asked to stop: call it where a signal may have been put off."""

    def __init__(self) -> None:
        self.signal: int | None = None
        self.times = 0

    def __call__(self) -> None:
        """Raise `Interrupted` if a signal came."""
        if self.signal is not None:
            raise Interrupted(128 + self.signal)


_open: list[StopToken] = []
"""The one that this process is asked through, where there is one: signals are the process's."""
_unhurried = 0
"""How many blocks wait for their own moment to stop."""


@contextmanager
def defer_signals() -> Iterator[None]:
    """A block in which a first signal is only noted: who runs it calls the `StopToken` when all is saved."""
    global _unhurried
    _unhurried += 1
    try:
        yield
    finally:
        _unhurried -= 1


@contextmanager
def handle_signals(leave: Callable[[], None] = lambda: None) -> Iterator[StopToken]:
    """Turn SIGINT and SIGTERM into `Interrupted`; a block inside another shares its answer.

    Args:
        leave: what is done for a process that cannot raise, before it is ended; it is called in another thread.
    """
    if threading.current_thread() is not threading.main_thread():
        yield StopToken()
        return
    if _open:
        yield _open[0]
        return
    stop = StopToken()

    def handle(number: int, frame: FrameType | None) -> None:
        stop.times += 1
        stop.signal = number
        if not _unhurried or stop.times > 1:
            raise Interrupted(128 + number)

    before = {number: signal.signal(number, handle) for number in SIGNALS}
    _open.append(stop)
    try:
        with _watched(stop, leave):
            yield stop
    finally:
        _open.clear()
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _watched(stop: StopToken, leave: Callable[[], None]) -> Iterator[None]:
    """End this process if a signal has no effect for a while: the main thread is then in compiled code."""
    if os.name != "posix":  # pragma: no cover - elsewhere a signal waits for the end of the call
        yield
        return
    ours, theirs = os.pipe()
    os.set_blocking(theirs, False)
    over = threading.Event()

    def watch() -> None:
        came = 0
        while number := os.read(ours, 1)[0]:
            if number not in SIGNALS:
                continue
            came += 1
            if _unhurried and came == 1:
                continue
            until = time.monotonic() + PATIENCE
            while stop.times < came and not over.wait(0.05):
                if time.monotonic() > until:
                    with contextlib.suppress(BaseException):
                        leave()
                    os._exit(128 + number)

    watcher = threading.Thread(target=watch, name="signals", daemon=True)
    watcher.start()
    before = signal.set_wakeup_fd(theirs, warn_on_full_buffer=False)  # told at once, whatever the main thread is at
    try:
        yield
    finally:
        over.set()
        signal.set_wakeup_fd(before)
        os.write(theirs, b"\0")
        watcher.join()
        os.close(ours)
        os.close(theirs)
