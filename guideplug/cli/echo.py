"""What commands print: names and texts of files cannot steer a terminal, nor begin lines of their own."""

import click

from guideplug.errors import visible

__all__ = ["echo", "echo_lines"]


def echo(line: str, *, err: bool = False) -> None:
    """Print one line, with everything escaped that cannot be printed."""
    click.echo(visible(line), err=err)


def echo_lines(text: str, *, err: bool = False) -> None:
    """Print lines, with everything else escaped that cannot be printed."""
    for line in text.split("\n"):
        echo(line, err=err)
