"""Hashes of source code, for an edited file is another experiment; and of records, for a changed one is none."""

import ast
import functools
import hashlib
import inspect
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

__all__ = ["files_digest", "local_sources", "module_digest", "record_digest"]


@functools.cache
def module_digest(module: ModuleType) -> str:
    """The hash of a module's source: of its file, or of every Python file of the package."""
    file = inspect.getsourcefile(module)
    if file is None:
        return "no source"
    path = Path(file)
    return files_digest(path.parent, list(path.parent.rglob("*.py")) if path.name == "__init__.py" else [path])


def files_digest(folder: Path, files: Sequence[Path]) -> str:
    """The hash of some files in a folder, with their names; 16 hexadecimal digits."""
    digest = hashlib.sha256()
    for file in sorted(files):
        digest.update(file.relative_to(folder).as_posix().encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def local_sources(path: Path, root: Path) -> list[Path]:
    """A Python file and the files under ``root`` that it imports, they import, and so on, wherever in them they do."""
    found: dict[Path, None] = {}
    waiting = [path]
    while waiting:
        file = waiting.pop()
        if file not in found:
            found[file] = None
            waiting += [
                source for name in _imports(file) for folder in (file.parent, root) for source in _files(folder, name)
            ]
    return sorted(found)


def _imports(path: Path) -> Iterator[str]:
    """The modules that a file imports, as written; whatever comes ``from`` one may be a module in it."""
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = f"{node.module}." if node.module else ""
            yield from (f"{start}{alias.name}" for alias in node.names)


def _files(folder: Path, name: str) -> Iterator[Path]:
    """The files of a module and of the packages around it that lie in a folder."""
    place = folder
    for part in name.split("."):
        place = place / part
        yield from (file for file in (place.with_suffix(".py"), place / "__init__.py") if file.is_file())


def record_digest(record: Mapping[str, Any]) -> str:
    """The SHA-256 of a record of plain data: of what it says, not of how it is laid out."""
    plain = json.loads(json.dumps(record))  # keys as JSON has them, before they are sorted
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()
