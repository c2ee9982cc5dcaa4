"""A plugin to start from: the files of a distribution, with one strategy that works."""

from guideplug.cli.scaffold.in_tree import find_checkout, write_in_tree
from guideplug.cli.scaffold.scaffold import KINDS, LIKE, Kind, check_like, check_name, command, strategies, write_plugin

__all__ = [
    "KINDS",
    "LIKE",
    "Kind",
    "check_like",
    "check_name",
    "command",
    "find_checkout",
    "strategies",
    "write_in_tree",
    "write_plugin",
]
