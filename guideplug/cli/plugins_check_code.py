"""A plugin's files in ``plugins check``: code that networks and samples depend on, and the rest."""

import sys
from collections.abc import Sequence
from typing import Any

from guideplug.cli.echo import echo
from guideplug.registry.registry import Plugin
from guideplug.run.code import deciding
from guideplug.store.source import Part, core_scope, parts

__all__ = ["code_data", "print_code"]

MOST = 6
"""Most definitions named in a line."""


def code_data(plugin: Plugin) -> dict[str, Any]:
    """JSON data: by file, code that networks or samples depend on and the rest; why a whole package counts."""
    files, opaque = _parts(plugin)
    return {"files": {file.file: {"decides": file.counts, "not": file.left} for file in files}, "whole": opaque}


def print_code(plugin: Plugin) -> None:
    """Print one line per file."""
    files, opaque = _parts(plugin)
    if not files:
        return
    echo("  code that networks or samples depend on")
    for reason in opaque:
        echo(f"    all of the package, since names do not say what runs: {reason}")
    for file in files:
        echo(f"    {file.file}: {_of(file)}")


def _parts(plugin: Plugin) -> tuple[list[Part], list[str]]:
    roots = [(sys.modules[cls.__module__], cls.__qualname__) for cls in deciding(plugin)]
    return parts(roots, core_scope())


def _of(part: Part) -> str:
    if not part.counts:
        return "nothing"
    if not part.left:
        return "all"
    if len(part.counts) < len(part.left):
        return f"{_listed(part.counts)}; nothing else"
    return f"all but {_listed(part.left)}"


def _listed(names: Sequence[str]) -> str:
    if len(names) <= MOST:
        return ", ".join(names)
    return f"{', '.join(names[:MOST])} and {len(names) - MOST} more"
