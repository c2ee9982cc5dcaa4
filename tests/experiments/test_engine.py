"""The engine: prerequisites first, what runs alone apart, results as they come, and refusals."""

import random
from collections.abc import Sequence
from typing import Any

import pytest
from attrs import define, field
from hypothesis import given
from hypothesis import strategies as st

from guideplug.errors import ContractError, WorkerLost
from guideplug.executors import Job, JobResult, Pool, Serial
from guideplug.executors.interrupt import StopToken
from guideplug.experiments.engine import Engine


@define(eq=False)
class Shuffled(Pool):
    """A pool of pretence, whose jobs end in a random order, some at the same time."""

    capacity: int = 2
    draw: random.Random = field(factory=lambda: random.Random(0))
    running: list[Job] = field(factory=list)
    log: list[tuple[str, list[str]]] = field(factory=list)
    values: dict[str, Any] = field(factory=dict)

    def submit(self, job: Job) -> None:
        assert len(self.running) < self.capacity
        self.running.append(job)
        self.log.append((job.key, [other.key for other in self.running]))

    def wait(self, seconds: float) -> Sequence[JobResult]:
        ended = self.draw.sample(self.running, self.draw.randint(0, len(self.running)))
        self.running = [job for job in self.running if job not in ended]
        return [self._result(job) for job in ended]

    def _result(self, job: Job) -> JobResult:
        value = self.values.get(job.key, job.key)
        return JobResult(job, error=value) if isinstance(value, Exception) else JobResult(job, value)

    def cancel(self) -> None:
        self.running.clear()

    def shutdown(self) -> None:
        self.cancel()


@given(st.integers(0, 2**32), st.integers(1, 9), st.integers(1, 4))
def test_prerequisites_come_first_and_who_runs_alone_is_alone(seed: int, count: int, capacity: int) -> None:
    draw = random.Random(seed)
    jobs = [
        Job(
            str(number),
            "method",
            after=frozenset(str(other) for other in range(number) if draw.random() < 0.25),
            alone=draw.random() < 0.2,
        )
        for number in range(count)
    ]
    pool = Shuffled(capacity, draw)
    ended: list[str] = []
    for job, value in Engine(pool, StopToken(), Serial()).run(draw.sample(jobs, count)):
        assert value == job.key
        assert job.after <= set(ended)
        ended.append(job.key)
    assert sorted(ended) == sorted(job.key for job in jobs)
    alone = {job.key for job in jobs if job.alone}
    for _, beside in pool.log:
        assert not alone & set(beside) or len(beside) == 1


def test_jobs_begin_in_the_order_of_the_list() -> None:
    pool = Shuffled(1)
    list(Engine(pool, StopToken(), Serial()).run([Job("c", ""), Job("a", "", after=frozenset("b")), Job("b", "")]))
    assert [key for key, _ in pool.log] == ["c", "b", "a"]


def test_a_prerequisite_may_have_ended_in_an_earlier_call() -> None:
    engine = Engine(Shuffled(), StopToken(), Serial())
    list(engine.run([Job("a", "")]))
    assert [job.key for job, _ in engine.run([Job("b", "", after=frozenset("a"))])] == ["b"]


@pytest.mark.parametrize(
    ("jobs", "message"),
    [
        ([Job("a", ""), Job("a", "")], "two jobs have one key"),
        ([Job("a", "", after=frozenset("b"))], r"'a' waits for \['b'\], which are no jobs"),
        ([Job("a", "", after=frozenset("b")), Job("b", "", after=frozenset("a"))], "wait for each other"),
    ],
    ids=["one key", "unknown", "circle"],
)
def test_jobs_that_cannot_run_are_refused(jobs: list[Job], message: str) -> None:
    pool = Shuffled()
    with pytest.raises(ValueError, match=message):
        list(Engine(pool, StopToken(), Serial()).run(jobs))
    assert not pool.log


class Together(Shuffled):
    """All jobs end at the same time."""

    def wait(self, seconds: float) -> Sequence[JobResult]:
        ended, self.running = self.running, []
        return [self._result(job) for job in ended]


def test_results_that_came_with_an_error_are_yielded_first() -> None:
    pool = Together(2, values={"a": WorkerLost("a is lost")})
    run = Engine(pool, StopToken(), Serial()).run([Job("a", ""), Job("b", "")])
    assert next(run)[0].key == "b"
    with pytest.raises(WorkerLost):
        next(run)


@pytest.mark.parametrize("value", [object(), {"inner": [1, {2.0}]}, {("a", object()): 1}], ids=["object", "set", "key"])
def test_what_is_no_plain_data_is_refused(value: Any) -> None:
    with pytest.raises(ContractError, match=r"executor 'serial' of guideplug .* gave an? \w+ for the value of job 'a'"):
        list(Engine(Shuffled(values={"a": value}), StopToken(), Serial()).run([Job("a", "")]))
