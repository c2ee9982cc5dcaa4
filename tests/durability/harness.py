"""Kill a command at any moment, go on with it, and compare: the same bits, and no litter.

    python tests/durability/harness.py --run 50 --compare 12 --study 12 --seed 0

says how many moments were tried, and what differs if anything does. The tests of this folder make a quick pass of it.
"""

import argparse
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from safetensors import safe_open

HERE = Path(__file__).parent
TOY = HERE.parent / "cli" / "toy.py"
SMALL = ("--plugin", str(TOY), "--device", "cpu")
COMMANDS: dict[str, tuple[str, ...]] = {
    "run": (
        "run", *SMALL, "--task", "toy", "--guider", "autoguidance", "--selector", "jest(num_chunks=2)", "--set",
        "threads=1", "--duration", "48it", "--set", "train.ema=[0.05,0.15]", "--set", "train.averages=2",
    ),
    "compare": (
        "compare", *SMALL, "--task", "toy", "--selector", "none", "--selector", "toy-half", "--guider", "none",
        "--guider", "autoguidance", "--seeds", "0,1", "--duration", "16it", "--snapshots", "2",
    ),
    "study": ("study", "toy-widths", *SMALL),
}  # fmt: skip
"""Tiny commands; of a run every phase: a reference, a selector, snapshots, averages, two arms, metrics, a figure."""


@attrs.define
class Nursery:
    """Starts commands as processes of their own, from one that has imported everything."""

    process: "subprocess.Popen[str]"

    @classmethod
    def opened(cls) -> "Nursery":
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        for name in [name for name in environment if name.startswith("TOY_")]:
            del environment[name]
        process = subprocess.Popen(
            [sys.executable, str(HERE / "nursery.py"), *COMMANDS["run"]],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
        )  # fmt: skip
        nursery = cls(process)
        assert nursery._answer() == {"ready": True}
        return nursery

    def close(self) -> None:
        self.process.communicate()

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer

    def ask(self, **request: Any) -> dict[str, Any]:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return self._answer()


