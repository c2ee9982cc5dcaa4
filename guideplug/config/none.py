"""The word "none" as a null value in texts: neither TOML nor a command line has a null."""

from typing import Final

__all__ = ["NONE", "means_none"]

NONE: Final = "none"
"""Its canonical spelling."""


def means_none(value: object) -> bool:
    """Whether a value is the word "none", ignoring case and surrounding spaces."""
    return isinstance(value, str) and value.strip().lower() == NONE
