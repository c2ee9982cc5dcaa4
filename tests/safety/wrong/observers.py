"""Observers that break their contract, each in one way; a plugin file, loaded beside ``toy.py``."""

import os
import random
from pathlib import Path
from typing import Any

import torch
from attrs import frozen

from guideplug import Listener, Observer, hook


class Acting(Listener):
    """Acts at an event."""

    def __init__(self, act: Any, folder: Path) -> None:
        self.act, self.folder = act, folder

    def on_event(self, event, data):
        self.act(self.folder, event, data)


def acting(name: str, doc: str, act: Any) -> type[Observer]:
    """An observer that does ``act(folder, event, data)`` at each event."""

    def opens(self, observed):
        return Acting(act, observed.folder)

    methods = {"__module__": __name__, "name": name, "__doc__": doc, "open": opens}
    return frozen(type(name.title().replace("-", ""), (Observer,), methods))


def opening(name: str, doc: str, opens: Any) -> type[Observer]:
    """An observer that opens ``opens(observed)``."""
    methods = {"__module__": __name__, "name": name, "__doc__": doc, "open": lambda self, observed: opens(observed)}
    return frozen(type(name.title().replace("-", ""), (Observer,), methods))


class Cancelled(BaseException):
    """No Exception."""


def raising(error: BaseException) -> Any:
    def act(*arguments: Any) -> None:
        raise error

    return act


def empties(folder: Path, event: str, data: Any) -> None:
    data.clear()


def spoils(folder: Path, event: str, data: Any) -> None:
    for value in data.values():
        if isinstance(value, dict | list):
            value.clear()


def goes(folder: Path, event: str, data: Any) -> None:
    os.chdir("/")


def removes(folder: Path, event: str, data: Any) -> None:
    if event == "sampled":
        (folder / "samples.npz").unlink()


def overwrites(folder: Path, event: str, data: Any) -> None:
    if event == "sampled":
        (folder / "config.toml").write_text("task = 'tree'\n")


def seeds(folder: Path, event: str, data: Any) -> None:
    torch.manual_seed(0)
    random.seed(0)
    torch.rand(3)


def threads(folder: Path, event: str, data: Any) -> None:
    torch.set_num_threads(2)


def double(folder: Path, event: str, data: Any) -> None:
    torch.set_default_dtype(torch.float64)


def grad(folder: Path, event: str, data: Any) -> None:
    torch.set_grad_enabled(False)


WRONG: list[tuple[type[Any], str]] = [
    (acting("raises", "Raises.", raising(LookupError("no\nservice"))), "LookupError"),
    (acting("exits", "Exits.", raising(SystemExit(0))), "SystemExit"),
    (acting("interrupts", "Raises KeyboardInterrupt.", raising(KeyboardInterrupt())), "KeyboardInterrupt"),
    (acting("cancels", "Raises a BaseException.", raising(Cancelled("no\nservice"))), "Cancelled"),
    (acting("closes", "Raises GeneratorExit.", raising(GeneratorExit())), "GeneratorExit"),
    (acting("empties", "Empties the event.", empties), ""),
    (acting("spoils", "Empties what is in the event.", spoils), ""),
    (acting("goes", "Changes the working folder.", goes), "folder"),
    (acting("removes", "Removes a file of the run.", removes), "samples.npz"),
    (acting("overwrites", "Overwrites a file of the run.", overwrites), "config.toml"),
    (acting("seeds", "Seeds the global generators.", seeds), ""),
    (acting("threads", "Changes the number of threads.", threads), ""),
    (acting("double", "Changes torch's default type.", double), "default dtype"),
    (acting("no-grad", "Switches gradients off.", grad), "gradient"),
    (opening("opens-none", "Opens None.", lambda observed: None), "Listener"),
    (opening("opens-function", "Opens a function.", lambda observed: print), "Listener"),
    (opening("open-raises", "Raises.", raising(LookupError("no\nservice"))), "LookupError"),
    (opening("open-exits", "Exits.", raising(SystemExit(0))), "SystemExit"),
    (opening("open-cancels", "Raises a BaseException.", raising(Cancelled())), "Cancelled"),
]


@hook
def guideplug_observers() -> list[type[Observer]]:
    return [cls for cls, _ in WRONG]
