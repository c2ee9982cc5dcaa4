"""Progress: bars with the time left on a terminal, plain lines at intervals elsewhere."""

import time
from typing import Any

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from guideplug.observe import Listener
from guideplug.run.console import Console, print_line

__all__ = ["REFRESHES", "ProgressBars", "ProgressLines", "progress"]

REFRESHES = 2.0
"""Redraws of the bars per second: each takes 3 to 4 ms of the processor."""

ARMS = {"unguided": "sampling unguided", "guided": "sampling guided"}


def progress(console: Console) -> Listener:
    """Bars where the console is a terminal, else lines."""
    return ProgressBars(console) if console.is_terminal else ProgressLines(console)


class _Notes(ProgressColumn):
    """The loss and the share that selection keeps, where known."""

    def render(self, task: Task) -> Text:
        return Text(str(task.fields.get("notes", "")), style="dim")


class ProgressBars(Listener):
    """A bar for each training, and for the sampling and the metrics of each arm, with the time left."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            TextColumn("{task.description:<22}"),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            _Notes(),
            console=console,
            refresh_per_second=REFRESHES,
        )
        self._tasks: dict[str, TaskID] = {}
        self._progress.start()

    def on_event(self, event: str, data: dict[str, Any]) -> None:
        """Advance the bar of the event."""
        if event == "found":
            print_line(self._progress.console, found_line(data))
        elif event == "train":
            self._bar(f"training {data['role']}", data["total"], 0)
        elif event == "step":
            self._bar(f"training {data['role']}", data["total"], data["reached"], notes(data))
        elif event == "sample":
            self._bar(ARMS.get(data["arm"], data["arm"]), data["total"], data["done"])
        elif event == "measure":
            self._bar(f"measuring {data['arm']}", data["total"], data["done"], data["metric"])
        elif event == "metrics":
            self._bar(f"measuring {data['arm']}", len(data["values"]), len(data["values"]))
        elif event == "wait":
            print_line(self._progress.console, waiting_line(data))
        elif event == "warning":
            print_line(self._progress.console, f"warning: {data['text']}")

    def _bar(self, name: str, total: float, done: float, text: str = "") -> None:
        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task(name, total=int(total))
        self._progress.update(self._tasks[name], completed=min(int(done), int(total)), notes=text)

    def close(self) -> None:
        """Stop drawing the bars."""
        self._progress.stop()


class ProgressLines(Listener):
    """A plain line per start, per end, and at intervals between."""

    SECONDS_BETWEEN = 15.0

    def __init__(self, console: Console) -> None:
        self._console = console
        self._said = time.monotonic()
        self._arms: set[str] = set()

    def on_event(self, event: str, data: dict[str, Any]) -> None:
        """Print a line if the event calls for one."""
        now = time.monotonic()
        if event == "found":
            self._say(found_line(data))
        elif event == "wait":
            self._say(waiting_line(data))
        elif event == "warning":
            self._say(f"warning: {data['text']}")
        elif event == "train":
            begins = f"from step {data['step']}" if data["step"] else "begins"
            self._say(f"training {data['role']} {begins}: {data['total']:g} {data['unit']}")
        elif event == "step" and now - self._said > self.SECONDS_BETWEEN:
            left = data["seconds"] * (data["total"] / max(data["reached"], 1) - 1)
            self._say(
                f"training {data['role']}: {data['reached']:g} of {data['total']:g} {data['unit']}, "
                f"{notes(data)}, {left:.0f} s left"
            )
        elif event == "trained":
            self._say(f"trained {data['role']}: {data['step']} steps in {data['seconds']:.1f} s")
        elif event == "sample" and data["arm"] not in self._arms:
            self._arms.add(data["arm"])
            self._say(ARMS.get(data["arm"], data["arm"]))
        elif event == "measure" and now - self._said > self.SECONDS_BETWEEN:
            self._say(measuring_line(data))

    def _say(self, line: str) -> None:
        self._said = time.monotonic()
        print_line(self._console, line)


def found_line(data: dict[str, Any]) -> str:
    """One line for a network that need not be trained."""
    if "degraded" in data:
        return f"degraded {data['role']}: {data['degraded']}"
    if "view" in data:
        return f"{data['role']} is {data['view']}, in the same memory"
    if "data" in data:
        return f"data of {data['role']}: {data['data']}"
    if "path" in data:
        without = f", names without {data['prefix']!r}" if data.get("prefix") else ""
        return f"loaded {data['role']} from {data['path']}{without}"
    trained = f", trained in {data['seconds']:.1f} s" if data.get("seconds") else ""
    return f"found {data['role']} in the store{trained} (--fresh trains anew)"


def waiting_line(data: dict[str, Any]) -> str:
    """One line for a network that another process is making."""
    return f"waiting for another process, which is making {data['role']}"


def measuring_line(data: dict[str, Any]) -> str:
    """One line for a metric that is being measured."""
    return f"measuring {data['arm']}: {data['metric']}, {data['done'] + 1} of {data['total']}"


def notes(data: dict[str, Any]) -> str:
    """The loss, and the share of the examples so far that selection has kept, if below 1."""
    kept = f", {data['kept']:.0%} kept so far" if data["kept"] < 0.995 else ""
    return f"loss {data['loss']:.4g}{kept}"
