"""Command lines that are printed to be typed, of their words: all that messages, pages and records print.

A shell reads each word as it was given, whatever it holds, and no path as an option.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

from guideplug.config.grammar import shell_quote

__all__ = ["command_line"]

PROGRAM = "guideplug"


def command_line(
    *words: object, plugins: Iterable[str] = (), models: Mapping[str, object] | None = None, store: Path | None = None
) -> str:
    """A command of guideplug as it is typed.

    Args:
        words: the command, its options and their values. A path that begins with "-" gets the folder that it is in.
        plugins: local plugin files.
        models: networks of roles.
        store: the store that the command is about, where it is not the one that commands use by themselves.
    """
    options = [word for path in plugins for word in ("--plugin", path)]
    options += [word for role, model in (models or {}).items() for word in ("--model", f"{role}={model}")]
    typed = _typed(list(map(_word, (*words, *options))))
    return typed if store is None else f"GUIDEPLUG_STORE={shell_quote(str(store))} {typed}"


def _typed(words: list[str]) -> str:
    return " ".join([PROGRAM, *map(shell_quote, words)])


def _word(value: object) -> str:
    return f"./{value}" if isinstance(value, Path) and str(value).startswith("-") else str(value)
