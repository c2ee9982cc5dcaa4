"""Files that a command may write over: those of the kind that it writes, since a slip of a name should cost nothing."""

from pathlib import Path

from guideplug.errors import UsageError
from guideplug.files.opening import open_file

__all__ = ["check_replaceable"]

KINDS = {".html": (b"<!doctype html", "a page"), ".png": (b"\x89png", "a picture")}
"""How a file of each kind begins, in lower case, and what it is."""


def check_replaceable(path: Path, option: str, kind: str) -> None:
    """Refuse to write over a file of another kind.

    Args:
        path: the file to write.
        option: the option that names it.
        kind: ".html" or ".png".

    Raises:
        UsageError: there is such a file.
    """
    beginning, name = KINDS[kind]
    try:
        with open_file(path) as file:
            start = file.read(len(beginning)).lower()
    except (OSError, ValueError):
        return  # there is none, or what the writer refuses
    if start not in (b"", beginning):
        raise UsageError(f"{option} {path} is there already, and is not {name}: give another name")
