"""A module being made: its progress, and its checkpoint until it is stored.

Resumable work saves its state beside its future entry, periodically and before it stops; a later try resumes from it.
The state lists the further files written before it, with their checksums: if one is damaged or missing, the work
restarts and writes all of them again.
"""

import json
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import attrs
from torch import Tensor

from guideplug.errors import CheckpointError, StoreError
from guideplug.executors.interrupt import defer_signals
from guideplug.files.opening import is_there, list_folder
from guideplug.files.reading import file_digest
from guideplug.files.tensors import read_tensors, tensors_digest, write_tensors
from guideplug.observe import Observers
from guideplug.recipe import Observable, Resumable
from guideplug.store import FURTHER, Store

__all__ = ["STATE", "Making"]

STATE = "state.safetensors"
SECONDS_BETWEEN_STATES = 20.0


@attrs.define
class Making:
    """A module being made.

    Args:
        role: its name in messages.
        observers: receive every event.
        stop: called after every step; an exception from it ends the work between two steps, with the state saved.
        along: of a role and its work, what is called after each of its steps, before the state is saved.
        place: the folder of the unfinished entry; None if nothing is kept.
        until_stored: closed when the module is in the store.
    """

    role: str
    observers: Observers
    stop: Callable[[], None]
    along: Callable[[str, Observable], Callable[[], None]] | None = None
    place: Path | None = None
    until_stored: ExitStack = attrs.field(factory=ExitStack)
    _work: Resumable | None = None
    _observable: Observable | None = None
    _observe: Callable[[], None] | None = None
    _files: dict[str, str] = attrs.field(factory=dict)
    _step: int = 0
    _seconds: float = 0.0
    _begun: float | None = None
    _saved: float = 0.0

    def checkpoint(self, work: Resumable) -> bool:
        """Save the state of resumable work from now on, and restore that of an earlier try; whether there was one."""
        self._observable = work if isinstance(work, Observable) else None
        if self.place is None:
            return False
        self._work = work
        loaded, path = False, self.place / STATE
        try:
            if is_there(path):
                loaded = self._load(work, path)
        except (CheckpointError, KeyError, ValueError, RuntimeError, TypeError) as error:
            raise StoreError(
                f"the state {path} of an unfinished training cannot be read ({error}): "
                f"remove it with {Store(self.place.parent).pruning(self.place.name)}, or train anew with --fresh"
            ) from None
        for file in list_folder(self.place, FURTHER):  # of later steps, or all of them
            if file.name not in self._files:
                file.unlink()
        return loaded

    def _load(self, work: Resumable, path: Path) -> bool:
        tensors, metadata = read_tensors(path, path.parent)
        if metadata["sha256"] != tensors_digest(tensors, metadata["training"]):
            raise ValueError("it has changed since it was written")
        data = json.loads(metadata["training"])
        files = data.pop("snapshots")
        if not all(_is_whole(path.parent / name, digest) for name, digest in files.items()):
            return False
        work.load_state(tensors, data)
        self._files = files
        return True

    def progress(self, step: int, total: float, loss: float | None = None, **details: Any) -> None:
        """Report progress to observers, save the state when due, and stop if that was requested."""
        now = time.monotonic()
        first = self._begun is None
        begun = self._begun = now if self._begun is None else self._begun
        self._step, self._seconds = step, details.get("seconds", round(now - begun, 3))
        common = {"role": self.role, "step": step, "reached": step, "total": total, "unit": "it"}
        if first:
            self.observers("train", **{**common, "seconds": self._seconds, **details})
            self._saved = time.monotonic()
            if self.along is not None and self._observable is not None:
                self._observe = self.along(self.role, self._observable)
            if self._work is not None:
                self.until_stored.enter_context(defer_signals())  # a signal waits until the state is saved
            return
        if loss is not None:  # before the state, which records that the event was emitted
            usual = {
                **common, "loss": loss, "lr": None, "kept": 1.0, "effective_sample_size": None,
                "switched_off_at": None, "seen": None, "backpropagated": None, "seconds": self._seconds, "phases": {},
            }  # fmt: skip
            self.observers("step", **{**usual, **details})
        if self._observe is not None:
            self._observe()
        try:
            self.stop()
        except BaseException:
            self._save()
            raise
        if time.monotonic() - self._saved > SECONDS_BETWEEN_STATES:
            self._save()
            self._saved = time.monotonic()

    def _save(self) -> None:
        if self._work is None or self.place is None:
            return
        begin = time.perf_counter()
        tensors, data = self._work.state()
        text = json.dumps({**data, "snapshots": self._files})
        write_tensors(self.place / STATE, tensors, {"training": text, "sha256": tensors_digest(tensors, text)})
        seconds = round(time.perf_counter() - begin, 4)
        self.observers("checkpoint", role=self.role, step=self._step, seconds=seconds)

    def keep(self, file: str, tensors: Mapping[str, Tensor]) -> Path:
        """Keep a further file; its path until the module is stored."""
        if self.place is None:
            raise StoreError(f"{file} of {self.role!r} cannot be kept: its recipe is not stored")
        path = self.place / file
        write_tensors(path, tensors)
        self._files[file] = file_digest(path)
        return path

    def ended(self) -> None:
        """Emit the end event if the start event was emitted."""
        if self._begun is not None:
            self.observers("trained", role=self.role, step=self._step, seconds=self._seconds)


def _is_whole(path: Path, digest: str) -> bool:
    return is_there(path) and file_digest(path, path.parent) == digest
