"""Long logs: what is read of them, and that what is shown is the same as if all had been."""

import builtins
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from guideplug.cli.watch import tail
from guideplug.cli.watch.loop import _Watch
from guideplug.cli.watch.state import POINTS, State
from guideplug.cli.watch.tail import ANCHOR, Tail

Event = dict[str, Any]


HEAD, LAST = 8 * 1024, 64 * 1024
"""The bytes that are read here of the beginning and of the end: few, so that short logs are long."""


@pytest.fixture(autouse=True)
def _few_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tail, "HEAD", HEAD)
    monkeypatch.setattr(tail, "LAST", LAST)
    monkeypatch.setattr(tail, "BLOCK", 16 * 1024)


class Counted:
    """A file that counts the bytes read from it."""

    total = 0

    def __init__(self, file: Any) -> None:
        self._file = file

    def __enter__(self) -> "Counted":
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def read(self, size: int = -1) -> Any:
        content = self._file.read(size)
        Counted.total += len(content)
        return content

    def readline(self, size: int = -1) -> Any:
        content = self._file.readline(size)
        Counted.total += len(content)
        return content


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Counted]]:
    """Count the bytes that are read through `Path.open`."""
    opened = Path.open
    monkeypatch.setattr(Path, "open", lambda path, *args, **options: Counted(opened(path, *args, **options)))
    Counted.total = 0
    yield Counted
    assert builtins.open is open


def begins(**changes: Any) -> Event:
    return {
        "event": "run", "time": 0.0, "kind": "run", "task": "tree", "roles": ["weak", "main"], "resumed": False,
        "process": os.getpid(), "host": platform.node(), **changes,
    }  # fmt: skip


def train(role: str, time: float = 1.0) -> Event:
    return {"event": "train", "time": time, "role": role, "step": 0, "total": 1e6, "unit": "it", "seconds": 0.0}


def steps(role: str, first: int, last: int) -> list[Event]:
    return [
        {
            "event": "step", "time": 2.0 + number, "role": role, "step": number, "reached": number, "total": 1e6,
            "unit": "it", "loss": 1 / number, "seconds": 0.5 * number, "seen": 64 * number,
        }
        for number in range(first, last)
    ]  # fmt: skip


def trials(first: int, last: int) -> list[Event]:
    return [
        {
            "event": "trial", "time": 10.0 * done, "done": done, "total": 10 * last, "which": f"width {done}",
            "seconds": 10.0,
        }
        for done in range(first, last)
    ]  # fmt: skip


def write(folder: Path, events: list[Event], mode: str = "w") -> Path:
    log = folder / "events.jsonl"
    with log.open(mode) as file:
        file.writelines(json.dumps(event) + "\n" for event in events)
    return log


def state_of(events: list[Event]) -> State:
    state = State()
    for event in events:
        state.add(event)
    return state


LONG = 4000
"""Events: more than three times as much as is read."""
LOGS = {
    "a training": [begins(), train("main"), *steps("main", 1, LONG)],
    "a study": [begins(kind="study"), *trials(1, LONG)],
}


@pytest.mark.parametrize("name", LOGS)
def test_of_a_long_log_its_beginning_and_its_end_are_read(name: str, tmp_path: Path, counted: type[Counted]) -> None:
    log = write(tmp_path, LOGS[name])
    size = log.stat().st_size
    assert size > 3 * (HEAD + LAST)
    first = Tail(log)
    counted.total = 0
    events, anew = first.read()
    assert counted.total <= HEAD + LAST + ANCHOR
    assert not anew
    assert events[0] == LOGS[name][0]
    (between,) = [event for event in events if event["event"] == "unread"]
    assert events[-1] == LOGS[name][-1]
    written = sum(len(json.dumps(event)) + 1 for event in events if event is not between)
    assert written + between["bytes"] == size
    counted.total = 0
    assert first.read() == ([], False)
    assert counted.total <= ANCHOR
    write(tmp_path, LOGS[name][1:3], "a")
    counted.total = 0
    assert first.read() == (LOGS[name][1:3], False)
    assert counted.total <= 2 * ANCHOR


