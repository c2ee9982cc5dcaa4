"""Hashes of source code: an edited file is another experiment."""

import functools
import hashlib
import inspect
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

__all__ = ["files_digest", "module_digest"]


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
