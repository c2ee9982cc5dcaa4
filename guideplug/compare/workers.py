"""Processes that work on cells: each has a worker, and a pipe of its own to the one that asks.

A process that is asked to stop finishes its step, saves what it was at, and leaves; one that takes too long is killed.
None of them shares a lock with another, so one that dies, or is killed for the memory it takes, leaves nobody waiting.
"""

import multiprocessing
import os
import pickle
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, TypeAlias

import attrs

from guideplug.errors import RunError
from guideplug.run.interrupt import Interrupted, StopToken, handle_signals

__all__ = ["Cell", "Run", "asked_to_leave", "workers"]

Cell: TypeAlias = Any
"""What a piece of work is known by; it can be pickled."""
Run: TypeAlias = Callable[[str, Sequence[Cell]], Iterator[tuple[Cell, Any]]]
"""Asks for a method of the worker to be called with each cell, and gives every answer when it is there."""

PATIENCE = 10.0
"""Seconds that processes get for leaving when they are asked to."""
ASK_EVERY = 0.1
"""Seconds between looks at whether this process was asked to stop."""

_employed = False
"""Whether this process is one of several, which leaves when it is asked to stop."""


@contextmanager
def asked_to_leave() -> Iterator[StopToken]:
    """`handle_signals`; where this process is one of several and was asked, it leaves when the block ends, however."""
    stop = StopToken()
    try:
        with handle_signals() as stop:
            yield stop
    finally:
        if _employed and stop.signal is not None:
            os._exit(128 + stop.signal)


class _Remote(Exception):
    """The traceback of another process, as text."""

    def __str__(self) -> str:
        return f'\n"""\n{self.args[0]}"""'


def _sendable(error: Exception) -> tuple[Exception, str]:
    """An error and its traceback; where it cannot be pickled, what it says."""
    text = "".join(traceback.format_exception(error))
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}"), text
    return error, text


def _leave_with_parent() -> None:
    """Ask this process to stop when the one that made it is no more, however it ended."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)


def _serve(pipe: Connection, make: Callable[..., Any], arguments: Sequence[Any]) -> None:
    """What a process does: sit down, answer questions until there are no more."""
    global _employed
    _employed = True
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who asks has it too, and says when to stop
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    worker = None
    while True:
        try:
            what, cell = pipe.recv()
        except EOFError:
            return
        try:
            worker = worker or make(*arguments)
            answer = True, getattr(worker, what)(cell)
        except Exception as error:
            answer = False, _sendable(error)
        try:
            pipe.send(answer)
        except BrokenPipeError:
            return


@attrs.define(eq=False)
class _Worker:
    process: BaseProcess
    pipe: Connection
    cell: Cell | None = None


@contextmanager
def workers(
    jobs: int, make: Callable[..., Any], arguments: Sequence[Any], label: Callable[[Cell], str] = str
) -> Iterator[Run]:
    """What works on cells in ``jobs`` other processes.

    Args:
        jobs: processes.
        make: makes a process's worker; it is called there.
        arguments: of it.
        label: how a cell is called in messages.

    Raises:
        Exception: what a worker raised, with its traceback; the others are stopped, and keep what they were at.
        RunError: a process died.
        Interrupted: SIGINT or SIGTERM.
    """
    spawned: list[_Worker] = []
    with handle_signals() as stop:
        try:
            yield lambda what, cells: _dispatch(spawned, jobs, make, arguments, label, what, cells, stop)
        finally:
            _shutdown(spawned)


def _spawn(make: Callable[..., Any], arguments: Sequence[Any]) -> _Worker:
    """A new process; no Ctrl-C reaches it before it is ready for one."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        process = context.Process(target=_serve, args=(theirs, make, arguments))
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    theirs.close()
    return _Worker(process, ours)


def _dispatch(
    spawned: list[_Worker],
    jobs: int,
    make: Callable[..., Any],
    arguments: Sequence[Any],
    label: Callable[[Cell], str],
    what: str,
    cells: Sequence[Cell],
    stop: StopToken,
) -> Iterator[tuple[Cell, Any]]:
    left = list(reversed(cells))
    while len(spawned) < min(jobs, len(cells)):
        spawned.append(_spawn(make, arguments))
    while left or any(worker.cell is not None for worker in spawned):
        for worker in spawned:
            if worker.cell is None and left:
                worker.cell = left.pop()
                try:
                    worker.pipe.send((what, worker.cell))
                except BrokenPipeError:
                    raise _died(worker, label) from None
        busy = {worker.pipe: worker for worker in spawned if worker.cell is not None}
        for pipe in wait(list(busy), timeout=ASK_EVERY):
            worker = busy[pipe]  # type: ignore[index]
            try:
                good, answer = worker.pipe.recv()
            except (EOFError, ConnectionResetError):
                raise _died(worker, label) from None
            if not good:
                error, text = answer
                error.__cause__ = _Remote(text)
                raise error
            cell, worker.cell = worker.cell, None
            assert cell is not None  # it was busy
            yield cell, answer
        stop()


def _died(worker: _Worker, label: Callable[[Cell], str]) -> BaseException:
    """What a process's end means: it was asked to stop by somebody, or it was killed."""
    worker.process.join(PATIENCE)
    code = worker.process.exitcode
    for number in (signal.SIGTERM, signal.SIGINT):
        if code in (-number, 128 + number):
            return Interrupted(128 + number)
    how = f"by signal {-code} ({signal.Signals(-code).name})" if code is not None and code < 0 else f"with code {code}"
    at = "nothing" if worker.cell is None else label(worker.cell)
    return RunError(
        f"a process of --jobs ended {how} while it was at {at}; what was done is kept: go on with "
        "--resume, with fewer --jobs where memory ran out"
    )


def _shutdown(spawned: Sequence[_Worker]) -> None:
    """End every process: one that is idle ends at once, one at work between two steps, one that does not is killed."""
    for worker in spawned:
        worker.process.terminate()
    until = time.monotonic() + PATIENCE
    for worker in spawned:
        worker.process.join(max(until - time.monotonic(), 0))
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join()
        worker.process.close()
        worker.pipe.close()
