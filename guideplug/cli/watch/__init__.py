"""A run in progress, in a terminal: from its event log alone: it may run anywhere that shares the folder."""

from guideplug.cli.watch.loop import watch_folder

__all__ = ["watch_folder"]
