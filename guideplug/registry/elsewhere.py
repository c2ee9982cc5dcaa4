"""Where a name is that ``guideplug`` itself does not have: in which installed plugin, read from its source.

Nothing is imported or run for it.
"""

import ast
import contextlib
import functools
import importlib.metadata
import importlib.util
from collections.abc import Iterator
from pathlib import Path

from guideplug.registry.names import GROUP

__all__ = ["import_of"]


def import_of(name: str) -> str:
    """The import of a name from the installed plugin that has it; empty if none has."""
    for point in importlib.metadata.entry_points(group=GROUP):
        package = point.value.partition(":")[0].partition(".")[0]
        for module, path in _files(package):
            if name in _names(path):
                return f"from {module} import {name}"
    return ""


def _files(package: str) -> Iterator[tuple[str, Path]]:
    """The modules of a package and their files, the package itself first."""
    with contextlib.suppress(ImportError, ValueError):
        spec = importlib.util.find_spec(package)
        if spec is not None and spec.origin is not None:
            yield package, Path(spec.origin)
            for folder in spec.submodule_search_locations or ():
                for path in sorted(Path(folder).glob("[!_]*.py")):
                    yield f"{package}.{path.stem}", path


@functools.cache
def _names(path: Path) -> set[str]:
    """The names that a file defines at its top level, or imports from elsewhere than ``guideplug``."""
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, SyntaxError):
        return set()
    names: set[str] = set()
    for statement in tree.body:
        if isinstance(statement, ast.ClassDef | ast.FunctionDef):
            names.add(statement.name)
        elif isinstance(statement, ast.ImportFrom) and (statement.module or "").partition(".")[0] != "guideplug":
            names |= {alias.asname or alias.name for alias in statement.names}
    return names