@attrs.define
class Child:
    """A command that was started."""

    nursery: Nursery
    pid: int
    output: Path

    def wait(self, seconds: float = 120.0) -> int:
        """Its exit code."""
        code = self.nursery.ask(wait=self.pid, seconds=seconds)["code"]
        if code is None:
            os.killpg(self.pid, signal.SIGKILL)
            raise AssertionError(f"it did not end within {seconds} s: {self.said}")
        return int(code)

    def kill(self, number: int = signal.SIGKILL) -> None:
        os.kill(self.pid, number)

    def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something is there, while it runs."""
        deadline = time.monotonic() + 120
        while not condition():
            assert time.monotonic() < deadline, self.said
            assert self.nursery.ask(wait=self.pid, seconds=0.02)["code"] is None, self.said

    @property
    def said(self) -> str:
        return self.output.read_text()


@attrs.define
class Place:
    """A folder with a run folder ``out`` and a store in it."""

    nursery: Nursery
    root: Path
    store: Path = attrs.field()
    started: int = 0

    @store.default
    def _store(self) -> Path:
        return self.root / "store"

    @property
    def out(self) -> Path:
        return self.root / "out"

    @property
    def finished(self) -> bool:
        """Whether a run says that it is: it may be killed after that."""
        record = self.out / "run.json"
        return record.is_file() and json.loads(record.read_text())["status"] == "finished"

    def start(self, *arguments: object, environment: Mapping[str, str] | None = None, **options: Any) -> Child:
        self.root.mkdir(exist_ok=True)
        self.started += 1
        output = self.root / f"said-{self.started}"
        output.touch()
        answer = self.nursery.ask(
            start=list(map(str, arguments)), cwd=str(self.root), output=str(output),
            environment={"GUIDEPLUG_STORE": str(self.store), **(environment or {})}, **options,
        )  # fmt: skip
        return Child(self.nursery, answer["pid"], output)

    def hanging(self, command: Sequence[str], point: str, **options: Any) -> Child:
        """A command that has come to a point and stays there."""
        trace = self.root / "trace"
        trace.unlink(missing_ok=True)
        child = self.go_on(command, often=True, trace=str(trace), hang=point, **options)
        child.until(lambda: trace.is_file() and point in trace.read_text().splitlines())
        return child

    def go_on(self, command: Sequence[str], **options: Any) -> Child:
        """Go on with what is in ``out``, or begin where nothing is."""
        config = {"run": "config.toml", "compare": "compare.toml", "study": "study.toml"}[command[0]]
        if (self.out / config).is_file():
            return self.start(command[0], "--resume", "out", **options)
        return self.start(*command, "--out", "out", **options)

    def finish(self, command: Sequence[str]) -> None:
        """Go on to the end."""
        child = self.go_on(command)
        code = child.wait()
        assert code == 0, child.said


def same(actual: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """Two outcomes must be the same."""
    for key in expected.keys() | actual.keys():
        assert actual.get(key) == expected.get(key), f"{key} differs"


# What must be the same, and what must not be there


def outcome(place: Place) -> dict[str, Any]:
    """All that must be the same to the bit."""
    out = place.out
    kept: dict[str, Any] = {"store": _networks(place.store)}
    if (out / "metrics.json").is_file():
        metrics = json.loads((out / "metrics.json").read_text())
        kept["metrics"] = {key: value for key, value in metrics.items() if key not in ("seconds", "found")}
        kept["samples"] = _arrays(out / "samples.npz")
        kept["weights"] = {path.name: path.read_bytes() for path in (out / "denoisers").glob("*.safetensors")}
        kept["config"] = (out / "config.toml").read_text()
        kept["figures"] = {path.name: path.read_bytes() for path in (out / "figures").iterdir()}
    if (out / "compare.json").is_file():
        cells = {path.name: json.loads(path.read_text()) for path in (out / "cells").glob("*.json")}
        compared = json.loads((out / "compare.json").read_text())
        rows = sorted(compared["rows"], key=lambda row: json.dumps(row, sort_keys=True))
        kept |= {"cells": cells, "rows": rows, "truth": compared["truth"], "metrics": compared["metrics"]}
        kept["seen"] = sorted((row["selector"], row["seed"], row["step"], row["seen"]) for row in compared["trainings"])
    if (out / "study.json").is_file():
        kept["study"] = json.loads((out / "study.json").read_text())
        kept["trials"] = {path.name: json.loads(path.read_text()) for path in (out / "trials").glob("*.json")}
        kept["kept"] = {path.name: _arrays(path) for path in (out / "trials").glob("*.npz")}
    return kept


def _arrays(path: Path) -> dict[str, bytes]:
    with np.load(path, allow_pickle=False) as arrays:
        return {name: arrays[name].tobytes() for name in arrays.files}


def _networks(store: Path) -> dict[str, bytes]:
    return {str(path.relative_to(store)): path.read_bytes() for path in store.rglob("*.safetensors")}


STORED = re.compile(r"[0-9a-f]{64}(\.lock)?")
ENTRY = re.compile(r"entry\.json|weights\.safetensors|snapshot-.*\.safetensors")


def check_whole(place: Place, *, log: bool = True) -> None:
    """No litter, and no file that cannot be read."""
    from guideplug.store import Entry, Store

    assert all(STORED.fullmatch(path.name) for path in place.store.iterdir()), sorted(place.store.iterdir())
    for entry in Store(place.store).entries():
        assert isinstance(entry, Entry), entry
        assert entry.damage() == ""
        names = {path.name for path in entry.folder.iterdir()}
        assert names == {"entry.json", *entry.files}, names
    for path in place.out.rglob("*"):
        assert not path.name.startswith("."), path
        if path.suffix == ".json":
            json.loads(path.read_text(), parse_constant=_no_number)
        elif path.suffix == ".npz":
            _arrays(path)
        elif path.suffix == ".safetensors":
            with safe_open(path, framework="np") as file:
                assert list(file.keys())
        elif path.suffix == ".png":
            assert path.read_bytes()[-8:-4] == b"IEND"
    if log and (place.out / "events.jsonl").is_file():
        check_log((place.out / "events.jsonl").read_text())


def _no_number(text: str) -> None:
    raise AssertionError(f"{text} is no JSON")


def check_log(text: str) -> None:
    """Each step once and in order, whole lines, and one end."""
    assert text.endswith("\n")
    events = [json.loads(line, parse_constant=_no_number) for line in text.splitlines()]
    trained = [event["role"] for event in events if event["event"] == "trained"]
    assert sorted(trained) == sorted(set(trained)), trained
    for role in trained:
        steps = [event["step"] for event in events if event["event"] == "step" and event["role"] == role]
        (last,) = [event["step"] for event in events if event["event"] == "trained" and event["role"] == role]
        assert steps == [*range(32, last, 32), last], (role, steps)
    assert [event["event"] for event in events].count("end") == 1
    assert events[-1]["event"] == "end"
    assert events[-1]["status"] == "finished"
    if events[0].get("kind", "run") == "run":
        assert sum(event["event"] == "sampled" for event in events) == 1


# Killing


@attrs.define
class Moments:
    """The moments of a command: what an undisturbed one gives, its points by name, and how long it takes."""

    command: Sequence[str]
    expected: dict[str, Any]
    names: list[str]
    seconds: float

    @classmethod
    def of(cls, nursery: Nursery, command: Sequence[str], root: Path) -> "Moments":
        place = Place(nursery, root)
        begin = time.monotonic()
        child = place.start(*command, "--out", "out", often=True, trace=str(root / "trace"))
        assert child.wait() == 0, child.said
        seconds = time.monotonic() - begin
        check_whole(place)
        return cls(command, outcome(place), (root / "trace").read_text().splitlines(), seconds)

    def chosen(self, count: int, random_: random.Random) -> list[int]:
        """Points by number: first one of each name in turn, so that few moments are in many phases."""
        places: dict[str, list[int]] = {}
        for number, name in enumerate(self.names, 1):
            places.setdefault(name, []).append(number)
        rounds = [random_.sample(numbers, len(numbers)) for numbers in places.values()]
        random_.shuffle(rounds)
        chosen: list[int] = []
        while len(chosen) < count and any(rounds):
            chosen += [numbers.pop() for numbers in rounds if numbers]
        return chosen[:count]


def kill_and_go_on(moments: Moments, place: Place, number: int | None, random_: random.Random) -> int:
    """Kill a command at a point, or at a random time, perhaps again and again as it goes on; how often it was killed.

    What it leaves in the end is compared with what the undisturbed one left.
    """
    kills, at, own = 0, number, random.Random(random_.random())
    while True:
        if at is None:
            child = place.go_on(moments.command)
            time.sleep(own.uniform(0, moments.seconds))
            child.kill()
        else:
            child = place.go_on(moments.command, often=True, die=at)
        code = child.wait()
        assert code in (0, -signal.SIGKILL), child.said
        kills += code != 0
        if code == 0 or place.finished or own.random() < 0.6:
            break
        at = None if number is None else own.randrange(1, len(moments.names))
    if code and not place.finished:
        place.finish(moments.command)
    elif code:  # killed while it wrote its page, which is what is left to do
        assert place.start("report", "out").wait() == 0
    same(outcome(place), moments.expected)
    check_whole(place)
    return kills


def tries(
    nursery: Nursery, name: str, root: Path, *, points: int, times: int, seed: int, say: Callable[[str], None]
) -> Iterator[int]:
    """Kill a command at points and at random times; how often each was killed, once it has survived."""
    random_ = random.Random(seed)
    moments = Moments.of(nursery, COMMANDS[name], root / name)
    say(
        f"{name}: {len(moments.names)} points with {len(set(moments.names))} names, {moments.seconds:.1f} s undisturbed"
    )
    for number in [*moments.chosen(points, random_), *[None] * times]:
        where = "a random time" if number is None else f"point {number}, {moments.names[number - 1]}"
        place = Place(nursery, root / f"{name}-killed")
        try:
            yield kill_and_go_on(moments, place, number, random_)
        except AssertionError as error:
            raise AssertionError(f"{name}, killed at {where}: {error}; left in {place.root}") from error
        say(f"{name}: survived {where}")
        shutil.rmtree(place.root)


def long_pass() -> None:
    """Many moments of each command, as many as are asked for."""
    parser = argparse.ArgumentParser()
    for name, count in (("run", 50), ("compare", 12), ("study", 12)):
        parser.add_argument(f"--{name}", type=int, default=count, help="points, and a third as many random times")
    parser.add_argument("--seed", type=int, default=0)
    options = vars(parser.parse_args())
    nursery, root = Nursery.opened(), Path(tempfile.mkdtemp(prefix="durability-"))

    def say(line: str) -> None:
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()

    for name, count in ((name, options[name]) for name in COMMANDS if options[name]):
        kills = list(tries(nursery, name, root, points=count, times=count // 3, seed=options["seed"], say=say))
        say(f"{name}: {len(kills)} tries survived, {sum(kills)} kills")
    nursery.close()
    shutil.rmtree(root)


if __name__ == "__main__":
    long_pass()
