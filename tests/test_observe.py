"""Observers: strategies that open a listener for each run; one that fails is reported once and left out."""

import copy
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from guideplug.config import Reader
from guideplug.executors.interrupt import Interrupted, handle_signals
from guideplug.observe import Listener, Observer, Observers, RunInfo
from guideplug.registry.registry import Registry


@pytest.fixture(autouse=True)
def _forget_local_modules() -> Iterator[None]:
    others = set(sys.modules)  # those of other tests
    yield
    for name in [name for name in sys.modules if name.startswith("guideplug_local_") and name not in others]:
        del sys.modules[name]


OBSERVER = """
from attrs import frozen
from guideplug import Listener, RunInfo, Observer, hook, option

seen = []

class Notes(Listener):
    def __init__(self, step):
        self.step = step
    def on_event(self, event, data):
        seen.append((event, self.step))

@frozen
class Watcher(Observer):
    "Notes things."
    name = "watcher"
    step: int = option(1, help="how often")

    def open(self, observed):
        return Notes(self.step)

@hook
def guideplug_observers():
    return [Watcher]
"""


def test_observers_are_strategies_that_open_a_listener_for_each_run(tmp_path: Path) -> None:
    path = tmp_path / "watch.py"
    path.write_text(OBSERVER)
    registry = Registry()
    registry.load_file(path)
    assert registry.names("observer") == ["measure", "preview", "watcher"]
    chosen = Reader(registry).read(["watcher(step=3)", "watcher"], tuple[Observer, ...], "observers")
    tell = Observers()
    tell.open(chosen, RunInfo(tmp_path))
    tell("step", loss=1.0)
    assert sys.modules["guideplug_local_watch"].seen == [("step", 3), ("step", 1)]


class _Notes(Listener):
    """Notes what it is told, spoils it, and fails where it is told to."""

    def __init__(self, fails_at: str = "", error: BaseException | None = None) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.fails_at, self.error, self.closed = fails_at, error or RuntimeError("my\nfault"), 0

    def on_event(self, event: str, data: dict[str, Any]) -> None:
        self.events.append((event, copy.deepcopy(data)))
        for value in data.values():
            if isinstance(value, list | dict):
                value.clear()
        data.clear()
        if event == self.fails_at:
            raise self.error

    def close(self) -> None:
        self.closed += 1
        if self.fails_at == "close":
            raise OSError("no close")


def test_a_listener_that_fails_is_reported_once_and_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    good, bad, late = _Notes(), _Notes("step"), _Notes("close")
    tell = Observers([good, bad, late])
    for step in range(4):
        tell("step", step=step, phases={"data": [step]})
    tell.close()
    tell.close()
    assert [data["step"] for _, data in bad.events] == [0]
    steps = [data for event, data in good.events if event == "step"]
    assert steps == [{"step": step, "phases": {"data": [step]}} for step in range(4)]  # whatever others did to it
    assert (bad.closed, good.closed, late.closed) == (1, 1, 1)
    said = [data for event, data in good.events if event == "observer"]
    assert [(data["observer"].rpartition(".")[2], data["at"], data["error"]) for data in said] == [
        ("_Notes", "step", "RuntimeError: my fault"),
        ("_Notes", "close", "OSError: no close"),
    ]
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert "failed at 'step' (RuntimeError: my fault)" in lines[0]
    assert "failed at 'close' (OSError: no close)" in lines[1]


def test_an_observer_that_cannot_be_opened_is_left_out(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    class Never(Observer):
        name = "never"

        def open(self, observed: RunInfo) -> Listener:
            raise ImportError("no such library")

    good = _Notes()
    tell = Observers([good])
    tell.open([Never()], RunInfo(tmp_path))
    tell("step", step=1)
    assert [event for event, _ in good.events] == ["observer", "step"]
    assert capsys.readouterr().err.count("\n") == 1


def test_a_listener_that_fails_at_every_event_does_not_go_on_for_ever(capsys: pytest.CaptureFixture[str]) -> None:
    class Never(Listener):
        def on_event(self, event: str, data: dict[str, Any]) -> None:
            raise RuntimeError(event)

        def close(self) -> None:
            raise RuntimeError("close")

    tell = Observers([Never(), Never(), Never()])
    tell("step")
    tell.close()
    assert capsys.readouterr().err.count("\n") == 3


def test_an_exit_is_a_failure_and_an_interrupt_may_be_the_users(capsys: pytest.CaptureFixture[str]) -> None:
    Observers([_Notes("step", SystemExit(3))])("step")
    assert "SystemExit: 3" in capsys.readouterr().err
    with pytest.raises(KeyboardInterrupt):  # Python's own handler is there: nobody knows who raised it
        Observers([_Notes("step", KeyboardInterrupt())])("step")
    with handle_signals() as stop:
        Observers([_Notes("step", KeyboardInterrupt())])("step")  # the run's handler is: the user did not
    assert stop.signal is None
    with pytest.raises(Interrupted), handle_signals():
        Observers([_Notes("step", Interrupted(130))])("step")
