"""Short spellings of observers along trainings: ``--preview every=500it`` is the observer ``preview(every=500it)``."""

from collections.abc import Mapping, Sequence

__all__ = ["SHORT", "with_short"]

SHORT = ("preview", "measure")
"""The observers that have an option, or an argument, of their name."""


def with_short(
    observers: Sequence[str] | None, options: Mapping[str, str | None], configured: Sequence[str]
) -> list[str] | None:
    """The observers of a request; None where it names none, and those of the configuration hold.

    Args:
        observers: those that are named in full, in place of the configuration's; None for none named.
        options: the options of short ones by name; None for one left out. One takes the place of another of its name.
        configured: those of the configuration.
    """
    short = {name: f"{name}({text})" for name, text in options.items() if text is not None}
    if not short:
        return None if observers is None else list(observers)
    others = configured if observers is None else observers
    return [text for text in others if text.partition("(")[0].strip() not in short] + list(short.values())
