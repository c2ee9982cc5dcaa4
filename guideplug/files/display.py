"""Paths as they are printed: relative to the current folder, where they lie in it. Work is done with absolute ones."""

from pathlib import Path

__all__ = ["display_path"]


def display_path(path: Path) -> str:
    """A path as text for the user: what a shell in the current folder needs to name it."""
    try:
        return str(path.relative_to(Path.cwd()))
    except (OSError, ValueError):  # elsewhere, or the current folder is gone
        return str(path)
