"""Code in commands: code named on the command line may run, code named by a file needs consent."""

from collections.abc import Iterator, Mapping
from typing import Any

import click

from guideplug.files.opened import reading_once
from guideplug.files.project import ProjectPlugin
from guideplug.files.trust import guarded

__all__ = ["guard"]


def guard(options: Mapping[str, Any], *texts: str | None) -> None:
    """Until the command ends, run only code that its line names or that the user trusts (`guideplug.files.trust`)."""
    typed = [text for text in texts if text is not None]
    for key, value in options.items():
        if key != "plugins":
            typed += _typed(value)
    files = [file for file in options.get("plugins", ()) if not isinstance(file, ProjectPlugin)]
    context = click.get_current_context()
    context.with_resource(reading_once())
    context.with_resource(guarded(typed, files, trusting=options.get("trust")))


def _typed(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, tuple):
        for item in value:
            yield from _typed(item)
