"""A cache of the names that installed plugins offer: a shell completes them without loading torch.

Every registry of the installed plugins writes it to a file in the platform's cache folder. The names of a plugin are
valid as long as its distribution has the same version and the same time of installation.
"""

import contextlib
import hashlib
import importlib.metadata
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from guideplug.files.opening import is_there, read_bytes

__all__ = ["GROUP", "disabled", "known", "of_file", "remember", "remember_file", "stamp_of", "stamps"]

GROUP = "guideplug"
"""The entry-point group of plugins."""
MOST = 8 * 1024**2
"""Bytes of the cache."""


def disabled() -> list[str]:
    """The plugins and distributions in ``GUIDEPLUG_DISABLE``, separated by commas; in canonical spelling."""
    listed = os.environ.get("GUIDEPLUG_DISABLE", "").replace(",", " ").split()
    return list(dict.fromkeys(name.replace("_", "-").lower() for name in listed))


MOST_FILES = 31
"""Plugins of projects whose names are remembered, beside the last one."""


def _file(what: str = "names") -> Path:
    """A cache file of this Python environment."""
    from platformdirs import user_cache_path

    environment = hashlib.sha256(sys.prefix.encode()).hexdigest()[:12]
    return user_cache_path("guideplug") / f"{what}-{environment}.json"


def _write(file: Path, value: Mapping[str, Any]) -> None:
    """Write a cache file, whole, unless it holds that already."""
    text = json.dumps(value)
    with contextlib.suppress(OSError, ValueError):
        if is_there(file) and read_bytes(file, MOST).decode() == text:
            return
        file.parent.mkdir(parents=True, exist_ok=True)
        aside = file.with_name(f"{file.name}.{os.getpid()}")
        aside.write_text(text, encoding="utf-8")
        aside.replace(file)


def _files() -> dict[str, Any]:
    """The names of projects' plugins, by the SHA-256 of their code."""
    try:
        files = json.loads(read_bytes(_file("files"), MOST))
    except (OSError, ValueError):
        return {}
    return files if isinstance(files, dict) else {}


def stamp_of(point: importlib.metadata.EntryPoint) -> list[Any] | None:
    """The distribution of an installed plugin: name, version, time of installation."""
    if point.dist is None:
        return None
    metadata = point.dist.metadata  # read from its file each time
    # The metadata folder, if any: an installation creates a new one.
    folder = getattr(point.dist, "_path", None)
    try:
        written = Path(folder).stat().st_mtime_ns if folder is not None else 0
    except OSError:
        written = 0
    return [metadata["Name"], metadata["Version"], written]


def stamps() -> dict[str, Any]:
    """The stamp of every installed plugin."""
    return {point.name: stamp_of(point) for point in importlib.metadata.entry_points(group=GROUP)}


def remember(offers: Mapping[str, Mapping[str, Sequence[str]]], stamped: Mapping[str, Any]) -> None:
    """Write the names that plugins offer, per plugin by kind, with their stamps; a failed write is ignored."""
    plugins = [
        {
            "plugin": plugin,
            "stamp": stamped.get(plugin),
            "names": {kind: list(names) for kind, names in names_of.items()},
        }
        for plugin, names_of in offers.items()
    ]
    _write(_file(), {"plugins": plugins})


def remember_file(digest: str, offers: Mapping[str, Mapping[str, Sequence[str]]]) -> None:
    """Write the names that a project's plugin offers, under the SHA-256 of its code; a failed write is ignored."""
    files = dict(list(_files().items())[-MOST_FILES:])
    if files.get(digest) != offers:
        _write(_file("files"), {**files, digest: offers})


def of_file(digest: str) -> dict[str, dict[str, list[str]]]:
    """The cached names of a project's plugin, by the SHA-256 of its code; empty where it has not been loaded."""
    names = _files().get(digest, {})
    return names if isinstance(names, dict) else {}


def known(*, without_disabled: bool = True) -> dict[str, dict[str, list[str]]]:
    """The cached names of the installed plugins and of the core, per plugin by kind."""
    try:
        plugins = json.loads(read_bytes(_file(), MOST))["plugins"]
        left_out = set(disabled()) if without_disabled else set()
        now = stamps()
        return {
            item["plugin"]: item["names"]
            for item in plugins
            if item["stamp"] == now.get(item["plugin"])
            and left_out.isdisjoint({"all", "*", item["plugin"], (item["stamp"] or [""])[0]})
        }
    except (OSError, ValueError, KeyError, TypeError):
        return {}
