"""Processes that work on cells: what they answer, how they fail, and that nobody is left waiting."""

import os
import signal
import time
from pathlib import Path
from typing import Any

import attrs
import pytest

from guideplug.experiments.comparison.workers import Cell, asked_to_leave, workers
from guideplug.errors import DivergenceError, RunError
from guideplug.executors.interrupt import Interrupted

CELLS: list[Cell] = [(name, seed, 0) for name in "ab" for seed in range(3)]


@pytest.fixture(autouse=True)
def _findable(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other processes import this file by its name."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2]))


@attrs.define
class Desk:
    """Answers, fails, or takes its time, as the cell says."""

    folder: Path
    calls: int = 0

    def answer(self, cell: Cell) -> dict[str, Any]:
        self.calls += 1
        return {"cell": cell, "process": os.getpid(), "calls": self.calls}

    def diverge(self, cell: Cell) -> dict[str, Any]:
        """The first fails while the others work; they ask whether to stop after every step."""
        if cell == CELLS[0]:
            while not list(self.folder.iterdir()):
                time.sleep(0.01)
            raise DivergenceError("a diverged")
        with asked_to_leave() as stop:
            self.folder.joinpath(f"began-{os.getpid()}").touch()
            try:
                while True:
                    time.sleep(0.01)
                    stop()
            except Interrupted:
                self.folder.joinpath(f"saved-{os.getpid()}").touch()
                raise

    def end_unasked(self, cell: Cell) -> dict[str, Any]:
        """The others' blocks end by themselves just after they were asked to stop, and nobody looks at the flag."""
        if cell == CELLS[0]:
            return self.diverge(cell)
        with asked_to_leave() as stop:
            self.folder.joinpath(f"began-{os.getpid()}").touch()
            while stop.signal is None:
                time.sleep(0.01)
        self.folder.joinpath("stayed").touch()
        return {}

    def stubborn(self, cell: Cell) -> dict[str, Any]:
        if cell == CELLS[0]:
            return self.diverge(cell)
        with asked_to_leave():
            self.folder.joinpath(f"began-{os.getpid()}").touch()
            time.sleep(600)
        return {}

    def bug(self, cell: Cell) -> dict[str, Any]:
        return {"never": {}[cell]}

    def killed(self, cell: Cell) -> dict[str, Any]:
        if cell == CELLS[3]:
            os.kill(os.getpid(), signal.SIGKILL)
        return {}

    def asked(self, cell: Cell) -> dict[str, Any]:
        """The one who asks gets a signal while all work."""
        with asked_to_leave() as stop:
            os.kill(os.getppid(), signal.SIGTERM)
            while True:
                time.sleep(0.01)
                stop()


def refuse(folder: Path) -> Desk:
    raise RunError("no worker")


def gather(folder: Path, what: str, jobs: int = 2, make: Any = Desk) -> dict[Cell, dict[str, Any]]:
    with workers(jobs, make, (folder,)) as run:
        return dict(run(what, CELLS))


def test_every_cell_is_answered_by_processes_that_are_kept(tmp_path: Path) -> None:
    found = gather(tmp_path, "answer")
    assert sorted(found) == sorted(CELLS)
    assert all(answer["cell"] == cell for cell, answer in found.items())
    processes = {answer["process"] for answer in found.values()}
    assert 1 <= len(processes) <= 2
    assert os.getpid() not in processes
    assert sum(max(a["calls"] for a in found.values() if a["process"] == one) for one in processes) == len(CELLS)


@pytest.mark.parametrize("what", ["diverge", "end_unasked"])
def test_when_one_fails_the_others_save_and_leave(tmp_path: Path, what: str) -> None:
    with pytest.raises(DivergenceError, match="a diverged"):
        gather(tmp_path, what)
    names = {path.name.partition("-")[0] for path in tmp_path.iterdir()}
    assert names == ({"began", "saved"} if what == "diverge" else {"began"})
    for path in tmp_path.glob("began-*"):
        with pytest.raises(ProcessLookupError):
            os.kill(int(path.name.partition("-")[2]), 0)


def test_one_that_does_not_leave_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("guideplug.experiments.comparison.workers.PATIENCE", 0.3)
    with pytest.raises(DivergenceError):
        gather(tmp_path, "stubborn")
    (began,) = tmp_path.glob("began-*")
    with pytest.raises(ProcessLookupError):
        os.kill(int(began.name.partition("-")[2]), 0)


def test_a_bug_keeps_its_traceback(tmp_path: Path) -> None:
    with pytest.raises(KeyError) as caught:
        gather(tmp_path, "bug")
    assert 'return {"never": {}[cell]}' in str(caught.value.__cause__)


def test_a_killed_process_is_told(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"ended by signal 9 \(SIGKILL\) while it was at \('b', 0, 0\).*--resume"):
        gather(tmp_path, "killed")


def test_a_desk_that_cannot_be_made(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no worker"):
        gather(tmp_path, "answer", make=refuse)


def test_who_asks_may_be_asked_to_stop(tmp_path: Path) -> None:
    with pytest.raises(Interrupted) as caught:
        gather(tmp_path, "asked")
    assert caught.value.exit_code == 143
