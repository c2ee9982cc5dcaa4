"""The laws of observers: they accept every event, do not change the process, and leave nothing open."""

import io
import os
import random
import tempfile
import threading
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import torch
from attrs import frozen

from guideplug.observe import Observer, RunInfo, surroundings
from guideplug.testing.law import Laws, must
from guideplug.testing.strategies import check_strategy

__all__ = ["OBSERVER", "Observing", "check_observer", "events_of_a_run"]

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c49444154789c63f8ffff3f0005fe02fe0def46b8"
    "0000000049454e44ae426082"
)
"""One white pixel."""


def events_of_a_run(folder: Path, *, first: int = 0, last: int = 4) -> Iterator[tuple[str, dict[str, Any]]]:
    """The events of a made-up run: ``weak`` is found, ``main`` trained from one step to another, and all measured.

    Args:
        folder: the run's folder; a figure is drawn there.
        first: the first step of the training; steps are 32 apart.
        last: its last step.
    """
    figure = folder / "made-up.png"
    figure.write_bytes(PNG)
    yield "run", {
        "folder": str(folder), "kind": "run", "resumed": first > 0, "task": "made-up", "guider": "cfg",
        "selector": None, "roles": ["weak", "main"], "arms": ["unguided", "guided"], "samples": 8,
        "process": os.getpid(), "host": "here",
    }  # fmt: skip
    yield "found", {"role": "weak", "folder": "store", "seconds": 1.5, "iterations": 64}
    yield "train", {
        "role": "main", "step": 32 * first, "reached": 32 * first, "total": 32.0 * last, "unit": "it", "seconds": 0.5,
    }  # fmt: skip
    for number in range(first + 1, last + 1):
        yield "step", {
            "role": "main", "step": 32 * number, "reached": 32 * number, "total": 32.0 * last, "unit": "it",
            "loss": 1 / number, "lr": 0.01, "kept": 0.5, "effective_sample_size": None, "switched_off_at": None,
            "seen": 64 * number, "backpropagated": 32 * number, "seconds": 0.5 * number,
            "phases": {"data": 0.1 * number, "score": 0.0, "select": 0.0, "learn": 0.4 * number},
        }  # fmt: skip
        yield "preview", {
            "role": "main", "step": 32 * number, "path": str(figure), "weights": ["raw", "ema0.05"], "samples": 8,
            "seconds": 0.5,
        }  # fmt: skip
        yield "training_metrics", {
            "role": "main", "step": 32 * number, "weights": "raw", "samples": 8, "seconds": 0.5,
            "values": {"distance": 1 / number, "no value": None},
        }  # fmt: skip
        yield "checkpoint", {"role": "main", "step": 32 * number, "seconds": 0.01}
    yield "trained", {"role": "main", "step": 32 * last, "seconds": 0.5 * last}
    for arm in ("unguided", "guided"):
        for done in (1, 2):
            yield "sample", {"arm": arm, "done": done, "total": 2}
    yield "sampled", {"arms": ["unguided", "guided"], "samples": 8}
    for arm, value in (("truth", 0.0), ("unguided", 0.75), ("guided", 0.5)):
        for done, metric in enumerate(("distance", "no value")):
            yield "measure", {"arm": arm, "metric": metric, "done": done, "total": 2}
        yield "metrics", {"arm": arm, "values": {"distance": value, "no value": None}}
    yield "figure", {"name": "made-up", "path": str(figure)}
    yield "network", {"done": 1, "total": 1, "which": "main of width 8", "seconds": 1.0}
    yield "trial", {
        "done": 1, "total": 2, "which": "width 8", "axes": {"width": 8}, "metrics": {"distance": 0.5}, "seconds": 1.0,
    }  # fmt: skip
    yield "training", {"done": 1, "total": 2, "which": "none, seed 0", "seconds": 1.0, "stored": False}
    yield "price", {"which": "without selection", "seconds": 0.002, "low": 0.0019, "high": 0.0022}
    yield "cell", {
        "done": 1, "total": 2, "selector": "none", "seed": 0, "at": 32, "metrics": {"cfg": {"distance": 0.5}},
    }  # fmt: skip
    yield "observer", {"observer": "another", "at": "step", "error": "RuntimeError: no service"}
    yield "end", {"status": "finished", "error": None}


