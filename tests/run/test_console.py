"""A console whose texts cannot steer the terminal, and whose styles still can."""

import io

import pytest
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from guideplug.run.console import Console, print_line

HOSTILE = ["\x1b[2J", "a\rb", "\x9b2J", "\u202egnp", "a\u200bb", "a\udcffb"]


def harmless(output: str) -> bool:
    return all(c.isprintable() or c == "\n" for c in output)


@pytest.mark.parametrize("text", HOSTILE)
def test_texts_are_escaped_wherever_rich_puts_them(text: str) -> None:
    file = io.StringIO()
    console = Console(file=file, width=100)
    table = Table(text, title=text)
    table.add_row(text)
    console.print(table, Text(text), text)
    print_line(console, f"{text}\n{text}")
    assert harmless(file.getvalue())
    assert file.getvalue().count(text.encode("unicode_escape").decode()) >= 2  # of the others rich strips or cuts some


def test_styles_and_bars_still_steer_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=60)
    console.print(Text("good", style="bold"))
    with Progress(console=console) as progress:
        progress.add_task("\x1b[2J", total=1)
    output = file.getvalue()
    assert "\x1b[1mgood\x1b[0m" in output
    assert "\x1b[2J" not in output
    assert "\\x1" in output  # cut to the width of its column


def test_one_line_stays_one() -> None:
    file = io.StringIO()
    print_line(Console(file=file, width=10), "a\nerror: forged" * 5)
    assert file.getvalue().count("\n") == 1
