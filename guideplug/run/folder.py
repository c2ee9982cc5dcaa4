"""A run's folder: its files, and their integrity.

    config.toml   code/   run.json   events.jsonl   metrics.json   samples.npz   sweep.npz   denoisers/   figures/

Files appear whole or not at all. ``events.jsonl`` grows; on resuming, events after the restored state
are removed from it. Leftovers of killed writers are removed on resuming.
"""

import contextlib
import datetime
import json
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from guideplug.config import command_line
from guideplug.config.tree import is_name
from guideplug.errors import RunError, UsageError
from guideplug.files.atomic import CHECKSUMS, LITTER, check_unchanged, refused, whole_file
from guideplug.files.durable import make_folder, sync_folder
from guideplug.files.opening import MOST_EVENTS, is_there, list_folder, open_own, read_bytes
from guideplug.files.reading import parse_json, read_json_file
from guideplug.observe import Listener

__all__ = ["EventLog", "RunFolder", "read_json"]

BEGUN = {"run": "run.json", "compare": "compare.toml", "study": "study.toml"}
"""The command that goes on with a folder which has a file."""


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file, which no link may lead out of its folder.

    Raises:
        RunError: it is missing or damaged.
        DamagedFile: its checksum differs.
    """
    check_unchanged(path)
    try:
        value = read_json_file(path, path.parent)
    except FileNotFoundError:
        raise RunError(f"{path} is missing: {path.parent} is not a whole run folder") from None
    except (OSError, ValueError) as error:
        raise RunError(f"{path} is damaged ({error}): start the run again in another folder") from None
    if not isinstance(value, dict):
        raise RunError(f"{path} is damaged (no JSON object): start the run again in another folder")
    return value


class RunFolder:
    """The folder of one run; its path is absolute, so that code that changes the current folder redirects nothing."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()

    @classmethod
    def create(cls, out: Path | None, name: str, parts: Sequence[str] = ("denoisers", "figures")) -> "RunFolder":
        """A new run folder with empty subfolders: ``out``, or one named by the time under ``runs/``.

        Raises:
            UsageError: it is not empty, or cannot be written.
        """
        if out is None:
            stamp = datetime.datetime.now().strftime("%Y-%m-%d-%H%M%S")
            out = _unused(Path("runs") / f"{stamp}-{name}")
        if is_there(out) and not out.is_dir():
            raise UsageError(f"--out {out} is a file: give a folder")
        if out.is_dir() and not _unbegun(out, parts):
            begun = next((command for command, file in BEGUN.items() if is_there(out / file)), None)
            hint = f"resume it with {command_line(begun, '--resume', out)} unless it has ended, or " if begun else ""
            raise UsageError(f"--out {out} is not empty: {hint}give another folder")
        try:
            for part in parts:
                make_folder(out / part)
        except OSError as error:
            raise UsageError(f"--out {out} cannot be made ({error.strerror}): give another folder") from None
        if not os.access(out, os.W_OK):
            raise UsageError(f"--out {out} is not writable: give another folder")
        return cls(out)

    @classmethod
    def existing(cls, path: Path) -> "RunFolder":
        """The folder of an earlier run.

        Raises:
            UsageError: there is none.
            RunError: it is damaged.
        """
        folder = cls(path)
        if not path.is_dir():
            raise UsageError(f"{path} does not exist: give the folder of a run")
        if not is_there(folder.config):
            raise UsageError(f"{path} is not the folder of a run: it has no config.toml")
        if folder.begun:
            folder.record()
        check_unchanged(folder.config)
        return folder

    @property
    def begun(self) -> bool:
        """Whether ``run.json`` exists: a run killed at its start has a configuration alone."""
        return is_there(self.path / "run.json")

    @property
    def config(self) -> Path:
        """The resolved configuration."""
        return self.path / "config.toml"

    @property
    def events(self) -> Path:
        """The event log."""
        return self.path / "events.jsonl"

    def checkpoint(self, role: str) -> Path:
        """The weights of a role.

        Raises:
            UsageError: the role is no name, and could be a path out of the folder.
        """
        if not is_name(role):
            raise UsageError(f"the role {role!r} is no name: write a letter, then letters, digits, - or _")
        return self.path / "denoisers" / f"{role}.safetensors"

    def figure(self, name: str) -> Path:
        """A figure."""
        return self.path / "figures" / f"{name}.png"

    def write_text(self, path: Path, text: str) -> None:
        """Write a text file, whole or not at all."""
        with whole_file(path) as file:
            file.write(text.encode())

    def write_json(self, name: str, value: Mapping[str, Any]) -> None:
        """Write a JSON file, whole or not at all."""
        self.write_text(self.path / name, json.dumps(value, indent=1, allow_nan=False) + "\n")

    def record(self) -> dict[str, Any]:
        """``run.json``."""
        return read_json(self.path / "run.json")

    def update_record(self, **changes: Any) -> None:
        """Change some keys of ``run.json``."""
        self.write_json("run.json", {**self.record(), **changes})

    def write_arrays(self, arrays: Mapping[str, npt.NDArray[Any]], name: str = "samples.npz") -> None:
        """Write arrays into one file."""
        with whole_file(self.path / name) as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]


