"""Observers that are right but for one planted defect: the kit names the law that it breaks, and no law without it."""

import os
import random
import sys
import threading
import time
from typing import Any, final

import pytest
import torch
from attrs import frozen
from defects import broken

from guideplug import (
    Listener,
    Observer,
    RunInfo,
)
from guideplug.testing.observers import OBSERVER, Observing

torch.set_num_threads(1)


class Quiet(Listener):
    """Right."""

    def __init__(self, observed: RunInfo) -> None:
        self.folder = observed.folder

    def on_event(self, event: str, data: dict[str, Any]) -> None:
        pass


class Picky(Quiet):
    def on_event(self, event: str, data: dict[str, Any]) -> None:
        {"run": 1, "step": 2}[event]


class Loud(Quiet):
    def on_event(self, event: str, data: dict[str, Any]) -> None:
        sys.stdout.write(event)


class Unclosed(Quiet):
    def on_event(self, event: str, data: dict[str, Any]) -> None:
        self.file = event

    def close(self) -> None:
        assert self.file


class Draws(Quiet):
    def on_event(self, event: str, data: dict[str, Any]) -> None:
        random.random()


class Sets(Quiet):
    def on_event(self, event: str, data: dict[str, Any]) -> None:
        os.environ["GUIDEPLUG_TEST_OF_OBSERVERS"] = str(time.perf_counter_ns())


class Beside(Quiet):
    def on_event(self, event: str, data: dict[str, Any]) -> None:
        (self.folder.parent / "mine.txt").touch()


class Lives(Quiet):
    def __init__(self, observed: RunInfo) -> None:
        threading.Thread(target=time.sleep, args=(2,), daemon=True).start()


@pytest.mark.parametrize(
    ("listener", "law"),
    [
        (Quiet, None),
        (Picky, "it takes every event, also one that it does not know"),
        (Loud, "nothing is printed on standard output"),
        (Unclosed, "it closes, also before anything happened"),
        (Draws, "no random generator has been drawn from or seeded"),
        (Sets, "what it changes of the environment is put back"),
        (Beside, "it writes into the run's folder alone"),
        (Lives, "its threads have ended when it is closed"),
    ],
)
def test_an_observers_defect(listener: type[Quiet], law: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GUIDEPLUG_TEST_OF_OBSERVERS", "")

    @final
    @frozen
    class Watches(Observer):
        """Watches."""

        name = "watches"

        def open(self, observed: RunInfo) -> Listener:
            return listener(observed)

    found = broken(OBSERVER, Observing(Watches()))
    assert found == {} if law is None else law in found
