"""The laws of executors: results by value, from anywhere and in any order; losses named; whole files after a cancel."""

import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from attrs import frozen

from guideplug.errors import WorkerLost
from guideplug.executors import Executor, Job, JobResult, Pool, WorkerSource
from guideplug.testing.law import Laws, must
from guideplug.testing.law_worker import LawWorker
from guideplug.testing.strategies import check_strategy

__all__ = ["EXECUTOR", "Executing", "check_executor"]

PATIENCE = 60.0
"""Seconds for results to come, and for jobs to end."""
JOBS = 4


@frozen
class Executing:
    """An executor under test; the jobs of several laws run in one pool."""

    executor: Executor

    @contextmanager
    def pool(self) -> Iterator[Pool]:
        """An open pool, which is shut down."""
        pool = self.executor.open(WorkerSource(LawWorker(), LawWorker))
        try:
            yield pool
        finally:
            pool.shutdown()

    def results(self, jobs: Sequence[Job]) -> list[JobResult]:
        """The results of jobs, submitted as the pool has room."""
        waiting, results, until = list(jobs), list[JobResult](), time.monotonic() + PATIENCE
        with self.pool() as pool:
            while len(results) < len(jobs):
                while waiting and len(jobs) - len(waiting) - len(results) < pool.capacity:
                    pool.submit(waiting.pop(0))
                results += pool.wait(0.1)
                late = [job.key for job in jobs if job not in [result.job for result in results]]
                must(time.monotonic() < until, f"after {PATIENCE:g} s there is no result of {', '.join(late)}")
        return results

    @cached_property
    def values(self) -> list[JobResult]:
        """The results of jobs that return plain data, one of them twice."""
        numbers = [*range(JOBS), 3]
        jobs = [Job(f"square {place}", "square", (number,)) for place, number in enumerate(numbers)]
        return self.results([*jobs, Job("place", "place")])

    @property
    def squares(self) -> list[JobResult]:
        """Those of the squares."""
        return [result for result in self.values if result.job.method == "square"]

    @property
    def elsewhere(self) -> bool:
        """Whether jobs run in other processes."""
        return bool(self.place["process"] != os.getpid())

    @property
    def place(self) -> dict[str, Any]:
        """Where jobs run."""
        return next(_plain(result) for result in self.values if result.job.method == "place")


def _plain(result: JobResult) -> Any:
    if result.error is not None:
        raise result.error
    return {name: value.tolist() if name == "values" else value for name, value in result.value.items()}


EXECUTOR: Laws[Executing] = Laws()


def check_executor(executor: Executor) -> None:
    """The laws of an executor, on jobs that return, fail, die, and are cancelled.

    Every job has one result, a value or an error, under its own key; values are those that the worker returns, also if
    a job runs twice. A process that dies is the result of its job, a `guideplug.errors.WorkerLost` that names it. A
    pool that is shut down leaves no job running, and whole files.
    """
    check_strategy(executor)
    EXECUTOR.check(Executing(executor))


@EXECUTOR.add("it runs at least one job at a time", "return the largest number of jobs in progress from capacity")
def _capacity(executing: Executing) -> None:
    with executing.pool() as pool:
        must(pool.capacity >= 1, f"capacity is {pool.capacity}")


@EXECUTOR.add("every job has one result, under its own key", "return each result from wait() once", premise=True)
def _one_result(executing: Executing) -> None:
    keys = sorted(result.job.key for result in executing.values)
    must(keys == sorted(["place", *(f"square {place}" for place in range(JOBS + 1))]), f"results are of {keys}")


@EXECUTOR.add("results are what the worker returns, also of a job that runs twice", "send values as they are")
def _values(executing: Executing) -> None:
    for result in executing.squares:
        number = result.job.arguments[0]
        expected = {**LawWorker().square(number), "values": [0, number, 2 * number]}
        must(_plain(result) == expected, f"{result.job.key} is {_plain(result)}")


@EXECUTOR.add("a job runs in the main thread of a process", "signals reach no other thread, and so no stop request")
def _main_thread(executing: Executing) -> None:
    must(executing.place["main thread"])


@EXECUTOR.add("an error is the result of its job, and others go on", "return errors in results; raise none from wait()")
def _errors(executing: Executing) -> None:
    _fails_alone(executing, Job("failing", "fail", ("out of luck",)), LookupError, "out of luck")


@EXECUTOR.add(
    "a worker that is lost names its job, and others go on",
    "return a WorkerLost whose message has the job's key",
    where=lambda executing: executing.elsewhere,
)
def _lost(executing: Executing) -> None:
    _fails_alone(executing, Job("the fatal one", "die"), WorkerLost, "the fatal one")


def _fails_alone(executing: Executing, job: Job, kind: type[Exception], text: str) -> None:
    """The job has an error of a kind, with a text; the one beside it has none."""
    for result in executing.results([job, Job("square of 3", "square", (3,))]):
        must((result.error is not None) == (result.job.key == job.key), f"{result.job.key}: {result.error!r}")
        if result.error is not None:
            must(isinstance(result.error, kind), f"it is {result.error!r}")
            must(text in str(result.error), f"it says {result.error}")


@EXECUTOR.add(
    "a job that is cancelled stops between two steps, and leaves whole files",
    "send the job's process SIGTERM, and wait until it has ended",
    where=lambda executing: executing.elsewhere,
)
def _cancelled(executing: Executing) -> None:
    with tempfile.TemporaryDirectory() as place:
        state = Path(place) / "state"
        with executing.pool() as pool:
            pool.submit(Job("writing", "write", (place,)))
            until = time.monotonic() + PATIENCE
            while not state.is_file():
                must(time.monotonic() < until, f"after {PATIENCE:g} s the job has written nothing")
                time.sleep(0.01)
            pool.cancel()
        written = state.stat().st_mtime_ns
        left = sorted(path.name for path in Path(place).iterdir())
        must(left == ["state"], f"left are {', '.join(left)}")
        must(state.stat().st_size == 4096, f"{state.stat().st_size} of 4096 bytes are there")
        time.sleep(0.1)
        must(state.stat().st_mtime_ns == written, "it still writes")


@EXECUTOR.add("a pool is shut down twice, and unused, without an error", "let a second shutdown() do nothing")
def _shut_down(executing: Executing) -> None:
    with executing.pool() as pool:
        pool.shutdown()
