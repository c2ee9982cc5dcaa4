"""A run's folder: its files, and their integrity.

    config.toml   run.json   events.jsonl   metrics.json   samples.npz   sweep.npz   denoisers/   figures/

Files appear whole or not at all. ``events.jsonl`` grows; on resuming, events after the restored state
are removed from it. Leftovers of killed writers are removed on resuming.
"""

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
from guideplug.files.reading import parse_json, read_json_file
from guideplug.observe import Listener

__all__ = ["EventLog", "RunFolder", "read_json"]

BEGUN = {"run": "run.json", "compare": "compare.toml", "study": "study.toml"}
"""The command that goes on with a folder which has a file."""


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file.

    Raises:
        RunError: it is missing or damaged.
        DamagedFile: its checksum differs.
    """
    check_unchanged(path)
    try:
        value = read_json_file(path)
    except FileNotFoundError:
        raise RunError(f"{path} is missing: {path.parent} is not a whole run folder") from None
    except (OSError, ValueError) as error:
        raise RunError(f"{path} is damaged ({error}): start the run again in another folder") from None
    if not isinstance(value, dict):
        raise RunError(f"{path} is damaged (no JSON object): start the run again in another folder")
    return value


class RunFolder:
    """The folder of one run."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, out: Path | None, name: str, parts: Sequence[str] = ("denoisers", "figures")) -> "RunFolder":
        """A new run folder with empty subfolders: ``out``, or one named by the time under ``runs/``.

        Raises:
            UsageError: it is not empty, or cannot be written.
        """
        if out is None:
            stamp = datetime.datetime.now().strftime("%Y-%m-%d-%H%M%S")
            out = _unused(Path("runs") / f"{stamp}-{name}")
        if out.is_file():
            raise UsageError(f"--out {out} is a file: give a folder")
        if out.is_dir() and not _unbegun(out, parts):
            begun = next((command for command, file in BEGUN.items() if (out / file).is_file()), None)
            hint = f"resume it with {command_line(begun, '--resume', out)} unless it has ended, or " if begun else ""
            raise UsageError(f"--out {out} is not empty: {hint}give another folder")
        try:
            for part in parts:
                (out / part).mkdir(parents=True, exist_ok=True)
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
        if not folder.config.is_file():
            raise UsageError(f"{path} is not the folder of a run: it has no config.toml")
        if folder.begun:
            folder.record()
        check_unchanged(folder.config)
        return folder

    @property
    def begun(self) -> bool:
        """Whether ``run.json`` exists: a run killed at its start has a configuration alone."""
        return (self.path / "run.json").is_file()

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
        or (path.name in parts and path.is_dir() and not any(path.iterdir()))
        for path in folder.iterdir()
    )


def _unused(path: Path) -> Path:
    candidates = (path, *(path.with_name(f"{path.name}-{number}") for number in range(2, 1000)))
    return next(candidate for candidate in candidates if not candidate.exists())


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
        """Close the file."""
        self._write()
        os.close(self._handle)

    def _open(self) -> None:
        try:
            self._handle = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
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
        if not self._path.is_file():
            return
        text = self._path.read_text(errors="replace")
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
