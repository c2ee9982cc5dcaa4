"""Worker processes for cells, each with its own pipe to the parent process.

On a stop request a process finishes its step, saves its state, and exits; one that takes too long is killed. Processes
share no lock, so the death of one, such as for lack of memory, blocks no other.
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
"""The key of a piece of work; it can be pickled."""
Run: TypeAlias = Callable[[str, Sequence[Cell]], Iterator[tuple[Cell, Any]]]
"""Calls a method of the worker with each cell, and yields the results as they arrive."""

PATIENCE = 10.0
"""Seconds allowed to processes for exiting on request."""
ASK_EVERY = 0.1
"""Seconds between checks for a stop request."""

_employed = False
"""Whether this process is a worker process, which exits on a stop request."""


@contextmanager
def asked_to_leave() -> Iterator[StopToken]:
    """`handle_signals`; a worker process with a stop request exits at the end of the block in any case."""
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
    """An error and its traceback; an error that cannot be pickled becomes a `RuntimeError` with its text."""
    text = "".join(traceback.format_exception(error))
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}"), text
    return error, text


def _leave_with_parent() -> None:
    """Send this process SIGTERM when its parent process has ended."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)


def _serve(pipe: Connection, make: Callable[..., Any], arguments: Sequence[Any]) -> None:
    """The loop of a worker process: receive cells, send results, until the pipe is closed."""
    global _employed
    _employed = True
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent receives it too, and requests the stop
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    worker = None
    while True:
        try:
            method, cell = pipe.recv()
        except EOFError:
            return
        try:
            worker = worker or make(*arguments)
            answer = True, getattr(worker, method)(cell)
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
    """A function that runs a worker's method on cells in ``jobs`` other processes.

    Args:
        jobs: number of processes.
        make: makes a process's worker, within that process.
        arguments: the arguments of ``make``.
        label: the name of a cell in messages.

    Raises:
        Exception: what a worker raised, with its traceback; the others are stopped, and save their state.
        RunError: a process died.
        Interrupted: SIGINT or SIGTERM.
    """
    spawned: list[_Worker] = []
    with handle_signals() as stop:
        try:
            yield lambda method, cells: _dispatch(spawned, jobs, make, arguments, label, method, cells, stop)
        finally:
            _shutdown(spawned)


def _spawn(make: Callable[..., Any], arguments: Sequence[Any]) -> _Worker:
    """A new process; SIGINT is blocked until it is ready."""
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
    method: str,
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
                    worker.pipe.send((method, worker.cell))
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
            assert cell is not None  # the worker was busy
            yield cell, answer
        stop()


def _died(worker: _Worker, label: Callable[[Cell], str]) -> BaseException:
    """The error for a process that has ended: by a stop request, or killed."""
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
    """End every process: idle ones at once, busy ones between two steps; those that do not end are killed."""
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
