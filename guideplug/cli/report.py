"""``guideplug report``: the page of a run, of several, of a comparison or of a study."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from guideplug.cli.echo import echo
from guideplug.cli.guard import guard
from guideplug.registry.registry import Registry
from guideplug.report import write_page, write_report_of

__all__ = ["page_told", "report_command"]


def report_command(folders: tuple[str, ...], options: Mapping[str, Any]) -> None:
    """``guideplug report``."""
    guard(options)
    out = None if options["out"] is None else Path(options["out"])
    local = [os.path.realpath(file) for file in options["plugins"]]
    registry = Registry.installed(local) if local else None
    echo(f"page: {write_report_of([Path(folder) for folder in folders], out, registry)}")


def page_told(folder: Path, registry: Registry | None = None, before: Callable[[], None] = lambda: None) -> str | None:
    """Write the page of a folder whose work is done; its path, or None and a line of warning."""
    try:
        before()
        return str(write_page(folder, registry=registry))
    except Exception as error:  # a failed page must not fail finished work
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        echo(f"warning: the page of {folder} could not be written ({reason})", err=True)
        return None
