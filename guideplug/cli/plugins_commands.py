"""The command group ``guideplug plugins`` and its options."""

import click

from guideplug.cli.group import Group
from guideplug.cli.parameters import operand
from guideplug.cli.shared_options import JSON, local_plugins

__all__ = ["plugins"]


@click.group(cls=Group, short_help="Installed plugins: what they offer, and what is broken.")
def plugins() -> None:
    """Installed plugins: where they come from, what they offer, and what is broken."""


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
