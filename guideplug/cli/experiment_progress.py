"""The progress of a comparison or a study: a bar per phase on a terminal, about ten lines elsewhere."""

import time
from typing import Any

import attrs
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from guideplug.observe import Listener
from guideplug.run.console import Console, print_line
from guideplug.run.progress import REFRESHES, waiting_line

__all__ = ["ExperimentProgress", "lasting"]

PHASES = {"network": "networks", "training": "trainings", "cell": "measurements", "trial": "trials"}
QUARTERS = 4
SECONDS_BETWEEN = 60.0
"""Longest silence of a training in this process where there is no terminal."""


@attrs.define
class _Phase:
    """Jobs of a kind: how many in all, how many were done before, when the first began, how many the store had."""

    total: int
    offset: int
    began: float
    stored: int = 0
    bar: TaskID | None = None


class ExperimentProgress(Listener):
    """A listener to finished jobs, and to trainings in this process.

    Args:
        console: the console printed on.
        stored: number of trainings that were in the store before.
    """

    def __init__(self, console: Console, stored: int = 0) -> None:
        self._console, self._stored = console, stored
        self._begin = self._last_job = self._last_line = time.monotonic()
        self._phases: dict[str, _Phase] = {}
        self._prices: list[float] = []
        self._bars: Progress | None = None
        if console.is_terminal:
            self._bars = Progress(
                TextColumn("{task.description:<14}"), BarColumn(bar_width=28), MofNCompleteColumn(),
                TimeElapsedColumn(), TextColumn("{task.fields[note]}"), console=console, transient=True,
                refresh_per_second=REFRESHES,
            )  # fmt: skip
            self._bars.start()

    def on_event(self, event: str, data: dict[str, Any]) -> None:
        """Update the lines, or print one where the event deserves it."""
        if event in PHASES:
            self._count(event, data["done"], data["total"], stored=bool(data.get("stored")))
        elif event == "price":
            self._prices.append(1000 * data["seconds"])
            self._last_job = time.monotonic()
        elif event == "wait":
            self._say(waiting_line(data))
        elif event == "warning":
            self._say(f"warning: {data['text']}")
        elif event == "step":
            self._show(f"training {data['role']}: {data['reached']:g} of {data['total']:g} {data['unit']}")

    def close(self) -> None:
        """Remove the lines."""
        if self._bars is not None:
            self._bars.stop()

    def _count(self, event: str, done: int, total: int, *, stored: bool) -> None:
        if event not in self._phases or self._phases[event].total != total or done == 1:  # such as guides' networks
            self._open(event, done, total)
        phase = self._phases[event]
        phase.stored += stored
        now = self._last_job = time.monotonic()
        stored_left = max(self._stored - phase.stored, 0) if event == "training" else 0
        worked, left = done - phase.offset - phase.stored, total - done - stored_left
        notes = [f"about {lasting((now - phase.began) / worked * left)} left"] if worked > 0 and left > 0 else []
        if phase.stored:
            notes.append(f"{phase.stored} found in the store")
        if event == "training" and done == total:
            notes.append("prices and measurements come next")
        if self._bars is not None and phase.bar is not None:
            self._bars.update(phase.bar, completed=done, note=", ".join(notes))
        quarter = QUARTERS * done // total > QUARTERS * (done - 1) // total
        if done == total or (quarter and self._bars is None):
            self._say(", ".join([f"{PHASES[event]}: {done} of {total}", *notes]))

    def _open(self, event: str, done: int, total: int) -> None:
        before = self._phases.get(event)
        phase = self._phases[event] = _Phase(total, done - 1, self._last_job)
        if self._bars is not None:
            if before is not None and before.bar is not None:
                self._bars.remove_task(before.bar)
            phase.bar = self._bars.add_task(PHASES[event], total=total, note="")
        if self._prices and event == "cell":
            low, high = (f"{price:.3g}" for price in (min(self._prices), max(self._prices)))
            count = len(self._prices)
            kinds = "1 kind of iterations" if count == 1 else f"{count} kinds of iterations"
            self._say(f"prices: {kinds}, {low if low == high else f'{low} to {high}'} ms each (costs.json)")
        if phase.offset:
            self._say(f"{PHASES[event]}: {phase.offset} of {total} were there")

    def _show(self, text: str) -> None:
        if self._bars is not None:
            for phase in self._phases.values():
                if phase.bar is not None and not self._bars.tasks[phase.bar].finished:
                    self._bars.update(phase.bar, note=text)
        elif time.monotonic() - self._last_line > SECONDS_BETWEEN:
            self._say(text)

    def _say(self, line: str) -> None:
        self._last_line = time.monotonic()
        console = self._bars.console if self._bars is not None else self._console
        text = f"[{self._last_line - self._begin:6.0f} s] {line}"
        print_line(console, text)


def lasting(seconds: float) -> str:
    """A rough time: 75 s, 12 min, 3.4 h."""
    if seconds < 100:
        return f"{max(seconds, 1):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 100 * 60 else f"{seconds / 3600:.1f} h"
