"""``--json``: the result alone on standard output; whatever else is printed, by plugins too, goes to standard error."""

import contextlib
import json
import os
import sys
from collections.abc import Iterator
from typing import Any, TextIO

__all__ = ["json_alone", "print_json", "print_json_text"]

_out: list[TextIO] = []
"""Standard output as it was, while it is set aside."""


@contextlib.contextmanager
def json_alone() -> Iterator[None]:
    """A block in which only `print_json` writes to standard output, that of the process included."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(_kept(sys.stdout, stack))
        stack.enter_context(contextlib.redirect_stdout(sys.stderr))
        yield


@contextlib.contextmanager
def _kept(stream: TextIO, stack: contextlib.ExitStack) -> Iterator[None]:
    """Keep a stream for the result; where it is the process's own, code below Python loses it too."""
    try:
        own = stream.fileno() == 1
    except (OSError, ValueError):
        own = False
    if own:
        stream.flush()
        aside = os.dup(1)
        stack.callback(os.close, aside)
        stack.callback(os.dup2, aside, 1)
        stack.callback(stream.flush)
        os.dup2(2, 1)
        stream = stack.enter_context(os.fdopen(os.dup(aside), "w", encoding=stream.encoding or "utf-8"))
    _out.append(stream)
    try:
        yield
    finally:
        _out.remove(stream)


def print_json(value: Any) -> None:
    """Print the result of a command."""
    print_json_text(json.dumps(value, indent=1))


def print_json_text(text: str) -> None:
    """Print the result of a command that is JSON already."""
    stream = _out[-1] if _out else sys.stdout
    stream.write(text.rstrip("\n") + "\n")
    stream.flush()
