"""The commands of what is there, plugins and trained networks, and their options."""

from typing import Any

import click

from guideplug.cli.group import Group
from guideplug.cli.parameters import operand
from guideplug.cli.shared_options import JSON, local_plugins

__all__ = ["plugins", "store"]


@click.group(cls=Group, short_help="What is installed, from where, what is broken.")
def plugins() -> None:
    """What is installed, from where, what is broken."""


@plugins.command("list", short_help="Every plugin and what it offers.")
@local_plugins("A local plugin too.")
@JSON
def plugins_list(plugins: tuple[str, ...], as_json: bool) -> None:
    """Every plugin, where it comes from, what it offers, and why it is broken if it is."""
    from guideplug.cli.plugins import list_plugins

    list_plugins(plugins, as_json)


@plugins.command("show", short_help="One plugin or strategy: options, defaults, source.")
@operand("name", kind="plugin", metavar="NAME")
@local_plugins("A local plugin too.")
@JSON
def plugins_show(name: str, plugins: tuple[str, ...], as_json: bool) -> None:
    """One plugin or strategy: its options with their defaults, units and help, and where the method comes from."""
    from guideplug.cli.plugins import show_plugin

    show_plugin(name, plugins, as_json)


@plugins.command("check", short_help="The laws that hold for a plugin, and those that do not.")
@operand("name", kind="plugin", metavar="[NAME]", required=False)
@local_plugins("A local plugin, instead.")
@JSON
def plugins_check(name: str | None, plugins: tuple[str, ...], as_json: bool) -> None:
    """The laws that hold for what a plugin offers, and those that do not, with the reason and what to do.

    NAME is a plugin, a distribution or a strategy; without it and without a file, all that is installed is checked.
    A plugin is code, and is run. Nothing is trained. Exit code 1 when a law does not hold.

    \b
    guideplug plugins check interval
    guideplug plugins check --plugin ./mine.py
    """
    from guideplug.cli.plugins_check import check_plugins

    check_plugins(name, plugins, as_json)


@click.group(cls=Group, short_help="List, verify and prune trained networks.")
def store() -> None:
    """Trained networks, kept for other runs: in $GUIDEPLUG_STORE, else in the platform's cache."""


@store.command("list", short_help="What is there.")
@JSON
def store_list(as_json: bool) -> None:
    """What is there: identity, network, task, iterations, seconds, size."""
    from guideplug.cli.store import list_store

    list_store(as_json)


@store.command("verify", short_help="Check every file against its checksum.")
@JSON
def store_verify(as_json: bool) -> None:
    """Check every file against its checksum; exit code 1 when something is damaged."""
    from guideplug.cli.store import verify_store

    verify_store(as_json)


@store.command("prune", short_help="Remove networks.")
@click.argument("identities", nargs=-1, metavar="[IDENTITY]...")
@click.option("--damaged", is_flag=True, help="Those that are damaged.")
@click.option("--partial", is_flag=True, help="What unfinished trainings left.")
@click.option("--older", type=float, metavar="DAYS", help="Those made longer ago than this.")
@click.option("--all", "everything", is_flag=True, help="All.")
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
def store_prune(identities: tuple[str, ...], **options: Any) -> None:
    """Remove networks: those named by the beginning of their identity, or of one of the kinds below."""
    from guideplug.cli.store import prune_store

    prune_store(identities, **options)