@pytest.mark.parametrize("torn", ['{"event": "st', "no json\n", "x" * LAST], ids=["torn", "odd", "without an end"])
def test_a_torn_last_line_of_a_long_log_is_none(torn: str, tmp_path: Path, counted: type[Counted]) -> None:
    log = write(tmp_path, LOGS["a study"])
    with log.open("a") as file:
        file.write(torn)
    reading = Tail(log)
    for _ in range(3):
        counted.total = 0
        events, anew = reading.read()
        assert not anew
        assert all(event["event"] in ("run", "trial", "unread") for event in events)
        assert counted.total <= HEAD + LAST + 2 * ANCHOR
    with log.open("a") as file:
        file.write("\n")
    write(tmp_path, [{"event": "end", "time": 1e9, "status": "finished"}], "a")
    assert reading.read()[0][-1]["event"] == "end"


def test_a_long_log_that_was_cut_back_or_replaced_is_read_anew(tmp_path: Path, counted: type[Counted]) -> None:
    log = write(tmp_path, LOGS["a study"])
    reading = Tail(log)
    reading.read()
    write(tmp_path, LOGS["a study"][: LONG - 9])
    counted.total = 0
    events, anew = reading.read()
    assert anew
    assert events[-1]["done"] == LONG - 10
    assert counted.total <= HEAD + LAST + 2 * ANCHOR
    log.rename(tmp_path / "events.jsonl.1")
    assert reading.read() == ([], False)
    write(tmp_path, LOGS["a study"][:2])
    assert reading.read() == (LOGS["a study"][:2], True)
    write(tmp_path, LOGS["a training"])
    assert reading.read()[1]


@pytest.mark.parametrize("name", LOGS)
def test_what_is_shown_is_as_of_the_whole_log(name: str, tmp_path: Path) -> None:
    log = write(tmp_path, LOGS[name])
    part, whole = state_of(Tail(log).read()[0]), state_of(LOGS[name])
    assert (part.run, part.status, part.now, part.begun, part.time) == (
        whole.run, whole.status, whole.now, whole.begun, whole.time,
    )  # fmt: skip
    assert part.gap == whole.gap
    assert part.phases == whole.phases
    assert [line for line in part.lines if line[1] != "unread"][-9:] == whole.lines[-9:]
    if name == "a training":
        network, other = whole.networks["main"], part.networks["main"]
        assert (other.status, other.left, other.points[-12:]) == (network.status, network.left, network.points[-12:])


def test_what_ended_in_the_part_that_is_not_read_is_said_to_be_unknown_until_sampling_begins(tmp_path: Path) -> None:
    log = write(tmp_path, [begins(), train("weak"), *steps("weak", 1, LONG), *steps("main", 1, LONG)])
    state = state_of(Tail(log).read()[0])
    assert {role: network.status for role, network in state.networks.items()} == {
        "weak": "not read",
        "main": "training",
    }
    assert state.training == "main"
    state.add({"event": "sample", "time": 9e9, "arm": "guided", "done": 1, "total": 2})
    assert state.networks["weak"].status == "ready"


def test_a_count_that_began_in_the_part_that_is_not_read_has_its_rate_from_what_is(tmp_path: Path) -> None:
    log = write(tmp_path, [begins(kind="study"), *steps("main", 1, LONG), *trials(1, LONG)])
    count = state_of(Tail(log).read()[0]).phases["trials"]
    assert count.done == LONG - 1
    assert count.left == pytest.approx(10.0 * (count.total - count.done))


def test_a_process_that_took_over_in_the_part_that_is_not_read_is_found_before_its_run_is_called_dead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    middle = LOGS["a training"][2:]
    for block in (16 * 1024, 1000):
        monkeypatch.setattr(tail, "BLOCK", block)
        later = begins(resumed=True)
        write(tmp_path, [begins(process=gone.pid), *middle[:2500], later, *middle[2500:]])
        os.utime(tmp_path / "events.jsonl", (0, 0))
        watch = _Watch(tmp_path)
        watch.look()
        assert watch.state.run["process"] == gone.pid
        assert watch.life.verdict.endswith("its process is there")
        assert watch.state.run == later
    write(tmp_path, [begins(process=gone.pid), *middle])
    os.utime(tmp_path / "events.jsonl", (0, 0))
    watch = _Watch(tmp_path)
    watch.look()
    assert watch.life.gone


def test_a_long_training_keeps_few_points_and_its_last_ones() -> None:
    state = state_of([begins(), *steps("main", 1, 10_000)])
    points = state.networks["main"].points
    assert len(points) <= POINTS
    assert [point.step for point in points[-12:]] == list(range(9_988, 10_000))
    assert points[0].step == 1
    assert [point.step for point in points] == sorted({point.step for point in points})
