"""Read a run's folder in any state: finished, unfinished, failed or of an older version; list unreadable files.

Nothing in a folder is executed or trusted: numbers are checked, texts are shown as texts alone.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from guideplug.errors import DamagedFile
from guideplug.files.atomic import CHECKSUMS, check_unchanged
from guideplug.files.opening import is_there, list_folder, read_bytes
from guideplug.files.reading import parse_json, read_arrays
from guideplug.registry.registry import Registry
from guideplug.run.image_pictures import PICTURES
from guideplug.run.stored_text import words_of

__all__ = ["ReadRun", "as_number", "as_table", "read_run"]

LARGEST = 64_000_000
"""Largest size of a file that is read, in bytes."""
MOST_FIGURES = 8
PNG = b"\x89PNG\r\n\x1a\n"


@attrs.frozen
class ReadRun:
    """The content of a run's folder.

    Args:
        path: the folder.
        record, metrics, words: ``run.json``, ``metrics.json``, ``words.json``; empty if missing.
        config: the text of ``config.toml``.
        events: the lines of ``events.jsonl``.
        sweep: the arrays of ``sweep.npz``.
        figure: the name and the bytes of the figure.
        pictures: the bytes of further ones by name.
        missing: a sentence per unreadable file.
    """

    path: Path
    record: Mapping[str, Any]
    metrics: Mapping[str, Any]
    words: Mapping[str, Any]
    config: str
    events: list[Mapping[str, Any]]
    sweep: Mapping[str, NDArray[Any]]
    figure: tuple[str, bytes] | None
    pictures: Mapping[str, bytes]
    missing: list[str]

    @property
    def status(self) -> str:
        """The status in the run's record."""
        return str(self.record.get("status", "unknown"))


def read_run(path: Path, registry: Registry | None = None) -> ReadRun:
    """The content of a run's folder that a page shows."""
    missing: list[str] = []
    record = _json(path / "run.json", missing)
    metrics = _json(path / "metrics.json", missing, "no samples were measured")
    config = _text(path / "config.toml", missing)
    try:
        words = words_of(path, registry)
    except (Exception, SystemExit) as error:  # of a plugin, whose code they are worked out with
        words = {}
        missing.append(
            f"The words of this run cannot be worked out with what is installed ({' '.join(str(error).split())}): "
            "which way metrics are better, sentences and citations are missing."
        )
    figures = _figures(path, missing)
    figure = next(((f"{name}.png", content) for name, content in figures.items() if name not in PICTURES), None)
    pictures = {name: figures[name] for name in PICTURES if name in figures}
    return ReadRun(
        path, record, metrics, words, config, _events(path / "events.jsonl", missing),
        _sweep(path / "sweep.npz", missing), figure, pictures, missing,
    )  # fmt: skip


def as_number(value: Any) -> float | None:
    """A finite number, or None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None


def as_table(value: Any) -> Mapping[str, Any]:
    """An object of a JSON file, or an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def _bytes(path: Path, folder: Path) -> bytes:
    content = read_bytes(path, LARGEST, folder)
    try:
        check_unchanged(path)
    except DamagedFile:
        raise ValueError(f"it is not what was written, going by {CHECKSUMS}") from None
    return content


def _text(path: Path, missing: list[str]) -> str:
    try:
        return _bytes(path, path.parent).decode(errors="replace")
    except (OSError, ValueError) as error:
        missing.append(f"{path.name} cannot be read ({_why(error)}).")
        return ""


def _json(path: Path, missing: list[str], absent: str = "it is not there") -> Mapping[str, Any]:
    try:
        value = parse_json(_bytes(path, path.parent).decode())
    except FileNotFoundError:
        missing.append(f"{path.name} is missing: {absent}.")
        return {}
    except (OSError, ValueError) as error:
        missing.append(f"{path.name} is damaged ({_why(error)}).")
        return {}
    if not isinstance(value, dict):
        missing.append(f"{path.name} is damaged (no JSON object).")
        return {}
    return value


def _events(path: Path, missing: list[str]) -> list[Mapping[str, Any]]:
    if not is_there(path):
        missing.append("events.jsonl is missing: there are no curves.")
        return []
    events: list[Mapping[str, Any]] = []
    for line in _text(path, missing).splitlines():
        try:
            event = json.loads(line)
        except (ValueError, RecursionError):
            continue  # the last line of a run that was killed
        if isinstance(event, dict):
            events.append(event)
    return events


def _sweep(path: Path, missing: list[str]) -> Mapping[str, NDArray[Any]]:
    """The samples at several weights; empty for an invalid file."""
    try:
        read = read_arrays(_bytes(path, path.parent))
        arrays = {name: read[name] for name in ("option", "weights", "own", "failed", "samples", "truth")}
    except (FileNotFoundError, KeyError):
        return {}
    except (OSError, ValueError) as error:
        missing.append(f"{path.name} is damaged ({_why(error)}).")
        return {}
    samples, weights = arrays["samples"], arrays["weights"]
    numbers = [arrays[name] for name in ("weights", "own", "failed", "samples", "truth")]
    whole = (
        all(array.dtype.kind in "fiu" for array in numbers)
        and weights.ndim == 1
        and samples.ndim >= 3
        and len(samples) == len(weights) >= 1
        and arrays["truth"].shape[1:] == samples.shape[2:]
        and arrays["own"].ndim == 0
        and all(np.isfinite(array).all() for array in numbers)
    )
    return arrays if whole else {}


def _figures(folder: Path, missing: list[str]) -> dict[str, bytes]:
    """The pictures of a run by name; the first one of each kind that is read, up to `MOST_FIGURES`."""
    figures: dict[str, bytes] = {}
    try:
        for path in list_folder(folder / "figures", "*.png", folder):
            content = _bytes(path, folder)
            if not path.name.startswith(".") and content.startswith(PNG):
                figures[path.stem] = content
            if len(figures) == MOST_FIGURES:
                break
    except (OSError, ValueError) as error:
        missing.append(f"The figures cannot be read ({_why(error)}).")
    return figures


def _why(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split()) or type(error).__name__
