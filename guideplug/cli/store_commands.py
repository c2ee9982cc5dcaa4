"""The command group ``guideplug store`` and its options."""

from typing import Any

import click

from guideplug.cli.consent import YES
from guideplug.cli.group import Group
from guideplug.cli.number import Number
from guideplug.cli.shared_options import JSON

__all__ = ["store"]


@click.group(cls=Group, short_help="List, verify and prune trained networks.")
def store() -> None:
    """Trained networks, kept for other runs: in $GUIDEPLUG_STORE, else in the platform's cache."""


@store.command("list", short_help="The stored networks and prepared data.")
@JSON
def store_list(as_json: bool) -> None:
    """The stored networks: identity, network, task, iterations, seconds, size; and prepared data: key, size, date."""
    from guideplug.cli.store import list_store

    list_store(as_json)


@store.command("verify", short_help="Check every file against its checksum.")
@JSON
def store_verify(as_json: bool) -> None:
    """Check every file against its checksum; exit code 1 if one is damaged."""
    from guideplug.cli.store import verify_store

    verify_store(as_json)


@store.command("prune", short_help="Remove networks and prepared data.")
@click.argument("identities", nargs=-1, metavar="[IDENTITY]...")
@click.option("--damaged", is_flag=True, help="Damaged networks.")
@click.option("--partial", is_flag=True, help="Files of unfinished trainings and preparations.")
@click.option(
    "--older",
    type=Number(0, "an age in days", 30, 1e6),
    metavar="DAYS",
    help="Networks and data older than this, 0 or more.",
)
@click.option("--all", "everything", is_flag=True, help="Every network, and all data.")
@click.option("--dry-run", is_flag=True, help="List what would be removed, and remove nothing.")
@YES
def store_prune(identities: tuple[str, ...], **options: Any) -> None:
    """Remove networks and prepared data: those named by the beginning of their identity, or of a kind below.

    They are listed with their sizes, and removed when you agree. One whose record cannot be read is removed only where
    it is named. What a run uses is kept.
    """
    from guideplug.cli.store_prune import prune_store

    prune_store(identities, **options)
