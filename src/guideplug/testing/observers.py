"""The laws of an observer: it takes every event of a run, also one that it does not know, and changes nothing."""

import copy
import io
import tempfile
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from typing import Any

from attrs import frozen

from guideplug.observe import Observer
from guideplug.testing.law import Laws, must
from guideplug.testing.tried import no_global_draws

__all__ = ["OBSERVER", "Observing", "check_observer"]


@frozen
class Observing:
    """An observer under test: what makes it."""

    make: Callable[[], Observer]

    def told(self) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
        """What it was told, and what became of that."""
        observer = self.make()
        with tempfile.TemporaryDirectory() as folder:
            for event, data in events(folder):
                given = copy.deepcopy(data)
                observer.notice(event, given)
                yield data, given
            observer.close()


def events(folder: str) -> list[tuple[str, dict[str, Any]]]:
    """A small run: its events, as `guideplug.Observer.notice` lists them, and one of a later version."""
    step = {"role": "main", "total": 2, "unit": "it", "loss": 0.5, "lr": 0.01, "kept": 8, "seconds": 0.1}
    return [
        ("run", {"folder": folder}),
        ("found", {"role": "weak", "folder": folder}),
        ("train", {"role": "main", "step": 0, "total": 2}),
        ("step", {**step, "step": 1, "reached": 1, "effective_sample_size": None}),
        ("step", {**step, "step": 2, "reached": 2, "effective_sample_size": 0.9}),
        ("checkpoint", {"role": "main", "step": 2}),
        ("trained", {"role": "main", "step": 2, "seconds": 0.2}),
        ("sample", {"arm": "guided", "done": 8, "total": 8}),
        ("measure", {"arm": "guided"}),
        ("an event of a later version", {"more": 1}),
        ("end", {"status": "finished"}),
    ]


OBSERVER: Laws[Observing] = Laws()


def check_observer(make: Callable[[], Observer]) -> None:
    """The laws of an observer: it takes every event, also one that it does not know, and changes nothing.

    Args:
        make: its class.
    """
    OBSERVER.check(Observing(make))


@OBSERVER.add("it is made without arguments", "give every argument of __init__ a default", premise=True)
def _made(observing: Observing) -> None:
    must(isinstance(observing.make(), Observer))


@OBSERVER.add("it takes every event, also one that it does not know", "pass over events that notice does not know")
def _takes(observing: Observing) -> None:
    for _ in observing.told():
        pass


@OBSERVER.add("what it is told is not changed", "copy the data before changing it: {**data, ...}")
def _data_stay(observing: Observing) -> None:
    must(all(data == given for data, given in observing.told()))


@OBSERVER.add("it closes, also before a run has begun", "let close() do nothing where nothing was opened")
def _closes(observing: Observing) -> None:
    observing.make().close()


@OBSERVER.add("no draw from a global generator", "whoever watches draws nothing")
def _draws_nothing(observing: Observing) -> None:
    with no_global_draws():
        for _ in observing.told():
            pass


@OBSERVER.add("nothing is printed on standard output", "write to standard error: --json owns the output")
def _silent(observing: Observing) -> None:
    with redirect_stdout(io.StringIO()) as said:
        for _ in observing.told():
            pass
    must(not said.getvalue(), f"it printed {said.getvalue()[:40]!r}")
