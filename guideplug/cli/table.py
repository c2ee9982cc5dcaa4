"""The table of metrics, as printed."""

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from guideplug.errors import visible

__all__ = ["print_table", "table_width"]


def print_table(
    console: Console, title: str, header: Sequence[str], rows: Sequence[Sequence[str]], *, words: int = 2
) -> None:
    """Print a table whose first columns, ``words`` of them, are words, and the others numbers."""
    table = Table()
    for index, name in enumerate(header):
        table.add_column(escape(visible(name)), justify="left" if index < words else "right")
    for row in rows:
        table.add_row(*(escape(visible(text)) for text in row))
    console.print()
    title = visible(title)  # wider than its table
    console.print(title, style="table.title", markup=False, highlight=False, soft_wrap=True)
    console.print(table)


def table_width(header: Sequence[str], rows: Sequence[Sequence[str]]) -> int:
    """How many columns of a terminal a table takes that folds nothing."""
    return 1 + sum(3 + max(map(len, column)) for column in zip(header, *rows, strict=True))
