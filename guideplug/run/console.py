"""A console whose texts cannot steer the terminal: what cannot be printed is escaped, before rich adds styles."""

from collections.abc import Iterable
from typing import Any

import rich.console
from rich.segment import Segment

from guideplug.errors import visible

__all__ = ["Console", "print_line"]


class Console(rich.console.Console):
    """A console of rich; texts from names, logs and expressions are shown as they are."""

    def render(self, *args: Any, **options: Any) -> Iterable[Segment]:
        for segment in super().render(*args, **options):
            if segment.control or segment.text.isprintable():
                yield segment
            else:
                lines = segment.text.split("\n")
                yield Segment("\n".join(map(visible, lines)), segment.style)


def print_line(console: rich.console.Console, line: str) -> None:
    """Print one line, however long, as it is."""
    console.print(visible(line), markup=False, highlight=False, soft_wrap=True)
