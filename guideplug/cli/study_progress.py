"""The progress of a study: one rewritten line on a terminal, about ten lines in all elsewhere."""

import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from guideplug.cli.compare_progress import lasting
from guideplug.observe import Listener
from guideplug.run.progress import REFRESHES, waiting_line

__all__ = ["StudyProgress"]

PHASES = {"network": "networks", "trial": "trials"}
SECONDS_BETWEEN = 60.0


class StudyProgress(Listener):
    """A listener to finished networks and trials, and to trainings in this process."""

    def __init__(self, console: Console) -> None:
        self._console, self._begin = console, time.monotonic()
        self._last_line, self._phase, self._first = self._begin, "", 0
        self._phase_began = self._begin
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        if console.is_terminal:
            self._bar = Progress(
                TextColumn("{task.description:<10}"), BarColumn(bar_width=28), MofNCompleteColumn(),
                TimeElapsedColumn(), TextColumn("{task.fields[now]}"), console=console, transient=True,
                refresh_per_second=REFRESHES,
            )  # fmt: skip
            self._task = self._bar.add_task("begins", total=None, now="")
            self._bar.start()

    def on_event(self, event: str, data: dict[str, Any]) -> None:
        """Update the line, or print one where the event deserves it."""
        if event in PHASES:
            self._counted(event, data["done"], data["total"], data["which"])
        elif event == "wait":
            self._say(waiting_line(data))
        elif event == "warning":
            self._say(f"warning: {data['text']}")
        elif event == "step":
            self._show(f"training {data['role']}: {data['reached']:g} of {data['total']:g} {data['unit']}")

    def close(self) -> None:
        """Remove the line."""
        if self._bar is not None:
            self._bar.stop()

    def _counted(self, event: str, done: int, total: int, which: str) -> None:
        now = time.monotonic()
        if event != self._phase:
            self._phase, self._first, self._phase_began = event, done - 1, self._phase_begin(event)
        left = (now - self._phase_began) / (done - self._first) * (total - done)
        text = f"{PHASES[event]}: {done} of {total}, about {lasting(left)} left" if done < total else ""
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, description=PHASES[event], completed=done, total=total, now=text or which)
        if done == total:
            self._say(f"{PHASES[event]}: {done} of {total}")
        elif self._bar is None and now - self._last_line > SECONDS_BETWEEN:
            self._say(f"{text} ({which})")

    def _phase_begin(self, event: str) -> float:
        """When a phase began: the first when the study did, the second when the first ended."""
        return self._begin if event == "network" or self._last_line == self._begin else self._last_line

    def _show(self, text: str) -> None:
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, now=text)
        elif time.monotonic() - self._last_line > SECONDS_BETWEEN:
            self._say(text)

    def _say(self, line: str) -> None:
        self._last_line = time.monotonic()
        console = self._bar.console if self._bar is not None else self._console
        text = f"[{self._last_line - self._begin:6.0f} s] {line}"
        console.print(text, markup=False, highlight=False, soft_wrap=True)