def _unbegun(folder: Path, parts: Sequence[str]) -> bool:
    """Whether a folder is empty, or holds only leftovers of a run killed before its first file."""
    return all(
        path.name == CHECKSUMS
        or LITTER.fullmatch(path.name)
        or (path.name in parts and path.is_dir() and not list_folder(path))
        or (path.name == "code" and path.is_dir() and not is_there(folder / "config.toml"))
        for path in list_folder(folder)
    )


def _unused(path: Path) -> Path:
    candidates = (path, *(path.with_name(f"{path.name}-{number}") for number in range(2, 1000)))
    return next(candidate for candidate in candidates if not is_there(candidate))


AFTER_TRAINING = ("sample", "sampled", "measure", "metrics", "figure", "end")
"""Events that a resumed run emits again, from any state."""
SECONDS_BETWEEN_SAMPLES = 1.0
"""Least interval between logged progress events of sampling; the last one is always logged."""


def _line(event: dict[str, Any]) -> str:
    """An event as a line of JSON; non-finite numbers are null."""
    try:
        return json.dumps(event, default=str, allow_nan=False) + "\n"
    except ValueError:
        return json.dumps(_finite(event), default=str, allow_nan=False) + "\n"


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


class EventLog(Listener):
    """Write each event as a line of JSON, at once; the progress of sampling at most once per second.

    A line that a full disk refuses is kept until the next event: the log has no partial line, and no gap in a live run.
    """

    def __init__(self, path: Path, now: Callable[[], float] = time.time) -> None:
        self._path, self._now = path, now
        self._sampled = -math.inf
        self._waiting = b""
        self._rewind(lambda event: event["event"] not in AFTER_TRAINING)
        self._open()

    def on_event(self, event: str, data: dict[str, Any]) -> None:
        """Write one line; at the start of a training, first remove its lines after that step."""
        if event == "sample":
            now = time.monotonic()
            if data["done"] < data["total"] and now - self._sampled < SECONDS_BETWEEN_SAMPLES:
                return
            self._sampled = now
        if event == "train" and data["step"] is not None:
            role, step = data["role"], data["step"]
            self.close()
            self._rewind(
                lambda old: old.get("role") != role or (old["event"] != "trained" and old.get("step", 0) <= step)
            )
            self._open()
        self._waiting += _line({"event": event, "time": round(self._now(), 3), **data}).encode()
        self._write()

    def close(self) -> None:
        """Close the file; its lines last, if the disk has room."""
        self._write()
        with contextlib.suppress(OSError):
            os.fsync(self._handle)
        os.close(self._handle)

    def _open(self) -> None:
        try:
            self._handle = open_own(self._path, os.O_WRONLY | os.O_APPEND)
            sync_folder(self._path.parent)
        except OSError as error:
            raise refused(self._path, error) from None
        self._size = os.fstat(self._handle).st_size

    def _write(self) -> None:
        try:
            written = os.write(self._handle, self._waiting)
        except OSError:
            written = 0
        if written == len(self._waiting):
            self._size, self._waiting = self._size + written, b""
        else:
            os.ftruncate(self._handle, self._size)

    def _rewind(self, keep: Callable[[dict[str, Any]], bool]) -> None:
        """Keep the complete lines that remain valid; drop a partial last line."""
        try:
            text = read_bytes(self._path, MOST_EVENTS, self._path.parent).decode(errors="replace")
        except FileNotFoundError:
            return
        except (OSError, ValueError) as error:
            raise RunError(f"{self._path} cannot be read ({error}): remove it to go on without it") from None
        lines = []
        for line in text.splitlines(keepends=True):
            try:
                event = parse_json(line)
            except ValueError:
                break
            if not line.endswith("\n") or not isinstance(event, dict) or "event" not in event:
                break
            if keep(event):
                lines.append(line)
        if "".join(lines) != text:
            with whole_file(self._path) as file:
                file.write("".join(lines).encode())
