"""A plugin to start from: the files of a distribution, with one strategy that works."""

from guideplug.cli.scaffold.scaffold import KINDS, Kind, check_name, strategies, write_plugin

__all__ = ["KINDS", "Kind", "check_name", "strategies", "write_plugin"]
