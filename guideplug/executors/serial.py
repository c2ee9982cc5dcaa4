"""Jobs one after the other, in this process."""

from collections.abc import Sequence
from typing import final

from attrs import define, field, frozen

from guideplug.executors.executor import Executor, Job, JobResult, Pool, WorkerSource

__all__ = ["Serial"]


@final
@frozen
class Serial(Executor):
    """One job at a time, in this process; the default."""

    name = "serial"

    def open(self, source: WorkerSource) -> Pool:
        """A pool of this process."""
        return _SerialPool(source.here)


@define(eq=False)
class _SerialPool(Pool):
    worker: object
    waiting: list[Job] = field(factory=list)

    @property
    def capacity(self) -> int:
        return 1

    def submit(self, job: Job) -> None:
        self.waiting.append(job)

    def wait(self, seconds: float) -> Sequence[JobResult]:
        if not self.waiting:
            return ()
        job = self.waiting.pop(0)
        try:
            return [JobResult(job, getattr(self.worker, job.method)(*job.arguments))]
        except Exception as error:
            return [JobResult(job, error=error)]

    def cancel(self) -> None:
        self.waiting.clear()

    def shutdown(self) -> None:
        self.cancel()
