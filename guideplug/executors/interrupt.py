"""SIGINT, SIGTERM and SIGHUP: stop at once, or after the training step in progress.

A signal that is ignored when the work begins, as SIGHUP is under nohup, stays ignored. Another raises `Interrupted` at
the current instruction, since files are written atomically. In a training it takes effect at the end of the step, when
the state is saved; a second signal takes effect at once. A watchdog thread ends a process that is in a long call of
compiled code, where Python cannot raise.
"""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from guideplug.errors import Interrupted

__all__ = ["Interrupted", "StopToken", "defer_signals", "handle_signals", "interruptible"]

SIGNALS = (signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else []))
OF_TERMINAL = tuple(number for number in SIGNALS if number != signal.SIGTERM)
"""Signals that a terminal sends to a command and to its workers alike."""
PATIENCE = 0.7
"""Seconds allowed to a call of compiled code after a signal."""


class StopToken:
    """Whether a stop was requested: call it where a signal may have been deferred."""

    def __init__(self) -> None:
        self.signal: int | None = None
        self.times = 0

    def __call__(self) -> None:
        """Raise `Interrupted` if a signal came."""
        if self.signal is not None:
            raise Interrupted(128 + self.signal)


_open: list[StopToken] = []
"""The token of this process, if any: signals belong to the process."""
_unhurried = 0
"""Number of open blocks that defer signals."""


@contextmanager
def defer_signals() -> Iterator[None]:
    """A block that defers the first signal: call the `StopToken` once the state is saved."""
    global _unhurried
    _unhurried += 1
    try:
        yield
    finally:
        _unhurried -= 1


@contextmanager
def handle_signals(leave: Callable[[], None] = lambda: None) -> Iterator[StopToken]:
    """Turn SIGINT, SIGTERM and SIGHUP into `Interrupted`; nested blocks share one token.

    Args:
        leave: called in another thread before a process that cannot raise is ended.
    """
    with _handled(lambda stop: _watched(stop, leave)) as stop:
        yield stop


@contextmanager
def interruptible() -> Iterator[StopToken]:
    """`handle_signals` in a host process: a long call of compiled code is waited for, as in Python."""
    with _handled(lambda stop: contextlib.nullcontext()) as stop:
        yield stop


@contextmanager
def _handled(watch: Callable[[StopToken], contextlib.AbstractContextManager[None]]) -> Iterator[StopToken]:
    """Handle the signals in the block, beside a watchdog; in the main thread alone, as Python requires."""
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

    heard = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, handle) for number in heard}
    _open.append(stop)
    try:
        with watch(stop):
            yield stop
    finally:
        _open.clear()
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _watched(stop: StopToken, leave: Callable[[], None]) -> Iterator[None]:
    """End this process if a signal has no effect in time: the main thread is in compiled code."""
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
    before = signal.set_wakeup_fd(theirs, warn_on_full_buffer=False)  # written at once, in any state of the main thread
    try:
        yield
    finally:
        over.set()
        signal.set_wakeup_fd(before)
        os.write(theirs, b"\0")
        watcher.join()
        os.close(ours)
        os.close(theirs)
