"""The loop of ``guideplug watch``: read the log, show its state, wait, until the run ends or the user stops."""

import os
import platform
import time
from collections.abc import Callable
from pathlib import Path

import attrs
from rich.console import RenderableType
from rich.live import Live

from guideplug.cli.watch.sentences import lasting
from guideplug.cli.watch.state import OFTEN, State
from guideplug.cli.watch.tail import Tail
from guideplug.cli.watch.view import Life, view
from guideplug.config import command_line
from guideplug.errors import UsageError, visible
from guideplug.files.opening import is_there, open_file
from guideplug.run.console import Console, print_line

__all__ = ["watch_folder"]

EVENTS = "events.jsonl"
CONFIGS = ("config.toml", "compare.toml", "study.toml")
SILENT = 60.0
"""Seconds without a line after which it is said that there is none, or so many of the longest pauses until then."""
PAUSES = 3.0
GONE = 5.0
"""And after which it is looked whether the process is still there."""


def watch_folder(path: str, *, once: bool, interval: float) -> None:
    """Show a run from its event log; Ctrl-C ends watching.

    Raises:
        UsageError: there is no such folder, or it has no event log.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise UsageError(f"{path} does not exist: give the folder of a run, a comparison or a study")
    if not is_there(folder / EVENTS):
        if any(is_there(folder / name) for name in CONFIGS):
            raise UsageError(f"{path} has no event log yet: {EVENTS} is written once the work begins; try again then")
        raise UsageError(f"{path} is not the folder of a run: it has no {EVENTS}")
    try:
        open_file(folder / EVENTS, folder).close()
    except (OSError, ValueError) as error:
        raise UsageError(f"{folder / EVENTS} cannot be read: {error}") from None
    try:
        _watch(_Watch(folder), Console(), once=once, interval=interval)
    except KeyboardInterrupt:
        return


def _watch(watch: "_Watch", console: Console, *, once: bool, interval: float) -> None:
    watch.look()
    if once:
        console.print(watch.shown(console))
    elif console.is_terminal:
        with Live(get_renderable=lambda: watch.shown(console), console=console, auto_refresh=False) as live:
            watch.until_it_ends(interval, live.refresh)
    else:
        lines = _Lines(watch, console)
        lines.say()
        watch.until_it_ends(interval, lines.say)


@attrs.define
class _Watch:
    """A run's folder and its state so far."""

    folder: Path
    state: State = attrs.field(factory=State)
    news: list[str] = attrs.field(factory=list)
    cut: bool = False
    _heard: float = attrs.field(factory=time.monotonic)
    _tail: Tail = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._tail = Tail(self.folder / EVENTS)
        self._heard -= self._silent_before()

    def _silent_before(self) -> float:
        """Seconds since the log's last change; the clock that dates files may differ."""
        try:
            return max(time.time() - (self.folder / EVENTS).stat().st_mtime, 0.0)
        except OSError:
            return 0.0

    def look(self) -> None:
        """Read the new events."""
        first = not self.state.run
        events, anew = self._tail.read()
        if anew:
            self.state = State()
        if events and not first:
            self._heard = time.monotonic()
        self.news = []
        latest = ""
        for event in events:
            line = self.state.add(event)
            if event["event"] in OFTEN:
                latest = line
            elif line:
                self.news.append(line)
                latest = ""
        self.news += [latest] if latest else []
        self.cut = anew and not first

    @property
    def life(self) -> Life:
        """Whether there are signs of life."""
        silent = time.monotonic() - self._heard
        if self.state.status != "running" or silent < GONE:
            return Life(silent)
        process, host = self.state.run.get("process"), self.state.run.get("host")
        here = host == platform.node() and isinstance(process, int)
        if here and isinstance(process, int) and not _there(process):
            if later := self._tail.last_unread("run"):  # resumed in the part of the log that was not read
                self.state.run = later
                return self.life
            return Life(silent, f"dead, its process {process} is gone; go on with {self._resume}", gone=True)
        if silent < max(SILENT, PAUSES * self.state.gap):
            return Life(silent)
        probably = "its process is there" if here else "probably dead"
        return Life(silent, f"silent for {lasting(silent)}, {probably}")

    @property
    def _resume(self) -> str:
        command = self.state.kind if self.state.kind in ("compare", "study") else "run"
        return command_line(command, "--resume", self.folder)

    @property
    def over(self) -> bool:
        """Whether the run has ended."""
        return self.state.status != "running" or self.life.gone

    def until_it_ends(self, interval: float, show: Callable[[], None]) -> None:
        """Look at intervals until the run ends."""
        while not self.over:
            time.sleep(interval)
            self.look()
            show()

    def shown(self, console: Console) -> RenderableType:
        """The view of the present state."""
        return view(self.state, visible(self.folder.resolve().name), self.life, console.width, console.height)


@attrs.define
class _Lines:
    """One line per event, without a terminal."""

    watch: _Watch
    console: Console
    _verdict: str = ""

    def say(self) -> None:
        """Print the new lines."""
        if self.watch.cut:
            self._print("the log was cut back: the run goes on from an earlier state")
        for line in self.watch.news:
            self._print(line)
        verdict = self.watch.life.verdict
        if verdict and not self._verdict:
            self._print(verdict)
        self._verdict = verdict

    def _print(self, line: str) -> None:
        print_line(self.console, line)


def _there(process: int) -> bool:
    """Whether a process of this machine exists."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
