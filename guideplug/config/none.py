"""The word "none" where a text stands for a value: neither TOML nor a command line has a null."""

from typing import Final

__all__ = ["NONE", "means_none"]

NONE: Final = "none"
"""Its canonical spelling."""


def means_none(value: object) -> bool:
    """Whether a value is the word, in any case and with spaces around it."""
    return isinstance(value, str) and value.strip().lower() == NONE
