"""Processes that run jobs: what they return, how they fail, and that none is left."""

import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
import pytest

from guideplug.errors import DivergenceError, RunError, WorkerLost
from guideplug.executors import Job, JobResult, Pool, Processes, Serial, WorkerSource
from guideplug.executors.interrupt import Interrupted, handle_signals
from guideplug.experiments.engine import engine_on
from guideplug.testing import check_executor

NUMBERS = range(6)


@pytest.fixture(autouse=True)
def _findable(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other processes import this file by its name."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2]))


@attrs.define
class Worker:
    """Answers, fails, or takes its time, as the cell says."""

    folder: Path
    calls: int = 0

    def answer(self, number: int) -> dict[str, Any]:
        self.calls += 1
        return {"number": number, "process": os.getpid(), "calls": self.calls}

    def diverge(self, number: int) -> dict[str, Any]:
        """The first fails while the others work; they ask whether to stop after every step."""
        if number == 0:
            while not list(self.folder.iterdir()):
                time.sleep(0.01)
            raise DivergenceError("a diverged")
        with handle_signals() as stop:
            self.folder.joinpath(f"began-{os.getpid()}").touch()
            try:
                while True:
                    time.sleep(0.01)
                    stop()
            except Interrupted:
                self.folder.joinpath(f"saved-{os.getpid()}").touch()
                raise

    def end_unasked(self, number: int) -> dict[str, Any]:
        """The others' blocks end by themselves just after they were asked to stop, and nobody looks at the flag."""
        if number == 0:
            return self.diverge(number)
        with handle_signals() as stop:
            self.folder.joinpath(f"began-{os.getpid()}").touch()
            while stop.signal is None:
                time.sleep(0.01)
        self.folder.joinpath("stayed").touch()
        return {}

    def stubborn(self, number: int) -> dict[str, Any]:
        if number == 0:
            return self.diverge(number)
        with handle_signals():
            self.folder.joinpath(f"began-{os.getpid()}").touch()
            time.sleep(600)
        return {}

    def bug(self, number: int) -> dict[str, Any]:
        return {"never": {}[number]}

    def killed(self, number: int) -> dict[str, Any]:
        if number == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return {}

    def asked(self, number: int) -> dict[str, Any]:
        """The one who asks gets a signal while all work."""
        with handle_signals() as stop:
            os.kill(os.getppid(), signal.SIGTERM)
            while True:
                time.sleep(0.01)
                stop()

    def unsendable(self, number: int) -> Any:
        return (lambda: number) if number == 0 else {"process": os.getpid()}


def refuse(folder: Path) -> Worker:
    raise RunError("no worker")


def gather(folder: Path, method: str, make: Any = Worker) -> dict[int, dict[str, Any]]:
    jobs = [Job(f"job {number}", method, (number,)) for number in NUMBERS]
    with engine_on(Processes(2), WorkerSource(None, make, (folder,))) as engine:
        return {job.arguments[0]: value for job, value in engine.run(jobs)}


@pytest.mark.parametrize("executor", [Serial(), Processes(2)], ids=["serial", "processes"])
def test_the_laws_hold(executor: Any) -> None:
    check_executor(executor)


def test_every_job_is_run_by_processes_that_are_kept(tmp_path: Path) -> None:
    values = gather(tmp_path, "answer")
    assert sorted(values) == list(NUMBERS)
    assert all(value["number"] == number for number, value in values.items())
    processes = {value["process"] for value in values.values()}
    assert 1 <= len(processes) <= 2
    assert os.getpid() not in processes
    assert sum(max(v["calls"] for v in values.values() if v["process"] == one) for one in processes) == len(NUMBERS)


@pytest.mark.slow
@pytest.mark.parametrize("what", ["diverge", "end_unasked"])
def test_when_one_fails_the_others_save_and_leave(tmp_path: Path, what: str) -> None:
    with pytest.raises(DivergenceError, match="a diverged"):
        gather(tmp_path, what)
    names = {path.name.partition("-")[0] for path in tmp_path.iterdir()}
    assert names == ({"began", "saved"} if what == "diverge" else {"began"})
    for path in tmp_path.glob("began-*"):
        with pytest.raises(ProcessLookupError):
            os.kill(int(path.name.partition("-")[2]), 0)


@pytest.mark.slow
def test_one_that_does_not_leave_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("guideplug.executors.processes.PATIENCE", 0.3)
    with pytest.raises(DivergenceError):
        gather(tmp_path, "stubborn")
    (began,) = tmp_path.glob("began-*")
    with pytest.raises(ProcessLookupError):
        os.kill(int(began.name.partition("-")[2]), 0)


@pytest.mark.slow
def test_a_bug_keeps_its_traceback(tmp_path: Path) -> None:
    with pytest.raises(KeyError) as caught:
        gather(tmp_path, "bug")
    assert 'return {"never": {}[number]}' in str(caught.value.__cause__)


@pytest.mark.slow
def test_a_killed_process_is_told(tmp_path: Path) -> None:
    with pytest.raises(WorkerLost, match=r"ended by signal 9 \(SIGKILL\) while it was at job 3;.*--resume"):
        gather(tmp_path, "killed")


@pytest.mark.slow
def test_a_worker_that_cannot_be_made(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no worker"):
        gather(tmp_path, "answer", make=refuse)


@pytest.mark.slow
def test_who_asks_may_be_asked_to_stop(tmp_path: Path) -> None:
    with pytest.raises(Interrupted) as caught:
        gather(tmp_path, "asked")
    assert caught.value.exit_code == 143


@pytest.mark.slow
def test_a_value_that_cannot_be_sent_is_an_error_of_its_job(tmp_path: Path) -> None:
    pool = Processes(1).open(WorkerSource(None, Worker, (tmp_path,)))
    try:
        for number in (0, 1):
            pool.submit(Job(f"job {number}", "unsendable", (number,)))
            (result,) = soon(pool)
            assert (result.error is None) == (number == 1)
            assert number or "pickle" in str(result.error)
    finally:
        pool.shutdown()


@pytest.mark.slow
def test_a_process_that_dies_between_jobs_is_replaced(tmp_path: Path) -> None:
    pool = Processes(1).open(WorkerSource(None, Worker, (tmp_path,)))
    try:
        processes = []
        for number in (0, 1):
            pool.submit(Job(f"job {number}", "answer", (number,)))
            (result,) = soon(pool)
            processes.append(result.value["process"])
            os.kill(processes[-1], signal.SIGKILL)
            while Path(f"/proc/{processes[-1]}/stat").read_text().split()[2] != "Z":
                time.sleep(0.01)
        assert processes[0] != processes[1]
    finally:
        pool.shutdown()


@pytest.mark.slow
def test_who_is_cancelled_and_shut_down_is_asked_once_and_saves(tmp_path: Path) -> None:
    pool = Processes(1).open(WorkerSource(None, Worker, (tmp_path,)))
    pool.submit(Job("job 1", "diverge", (1,)))  # works until it is stopped, and then saves
    while not list(tmp_path.glob("began-*")):
        time.sleep(0.01)
    pool.cancel()
    pool.shutdown()
    assert list(tmp_path.glob("saved-*"))


def soon(pool: Pool) -> Sequence[JobResult]:
    """The next results, within a minute."""
    until = time.monotonic() + 60
    while not (results := pool.wait(0.1)):
        assert time.monotonic() < until
    return results
