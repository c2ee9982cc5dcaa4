"""A local plugin with an executor: jobs in this process, each noted in ``jobs.txt`` of the working folder."""

from collections.abc import Sequence
from pathlib import Path
from typing import final

from attrs import frozen

from guideplug import Executor, Job, JobResult, Pool, WorkerSource, hook
from guideplug.executors import Serial


@frozen
class NotingPool(Pool):
    """Another pool, whose jobs are noted."""

    inner: Pool

    @property
    def capacity(self) -> int:
        return self.inner.capacity

    def submit(self, job: Job) -> None:
        with Path("jobs.txt").open("a") as file:
            file.write(f"{job.key}\n")
        self.inner.submit(job)

    def wait(self, seconds: float) -> Sequence[JobResult]:
        return self.inner.wait(seconds)

    def cancel(self) -> None:
        self.inner.cancel()

    def shutdown(self) -> None:
        self.inner.shutdown()


@final
@frozen
class Noting(Executor):
    """Jobs in this process, noted."""

    name = "noting"

    def open(self, source: WorkerSource) -> Pool:
        return NotingPool(Serial().open(source))


@hook
def guideplug_executors() -> list[type[Executor]]:
    return [Noting]
