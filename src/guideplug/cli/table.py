"""The table of metrics, as printed."""

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

__all__ = ["print_table"]


def print_table(console: Console, title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table whose first two columns are words, and the others numbers."""
    table = Table(title=escape(title), title_justify="left")
    for index, name in enumerate(header):
        table.add_column(escape(name), justify="left" if index < 2 else "right")
    for row in rows:
        table.add_row(*map(escape, row))
    console.print()
    console.print(table)
