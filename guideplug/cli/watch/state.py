"""The state of a run, from its events so far.

Rates come from the seconds that trainings count by themselves, so that neither a clock that is set nor one of another
machine matters; only what has no such count, the progress of sampling and of a comparison, is clocked by the log.
"""

import itertools
from collections.abc import Callable, Mapping
from typing import Any

import attrs

from guideplug.cli.watch.sentences import event_line

__all__ = ["OFTEN", "Count", "Network", "Point", "State"]

WINDOW = 12
"""Number of last points that a rate is taken over."""
LINES = 50
"""Most lines kept."""
POINTS = 2000
"""Number of points of a training from which on every second one is dropped, but for the last."""
OFTEN = ("step", "sample", "checkpoint", "measure")
"""Frequent events, whose lines are not kept."""
PHASES = {"network": "networks", "trial": "trials", "training": "trainings", "cell": "measurements"}
"""The phases that a study and a comparison count, by event."""


@attrs.frozen
class Point:
    """A training at a moment: seconds of training, examples, and the share of them that was learned from since."""

    step: int
    reached: float
    seconds: float
    loss: float | None
    kept: float | None
    seen: int | None
    learned: int | None


@attrs.define
class Network:
    """A role's network: waiting, found, training, trained; not read, or ready, where its end is in a part not read."""

    role: str
    status: str = "waiting"
    total: float = 0.0
    unit: str = "it"
    reached: float = 0.0
    step: int = 0
    seconds: float = 0.0
    kept: float | None = None
    effective: float | None = None
    lr: float | None = None
    checkpoint: int | None = None
    points: list[Point] = attrs.field(factory=list)

    def rate(self, quantity: Callable[[Point], float | None]) -> float | None:
        """A quantity per second over the last points."""
        last = self.points[-WINDOW:]
        if len(last) < 2 or last[-1].seconds <= last[0].seconds:
            return None
        begin, end = quantity(last[0]), quantity(last[-1])
        return None if begin is None or end is None else (end - begin) / (last[-1].seconds - last[0].seconds)

    def add(self, point: Point) -> None:
        """Take one more point; a long training keeps fewer of its early ones."""
        self.points.append(point)
        if len(self.points) > POINTS:
            self.points = [*self.points[:-WINDOW:2], *self.points[-WINDOW:]]

    @property
    def left(self) -> float | None:
        """Seconds left, at the recent rate."""
        rate = self.rate(lambda point: point.reached)
        return None if not rate else max(self.total - self.reached, 0.0) / rate

    @property
    def selects(self) -> bool:
        """Whether some examples are left out."""
        return any(point.kept is not None and point.kept < 0.995 for point in self.points)


@attrs.define
class Count:
    """Done, of how many in all, and the log times of the first and the last."""

    done: int
    total: int
    first: float
    begun: int
    last: float

    @property
    def left(self) -> float | None:
        """Seconds left, at the mean rate so far."""
        took = self.last - self.first
        if self.done <= self.begun or took < 0:
            return None
        return took / (self.done - self.begun) * (self.total - self.done)


