"""The engine of comparisons and studies: jobs with prerequisites, on an executor.

The driver lists jobs; the engine submits each when those before it have ended, and yields results as they come. The
driver alone writes the experiment's folder, and decides what runs next.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from graphlib import CycleError, TopologicalSorter
from typing import Any

import attrs
import numpy as np

from guideplug.config import breach, described
from guideplug.executors import Executor, Job, JobResult, Pool, WorkerSource
from guideplug.executors.interrupt import StopToken, handle_signals

__all__ = ["Engine", "engine_on"]

SECONDS_BETWEEN_CHECKS = 0.1
"""Seconds between checks for a stop request."""


@contextmanager
def engine_on(executor: Executor, source: WorkerSource) -> Iterator["Engine"]:
    """An engine on an executor; at the end of the block no job runs any more.

    Args:
        executor: where jobs run.
        source: the workers whose methods they call.
    """
    with handle_signals() as stop:
        pool = executor.open(source)
        if not isinstance(pool, Pool):
            raise breach(executor, f"opened {described(pool)}: return a Pool")
        try:
            yield Engine(pool, stop, executor)
        except BaseException:
            pool.cancel()
            raise
        finally:
            pool.shutdown()


@attrs.define(eq=False)
class Engine:
    """Jobs in the order of their prerequisites.

    Args:
        pool: where they run.
        stop: raises if a stop was requested.
        executor: whose pool it is.
    """

    pool: Pool
    stop: StopToken
    executor: Executor
    _ended: set[str] = attrs.field(factory=set, init=False)

    def run(self, jobs: Sequence[Job]) -> Iterator[tuple[Job, Any]]:
        """Each job with its value, as the results come; among jobs that may begin, the first listed begins first.

        A prerequisite is one of the jobs, or has ended in an earlier call.

        Raises:
            Exception: the error of a job; the results that came with it have been yielded.
            WorkerLost: the process of a job ended.
            Interrupted: SIGINT or SIGTERM.
            ValueError: a prerequisite is unknown, jobs wait for each other in a circle, or two have one key.
            ContractError: the executor answers what is no result of a job in progress, or no plain data.
        """
        self._check(jobs)
        waiting, running = list(jobs), dict[str, Job]()
        while waiting or running:
            while (job := self._next(waiting, running)) is not None:
                waiting.remove(job)
                running[job.key] = job
                self.pool.submit(job)
            results = self._results(running)
            for result in sorted(results, key=lambda result: result.error is not None):
                yield result.job, self._value(result)
                del running[result.job.key]
                self._ended.add(result.job.key)
            self.stop()

    def _results(self, running: Mapping[str, Job]) -> Sequence[JobResult]:
        """The results that have come, each of one job in progress."""
        results = self.pool.wait(SECONDS_BETWEEN_CHECKS)
        if not isinstance(results, Sequence):
            raise breach(self.executor, f"gave {described(results)} for results: return a list of JobResult")
        answered: set[str] = set()
        for result in results:
            if not isinstance(result, JobResult):
                raise breach(self.executor, f"gave {described(result)} for a result: return JobResult(job, value)")
            key = result.job.key
            if key in answered or key in self._ended:
                raise breach(self.executor, f"gave the result of job {key!r} twice: return each once from wait()")
            if running.get(key) != result.job:
                raise breach(self.executor, f"gave a result of job {key!r}, which is not in progress: keep each job")
            if result.error is not None and not isinstance(result.error, BaseException):
                raise breach(self.executor, f"gave {described(result.error)} for the error of job {key!r}: keep it")
            answered.add(key)
        return results

    def _value(self, result: JobResult) -> Any:
        if result.error is not None:
            raise result.error
        fault = "None" if result.value is None else _fault(result.value)
        if fault:
            raise breach(self.executor, f"gave {fault} for the value of job {result.job.key!r}: keep the plain data")
        return result.value

    def _capacity(self) -> int:
        capacity = self.pool.capacity
        if type(capacity) is not int or capacity < 1:
            raise breach(self.executor, f"gave the capacity {described(capacity)}: return a whole number, 1 at least")
        return capacity

    def _next(self, waiting: Sequence[Job], running: Mapping[str, Job]) -> Job | None:
        """The job to submit now; a job that runs alone waits for those in progress, and later ones wait for it."""
        if len(running) >= self._capacity() or any(job.alone for job in running.values()):
            return None
        for job in waiting:
            if job.after <= self._ended:
                return job if not (job.alone and running) else None
        return None

    def _check(self, jobs: Sequence[Job]) -> None:
        keys = {job.key for job in jobs}
        if len(keys) < len(jobs):
            raise ValueError("two jobs have one key")
        for job in jobs:
            if unknown := job.after - keys - self._ended:
                raise ValueError(f"job {job.key!r} waits for {sorted(unknown)}, which are no jobs")
        try:
            TopologicalSorter({job.key: job.after for job in jobs}).prepare()
        except CycleError as error:
            raise ValueError(f"jobs wait for each other: {', '.join(error.args[1])}") from None


def _fault(value: Any) -> str:
    """The first part of a value that is no plain data, in words; empty if there is none."""
    if isinstance(value, dict):
        return next((fault for pair in value.items() for part in pair if (fault := _fault(part))), "")
    if isinstance(value, list | tuple):
        return next((fault for part in value if (fault := _fault(part))), "")
    plain = value is None or isinstance(value, bool | int | float | str | bytes | np.ndarray)
    return "" if plain else f"a {type(value).__name__}"
