"""``guideplug report``: the page of a run, of several, of a comparison or of a study."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from guideplug.cli.echo import echo
from guideplug.cli.guard import guard
from guideplug.cli.replaceable import check_replaceable
from guideplug.errors import WriteError
from guideplug.files.display import display_path
from guideplug.registry.registry import Registry
from guideplug.report import write_page, write_report_of
from guideplug.report.pages import PAGE
from guideplug.run.failure import Failure, Failures, collected
from guideplug.run.prepare import plugin_files

__all__ = ["page_told", "report_command"]


def report_command(folders: tuple[str, ...], options: Mapping[str, Any]) -> None:
    """``guideplug report``."""
    guard(options)
    out = None if options["out"] is None else Path(options["out"])
    if out is not None:
        check_replaceable(out, "--out", ".html")
    local = plugin_files([], options["plugins"])
    registry = Registry.installed(local) if local else None
    echo(f"page: {display_path(write_report_of([Path(folder) for folder in folders], out, registry))}")


def page_told(folder: Path, registry: Registry | None = None) -> tuple[str | None, list[Failure]]:
    """Write the page of a folder whose work is done; its path or None, and its failure if it cannot be written."""
    failures, page = Failures(), None
    try:
        with collected(failures, "page", PAGE):
            page = display_path(write_page(folder, registry=registry))
    except (WriteError, OSError) as error:  # of a full disk: the work itself is done
        failures.add("page", PAGE, str(error))
    for failure in failures.listed:
        echo(f"warning: {failure}", err=True)
    return page, failures.listed
