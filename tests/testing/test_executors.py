"""Defects planted in an executor that is right: the kit names the law that each breaks, and none of the right one."""

from collections.abc import Sequence
from typing import final

import pytest
from attrs import frozen

from guideplug import Executor, Job, JobResult, Pool, WorkerSource
from guideplug.errors import WorkerLost
from guideplug.executors import Serial
from guideplug.testing.executors import EXECUTOR, Executing


class Altered(Pool):
    """A serial pool with one thing wrong."""

    def __init__(self, pool: Pool, defect: str) -> None:
        self.pool, self.defect, self.count, self.closed = pool, defect, 0, False

    @property
    def capacity(self) -> int:
        return 0 if self.defect == "none" else 1

    def submit(self, job: Job) -> None:
        self.pool.submit(job)

    def wait(self, seconds: float) -> Sequence[JobResult]:
        results = list(self.pool.wait(seconds))
        for result in results:
            self.count += 1
            if self.defect == "renamed":
                return [JobResult(Job("another", "square"), result.value, result.error)]
            if self.defect == "thread" and result.job.method == "place":
                return [JobResult(result.job, {**result.value, "main thread": False})]
            if self.defect == "changed" and result.job.method == "square":
                return [JobResult(result.job, {**result.value, "text": "changed"})]
            if self.defect == "swallowed" and result.error is not None:
                return [JobResult(result.job)]
            if self.defect == "raised" and result.error is not None:
                raise result.error
            if self.defect == "unnamed" and result.error is not None:
                return [JobResult(result.job, error=WorkerLost("something was lost"))]
        return results

    def cancel(self) -> None:
        self.pool.cancel()

    def shutdown(self) -> None:
        if self.closed and self.defect == "once":
            raise RuntimeError("closed already")
        self.closed = True


@final
@frozen
class Faulty(Executor):
    """An executor with one thing wrong."""

    name = "faulty"
    defect: str = ""

    def open(self, source: WorkerSource) -> Pool:
        return Altered(Serial().open(source), self.defect)


DEFECTS = {
    "none": "it runs at least one job at a time",
    "renamed": "every job has one result, under its own key",
    "changed": "results are what the worker returns, also of a job that runs twice",
    "thread": "a job runs in the main thread of a process",
    "swallowed": "an error is the result of its job, and others go on",
    "raised": "an error is the result of its job, and others go on",
    "unnamed": "an error is the result of its job, and others go on",
    "once": "a pool is shut down twice, and unused, without an error",
}


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("guideplug.testing.executors.PATIENCE", 0.5)


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_defect_is_named(defect: str) -> None:
    broken = [finding.law for finding in EXECUTOR.findings(Executing(Faulty(defect))) if not finding.holds]
    assert DEFECTS[defect] in broken
    assert len(broken) == 1 or defect == "none"  # nothing runs without capacity


def test_the_right_one_breaks_none() -> None:
    assert not [finding for finding in EXECUTOR.findings(Executing(Faulty())) if not finding.holds]
