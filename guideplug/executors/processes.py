"""Jobs in processes of this machine, each with a pipe of its own to this one.

On a stop request a process finishes its step, saves its state, and exits; one that takes too long is killed. Processes
share no lock, so the death of one, such as for lack of memory, blocks no other, and names the job that it was at. Where
the process that they work for is killed, they end too. `concurrent.futures.ProcessPoolExecutor` keeps none of this: a
killed worker fails every later job and is not named, and workers outlive a killed parent.
"""

import contextlib
import multiprocessing
import os
import pickle
import signal
import threading
import time
import traceback
from collections.abc import Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import final

from attrs import define, field, frozen

from guideplug.config import option, up_to
from guideplug.errors import WorkerLost
from guideplug.executors.executor import Executor, Job, JobResult, Pool, WorkerSource
from guideplug.executors.interrupt import OF_TERMINAL, SIGNALS, Interrupted, handle_signals

__all__ = ["Processes"]

PATIENCE = 10.0
"""Seconds allowed to processes for exiting on request."""


@final
@frozen
class Processes(Executor):
    """Several processes of this machine."""

    name = "processes"
    count: int = option(2, help="processes at a time", validator=up_to(1_024))

    def open(self, source: WorkerSource) -> Pool:
        """A pool that starts a process when a job needs one, and keeps it for later jobs."""
        return _ProcessPool(self.count, source)


class _RemoteTraceback(Exception):
    """The traceback of another process, as text."""

    def __str__(self) -> str:
        return f'\n"""\n{self.args[0]}"""'


@define(eq=False)
class _Process:
    process: BaseProcess
    pipe: Connection
    job: Job | None = None
    stopping: bool = False

    def stop(self) -> None:
        """Send SIGTERM, once: a second one would not wait for the state to be saved."""
        if not self.stopping:
            self.stopping = True
            self.process.terminate()


@define(eq=False)
class _ProcessPool(Pool):
    count: int
    source: WorkerSource
    processes: list[_Process] = field(factory=list)

    @property
    def capacity(self) -> int:
        return self.count

    def submit(self, job: Job) -> None:
        for process in [process for process in self.processes if process.job is None]:
            if process.stopping or not process.process.is_alive():  # such as for lack of memory
                self.processes.remove(process)
                _close(process, time.monotonic() + PATIENCE)
        idle = next((process for process in self.processes if process.job is None), None)
        if idle is None:
            idle = _spawn(self.source)
            self.processes.append(idle)
        idle.job = job
        with contextlib.suppress(BrokenPipeError):  # it has died, which `wait` reports
            idle.pipe.send(job)

    def wait(self, seconds: float) -> Sequence[JobResult]:
        busy = {process.pipe: process for process in self.processes if process.job is not None}
        return [self._result(busy[pipe]) for pipe in wait(list(busy), timeout=seconds)]  # type: ignore[index]

    def _result(self, process: _Process) -> JobResult:
        job = process.job
        assert job is not None  # by `wait`
        try:
            value, error, text = process.pipe.recv()
        except (EOFError, ConnectionResetError):
            self.processes.remove(process)
            return JobResult(job, error=_loss(process, job))
        process.job = None
        if error is not None:
            error.__cause__ = _RemoteTraceback(text)
        return JobResult(job, value, error)

    def cancel(self) -> None:
        for process in self.processes:
            if process.job is not None:
                process.stop()

    def shutdown(self) -> None:
        for process in self.processes:
            process.stop()
        until = time.monotonic() + PATIENCE
        while self.processes:
            _close(self.processes.pop(), until)


def _spawn(source: WorkerSource) -> _Process:
    """A new process; signals of a terminal are blocked until it is ready."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, OF_TERMINAL)
    try:
        process = context.Process(target=_serve, args=(theirs, source.make, source.arguments))
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    theirs.close()
    return _Process(process, ours)


def _loss(process: _Process, job: Job) -> BaseException:
    """The error for a process that has ended: by a stop request, or killed."""
    process.process.join(PATIENCE)
    code = process.process.exitcode
    _close(process, time.monotonic())
    for number in SIGNALS:
        if code in (-number, 128 + number):
            return Interrupted(128 + number)
    if code is not None and code < 0:
        ending = f"by signal {-code} ({signal.Signals(-code).name})"
    else:
        ending = f"with code {code}"
    return WorkerLost(
        f"a worker ended {ending} while it was at {job.key}; what was done is kept: go on with --resume, with fewer "
        "--jobs if memory ran out"
    )


def _close(process: _Process, until: float) -> None:
    """Wait for a process that was asked to end, and kill it if it has not by then."""
    process.process.join(max(until - time.monotonic(), 0))
    if process.process.is_alive():
        process.process.kill()
        process.process.join()
    process.process.close()
    process.pipe.close()


# In the other process


def _serve(pipe: Connection, make: object, arguments: Sequence[object]) -> None:
    """The loop of a worker process: receive jobs, send results, until the pipe is closed."""
    for number in OF_TERMINAL:
        signal.signal(number, signal.SIG_IGN)  # the parent receives it too, and requests the stop
    signal.pthread_sigmask(signal.SIG_UNBLOCK, OF_TERMINAL)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    worker = None
    while True:
        try:
            job: Job = pipe.recv()
        except EOFError:
            return
        try:
            worker = worker or make(*arguments)  # type: ignore[operator]
            answer: tuple[object, Exception | None, str] = _answer(worker, job)
        except Exception as error:
            answer = (None, *_sendable(error))
        try:
            _send(pipe, answer)
        except BrokenPipeError:
            return


def _send(pipe: Connection, answer: tuple[object, Exception | None, str]) -> None:
    """Send an answer; one that cannot be pickled is an error."""
    try:
        pipe.send(answer)
    except BrokenPipeError:
        raise
    except Exception as error:
        pipe.send((None, *_sendable(error)))


def _answer(worker: object, job: Job) -> tuple[object, None, str]:
    """A job's value; a process with a stop request exits at the job's end in any case."""
    with handle_signals() as stop:
        try:
            return getattr(worker, job.method)(*job.arguments), None, ""
        finally:
            if stop.signal is not None:
                os._exit(128 + stop.signal)


def _end_with_parent() -> None:
    """Send this process SIGTERM when its parent process has ended."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)


def _sendable(error: Exception) -> tuple[Exception, str]:
    """An error and its traceback; an error that cannot be pickled becomes a `RuntimeError` with its text."""
    text = "".join(traceback.format_exception(error))
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}"), text
    return error, text
