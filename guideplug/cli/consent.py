"""Consent to what cannot be undone: asked on a terminal, given beforehand by ``--yes`` elsewhere."""

import sys

import click

from guideplug.errors import UsageError

__all__ = ["YES", "consented"]

YES = click.option("--yes", is_flag=True, help="Remove without a question, as in scripts.")


def consented(removal: str, *, yes: bool) -> bool:
    """Whether the user agrees to a removal that was listed.

    Args:
        removal: what would be removed, with its size.
        yes: whether ``--yes`` is given.

    Raises:
        UsageError: there is no ``--yes``, and no terminal to ask on.
    """
    if yes:
        return True
    if not _on_a_terminal():
        raise UsageError(f"{removal} would be removed: give --yes to remove without a question, or --dry-run to list")
    return click.confirm(f"remove {removal}?")


def _on_a_terminal() -> bool:
    return sys.stdin.isatty()
