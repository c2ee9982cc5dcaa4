"""The progress of a comparison: one rewritten line on a terminal, about ten lines in all elsewhere.

The work (`guideplug.compare.work`) emits one line per finished training or measurement; they are counted here.
"""

import re
import time
from collections.abc import Collection

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from guideplug.run.progress import REFRESHES

__all__ = ["CompareProgress", "lasting"]

DONE = re.compile(r"(?P<what>trained|measured) (?P<done>\d+) of (?P<total>\d+): (?P<which>.*)", re.DOTALL)
TRAINING = re.compile(r"(?P<selector>.*), seed (?P<seed>-?\d+), [\d.]+ s", re.DOTALL)
PRICE = re.compile(r"an iteration .*: (?P<ms>[\d.e+-]+) ms \(.*\)", re.DOTALL)
PHASES = {"trained": "trainings", "measured": "measurements"}
QUARTERS = 4


class CompareProgress:
    """Called with each line of the work; prints the position and an estimate of the time left.

    Args:
        console: the console printed on.
        stored: the (selector, seed) of trainings that were in the store before.
        trainings: number of trainings.
    """

    def __init__(self, console: Console, stored: Collection[tuple[str, int]], trainings: int) -> None:
        self._console, self._found = console, stored
        self._begin = self._phase_began = time.monotonic()
        self._phase = ""
        self._found_now = self._offset = 0
        self._prices: list[float] = []
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        if console.is_terminal:
            self._bar = Progress(
                TextColumn("{task.description:<22}"), BarColumn(bar_width=28), MofNCompleteColumn(),
                TimeElapsedColumn(), TextColumn("{task.fields[left]}"), console=console, transient=True,
                refresh_per_second=REFRESHES,
            )  # fmt: skip
            self._task = self._bar.add_task(PHASES["trained"], total=trainings, left="")
            self._bar.start()

    def __call__(self, line: str) -> None:
        """Count one line of the work."""
        if price := PRICE.fullmatch(line):
            self._prices.append(float(price["ms"]))
            self._phase_began = time.monotonic()
        elif done := DONE.fullmatch(line):
            self._counted(done["what"], int(done["done"]), int(done["total"]), done["which"])
        else:
            self._say(line)

    def close(self) -> None:
        """Remove the line."""
        if self._bar is not None:
            self._bar.stop()

    def _counted(self, phase: str, done: int, total: int, which: str) -> None:
        if phase != self._phase:
            self._phase, self._offset = phase, done - 1
            if phase == "measured":
                self._say_prices()
                if self._offset:
                    self._say(f"{self._offset} of {total} measurements are there")
            if self._bar is not None and self._task is not None:
                self._bar.reset(self._task, total=total, description=PHASES[phase], left="")
        training = TRAINING.fullmatch(which) if phase == "trained" else None
        if training is not None and (training["selector"], int(training["seed"])) in self._found:
            self._found_now += 1
        worked = done - self._offset - (self._found_now if phase == "trained" else 0)
        still = len(self._found) - self._found_now if phase == "trained" else 0
        left = ""
        if worked > 0 and total - done - still > 0:
            each = (time.monotonic() - self._phase_began) / worked
            left = f"about {lasting(each * (total - done - still))} left"
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=done, left=left)
        quarter = QUARTERS * done // total > QUARTERS * (done - 1) // total
        if done == total or (quarter and self._bar is None):
            self._say(self._where(phase, done, total, left))
        if done == total and phase == "trained":
            self._phase_began = time.monotonic()
            if self._bar is not None and self._task is not None:
                self._bar.update(self._task, description="prices of iterations", left="")

    def _where(self, phase: str, done: int, total: int, left: str) -> str:
        if phase == "measured":
            return f"measured {done} of {total}{left and ', ' + left}"
        if not self._found_now:
            return f"trained {done} of {total}{left and ', ' + left}"
        num_trained = done - self._found_now
        trained = f"trained {num_trained}, " if num_trained else ""
        return f"{done} of {total} trainings: {trained}found {self._found_now} in the store{left and ', ' + left}"

    def _say_prices(self) -> None:
        if self._prices:
            low, high = min(self._prices), max(self._prices)
            each = f"{low:.3g} ms" if f"{low:.3g}" == f"{high:.3g}" else f"{low:.3g} to {high:.3g} ms"
            kinds = f"{len(self._prices)} kinds of iterations" if len(self._prices) > 1 else "iterations"
            self._say(f"priced {kinds}: {each} each (costs.json)")

    def _say(self, line: str) -> None:
        text = f"[{time.monotonic() - self._begin:6.0f} s] {line}"
        console = self._bar.console if self._bar is not None else self._console
        console.print(text, markup=False, highlight=False, soft_wrap=True)


def lasting(seconds: float) -> str:
    """A rough time: 75 s, 12 min, 3.4 h."""
    if seconds < 100:
        return f"{max(seconds, 1):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 100 * 60 else f"{seconds / 3600:.1f} h"
