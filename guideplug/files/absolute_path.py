"""Paths that users name, which do not depend on the current folder."""

from pathlib import Path

__all__ = ["absolute_path"]


def absolute_path(path: str) -> str:
    """The path from the root, with ``~`` in full; for options that name files."""
    try:
        return str(Path(path).expanduser().absolute())
    except RuntimeError:  # ~somebody, whom this machine does not know: a name like any other
        return str(Path(path).absolute())
