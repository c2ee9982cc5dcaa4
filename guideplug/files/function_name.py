"""Names of functions of the user's own code: ``module:function``, ``FOLDER/module:function``, ``FILE.py:function``."""

import re
from pathlib import Path

__all__ = ["FUNCTION", "absolute", "without_folder"]

FUNCTION = re.compile(r"(.+\.py|(.+/)?[^\W\d]\w*(\.[^\W\d]\w*)*):[^\W\d]\w*")
"""The name of a function; a module is a dotted name."""


def absolute(text: str, folder: Path | None = None) -> str:
    """The name with the path of its file or folder made absolute; by default it begins at the current folder."""
    place, colon, name = text.rpartition(":")
    if not colon or not (place.endswith(".py") or "/" in place):
        return text
    return f"{(folder or Path.cwd()) / place}:{name}"


def without_folder(text: str) -> str:
    """The name as ``module:function``, wherever the module is."""
    place, _, name = text.rpartition(":")
    return f"{place.rpartition('/')[2].removesuffix('.py')}:{name}"