@attrs.define
class State:
    """The state of a run; `add` takes its events."""

    run: dict[str, Any] = attrs.field(factory=dict)
    status: str = "running"
    error: str = ""
    now: str = ""
    training: str = ""
    networks: dict[str, Network] = attrs.field(factory=dict)
    arms: dict[str, Count] = attrs.field(factory=dict)
    metrics: dict[str, Mapping[str, float | None]] = attrs.field(factory=dict)
    phases: dict[str, Count] = attrs.field(factory=dict)
    lines: list[tuple[float, str, str]] = attrs.field(factory=list)
    begun: float | None = None
    time: float | None = None
    gap: float = 0.0
    unread: bool = False
    """Whether a part of the log is not read, and nothing has been counted since."""
    odd: int = 0

    def add(self, event: Mapping[str, Any]) -> str:
        """Take one event and return its line; a malformed one is counted and skipped."""
        name, data = str(event["event"]), {key: _printable(value) for key, value in event.items()}
        try:
            before, self.time = self.time, float(data.get("time", 0.0))
            self.gap = max(self.gap, self.time - before if before is not None else 0.0)
            line = event_line(name, data)
            self._take(name, data)
        except (KeyError, TypeError, ValueError, AttributeError):
            self.odd += 1
            return ""
        if line and name not in OFTEN:
            self.lines = [*self.lines[1 - LINES :], (self.time, name, line)]
        if name == "unread":
            self.time = None  # what lies between is no pause
        return line

    @property
    def kind(self) -> str:
        """What it is: run, sample, compare or study."""
        return str(self.run.get("kind", "run"))

    def _network(self, data: Mapping[str, Any]) -> Network:
        return self.networks.setdefault(data["role"], Network(data["role"]))

    def _take(self, name: str, data: dict[str, Any]) -> None:
        if name == "run":
            self._begin(data)
        elif name == "found":
            network = self._network(data)
            network.status, network.seconds = "found", float(data.get("seconds") or 0.0)
        elif name == "train":
            network = self._network(data)
            network.status, network.total, network.unit = "training", float(data["total"]), str(data["unit"])
            network.step, network.reached = data["step"] or 0, float(data.get("reached") or data["step"] or 0)
            network.seconds = float(data.get("seconds") or 0.0)
            self.now, self.training = "training", network.role
        elif name == "step":
            self._step(self._network(data), data)
        elif name == "checkpoint":
            self._network(data).checkpoint = int(data["step"])
        elif name == "trained":
            network = self._network(data)
            network.status, network.seconds, network.step = "trained", float(data["seconds"]), int(data["step"])
        elif name == "sample":
            self.now = "sampling"
            for network in self.networks.values():
                network.status = "ready" if network.status == "not read" else network.status
            self._count(self.arms, data["arm"], int(data["done"]), int(data["total"]))
        elif name == "measure":
            self.now = f"measuring {data['metric']}" if "metric" in data else "measuring"
        elif name == "metrics":
            self.metrics[data["arm"]] = {key: _number(value) for key, value in data["values"].items()}
        elif name in PHASES:
            self.now = PHASES[name]
            self._count(self.phases, PHASES[name], int(data["done"]), int(data["total"]))
        elif name == "unread":
            self._skip()
        elif name == "end":
            self.status, self.error = str(data["status"]), str(data.get("error") or "")

    def _begin(self, data: dict[str, Any]) -> None:
        """A run begins, or one goes on: trainings that were under way wait for their turn."""
        self.run, self.status, self.error, self.now, self.training = data, "running", "", "", ""
        self.begun, self.gap = self.time, 0.0
        self.arms, self.metrics, self.phases = {}, {}, {}
        for network in self.networks.values():
            network.status = "waiting"
        for role in data.get("roles", []):
            self.networks.setdefault(str(role), Network(str(role)))

    def _skip(self) -> None:
        """A part of the log is not read: what was under way may have ended in it."""
        self.now, self.training, self.unread = "", "", True
        for network in self.networks.values():
            if network.status in ("waiting", "training"):
                network.status = "not read"

    def _step(self, network: Network, data: Mapping[str, Any]) -> None:
        before = network.points[-1] if network.points else None
        seen, learned = data.get("seen"), data.get("backpropagated")
        kept = _number(data.get("kept"))
        if before is not None and seen is not None and before.seen is not None and seen > before.seen:
            kept = ((learned or 0) - (before.learned or 0)) / (seen - before.seen)
        network.status, network.step, network.reached = "training", int(data["step"]), float(data["reached"])
        network.total, network.unit, network.seconds = float(data["total"]), str(data["unit"]), float(data["seconds"])
        network.kept, network.effective = kept, _number(data.get("effective_sample_size"))
        network.lr = _number(data.get("lr"))
        self.now, self.training = "training", network.role
        network.add(Point(network.step, network.reached, network.seconds, _number(data["loss"]), kept, seen, learned))

    def _count(self, counts: dict[str, Count], name: str, done: int, total: int) -> None:
        now = self.time or 0.0
        if self.unread and name not in counts:  # since when, and from how many on, is not known
            counts[name] = Count(done, total, now, done, now)
        self.unread = False
        begun = 0 if counts is self.arms else done - 1  # others may have been done before, by an earlier try
        count = counts.setdefault(name, Count(done, total, self._since(counts, now), begun, now))
        count.done, count.total, count.last = done, total, now

    def _since(self, counts: dict[str, Count], now: float) -> float:
        """When the first of something was begun: when the one before ended, as far as that is known."""
        ends = [count.last for count in itertools.chain(self.arms.values(), self.phases.values())]
        return max(ends, default=now if counts is self.arms or self.begun is None else self.begun)


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _printable(value: Any) -> Any:
    """Texts without control characters of a terminal."""
    if isinstance(value, str):
        return "".join(letter if letter.isprintable() else "?" for letter in value)
    if isinstance(value, dict):
        return {_printable(key): _printable(item) for key, item in value.items()}
    return [_printable(item) for item in value] if isinstance(value, list) else value
