"""The laws of observers: they stand every event, change nothing of it or of the process, and leave nothing behind."""

import os
import random
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from guideplug.observe import Observed, Observer
from guideplug.testing.checks import check_strategy, holds

__all__ = ["check_observer", "events_of_a_run"]

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c49444154789c63f8ffff3f0005fe02fe0def46b8"
    "0000000049454e44ae426082"
)
"""One white pixel."""


def events_of_a_run(folder: Path, *, first: int = 0, last: int = 4) -> Iterator[tuple[str, dict[str, Any]]]:
    """The events of a made-up run: ``weak`` is found, ``main`` trained from one step to another, and all measured.

    Args:
        folder: the run's folder; a figure is drawn there.
        first: where the training goes on, in steps of 32.
        last: where it ends.
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
        yield "checkpoint", {"role": "main", "step": 32 * number, "seconds": 0.01}
    yield "trained", {"role": "main", "step": 32 * last, "seconds": 0.5 * last}
    for arm in ("unguided", "guided"):
        for done in (1, 2):
            yield "sample", {"arm": arm, "done": done, "total": 2}
    yield "sampled", {"arms": ["unguided", "guided"], "samples": 8}
    for arm, value in (("truth", 0.0), ("unguided", 0.75), ("guided", 0.5)):
        yield "measure", {"arm": arm}
        yield "metrics", {"arm": arm, "values": {"distance": value, "no value": None}}
    yield "figure", {"name": "made-up", "path": str(figure)}
    yield "network", {"done": 1, "total": 1, "which": "main of width 8", "seconds": 1.0}
    yield "trial", {
        "done": 1, "total": 2, "which": "width 8", "axes": {"width": 8}, "metrics": {"distance": 0.5}, "seconds": 1.0,
    }  # fmt: skip
    yield "training", {"done": 1, "total": 2, "which": "none, seed 0", "seconds": 1.0}
    yield "cell", {
        "done": 1, "total": 2, "selector": "none", "seed": 0, "at": 32, "metrics": {"cfg": {"distance": 0.5}},
    }  # fmt: skip
    yield "observer", {"observer": "another", "at": "step", "error": "RuntimeError: no service"}
    yield "end", {"status": "finished", "error": None}


def check_observer(observer: Observer) -> None:
    """The laws of an observer, on a made-up run that is interrupted and goes on.

    It raises at no event, writes into the run's folder alone (of which the working folder is looked at), changes no
    random generator, and when it is closed no thread or child process of its own is left.
    """
    check_strategy(observer)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "run"
        folder.mkdir()
        here, before = set(Path.cwd().iterdir()), _state()
        for first, last, resumed in ((0, 2, False), (1, 4, True)):
            listener = observer.open(Observed(folder, "run", {"task": "made-up", "train": {"lr": 0.01}}, resumed))
            try:
                for event, data in events_of_a_run(folder, first=first, last=last):
                    listener.notice(event, data)
            finally:
                listener.close()
        after = _state()
        holds("no random generator has been drawn from", before["random"] == after["random"])
        holds("what it changes of the environment is put back", before["environment"] == after["environment"])
        holds("its threads have ended", after["threads"] <= before["threads"])
        holds("nothing is written beside the run's folder", {*Path(place).iterdir()} == {folder})
        holds("nothing is written into the working folder", {*Path.cwd().iterdir()} == here)


def _state() -> dict[str, Any]:
    numpy = np.random.get_state()  # noqa: NPY002 - it is that one's state that must not change
    generators = repr((random.getstate(), [str(part) for part in numpy], torch.get_rng_state().tolist()))
    threads = {thread.ident for thread in threading.enumerate()}
    return {"random": generators, "environment": dict(os.environ), "threads": threads}