@frozen
class Observing:
    """An observer under test, and the events of a run that is interrupted and resumed."""

    observer: Observer

    def watched(self, folder: Path) -> None:
        """Pass it the events of the run, interrupted and resumed, and an unknown event."""
        for first, last, resumed in ((0, 2, False), (1, 4, True)):
            listener = self.observer.open(_observed(folder, resumed=resumed))
            try:
                for event, data in events_of_a_run(folder, first=first, last=last):
                    listener.on_event(event, data)
                listener.on_event("an event of a later version", {"more": 1})
            finally:
                listener.close()


def _observed(folder: Path, *, resumed: bool) -> RunInfo:
    folder.mkdir(exist_ok=True)
    return RunInfo(folder, "run", {"task": "made-up", "train": {"lr": 0.01}}, resumed)


OBSERVER: Laws[Observing] = Laws()


def check_observer(observer: Observer) -> None:
    """The laws of an observer, on the events of a run that is interrupted and resumed.

    It raises at no event, unknown ones included; it writes into the run's folder alone (the working folder
    is looked at), prints nothing on the output, changes no random generator, and leaves no thread when it is closed.

    Raises:
        ConfigError: its library is not installed.
    """
    observer.check()
    check_strategy(observer)
    OBSERVER.check(Observing(observer))


@OBSERVER.add("it takes every event, also one that it does not know", "pass over events that on_event does not know")
def _takes(observing: Observing) -> None:
    with tempfile.TemporaryDirectory() as place:
        observing.watched(Path(place) / "run")


@OBSERVER.add("it closes, also before anything happened", "let close() do nothing where nothing was opened")
def _closes(observing: Observing) -> None:
    with tempfile.TemporaryDirectory() as place:
        observing.observer.open(_observed(Path(place) / "run", resumed=False)).close()


@OBSERVER.add("no random generator has been drawn from or seeded", "whoever watches draws nothing")
def _draws_nothing(observing: Observing) -> None:
    before = _generators()
    _takes(observing)
    must(before == _generators())


@OBSERVER.add("what it changes of the environment is put back", "restore os.environ in close()")
def _environment(observing: Observing) -> None:
    before = dict(os.environ)
    _takes(observing)
    must(before == dict(os.environ))


@OBSERVER.add("the working folder and torch's settings stay as they are", "change neither, not even for a while")
def _settings(observing: Observing) -> None:
    with surroundings():
        _takes(observing)


@OBSERVER.add("its threads have ended when it is closed", "join them in close()")
def _threads(observing: Observing) -> None:
    before = {thread.ident for thread in threading.enumerate()}
    _takes(observing)
    left = {thread.name for thread in threading.enumerate() if thread.ident not in before}
    must(not left, f"left are {', '.join(sorted(left))}")


@OBSERVER.add("it writes into the run's folder alone", "write below observed.folder")
def _writes(observing: Observing) -> None:
    here = set(Path.cwd().iterdir())
    with tempfile.TemporaryDirectory() as place:
        observing.watched(Path(place) / "run")
        beside = {path.name for path in Path(place).iterdir()} - {"run"}
        must(not beside, f"beside it are {', '.join(sorted(beside))}")
    created = {path.name for path in set(Path.cwd().iterdir()) - here}
    must(not created, f"in the working folder are {', '.join(sorted(created))}")


@OBSERVER.add("nothing is printed on standard output", "write to standard error: --json owns the output")
def _silent(observing: Observing) -> None:
    with redirect_stdout(io.StringIO()) as printed:
        _takes(observing)
    must(not printed.getvalue(), f"it printed {printed.getvalue()[:40]!r}")


def _generators() -> str:
    numpy = np.random.get_state()  # noqa: NPY002 - it is that one's state that must not change
    return repr((random.getstate(), [str(part) for part in numpy], torch.get_rng_state().tolist()))
