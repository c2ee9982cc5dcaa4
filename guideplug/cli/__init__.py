"""The command line. Nothing here imports torch until a command needs it."""

from guideplug.cli.main import main

__all__ = ["main"]
