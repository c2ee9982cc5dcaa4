"""What commands print cannot steer a terminal; nothing is printed by another way."""

import ast
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from guideplug.cli.echo import echo, echo_lines

CORE = Path(__file__).parents[2] / "guideplug"
HOSTILE = ["\x1b[2J", "a\nerror: forged", "a\rb", "\x9b2J", "a\u2028b", "\u202egnp", "a\u200bb", "a\udcffb", "a\tb"]
PRINTERS = {
    "click.echo": {"cli/echo.py"},
    "click.secho": set(),
    "print": set(),
    "rich.console.Console": {"run/console.py"},
    "sys.stdout.write": set(),
    "sys.stderr.write": {
        "cli/evaluate_images.py",
        "files/trust.py",
        "observe.py",
        "registry/registry.py",
        "run/experiment.py",
    },
}
"""Ways of printing, and the files that have one of their own, each with `visible` or for texts of ours."""


def printed(text: str) -> str:
    @click.command()
    def command() -> None:
        echo(text)
        echo_lines(f"{text}\n{text}")

    done = CliRunner().invoke(command)
    assert done.exception is None
    return done.output


@pytest.mark.parametrize("text", HOSTILE)
def test_a_name_is_printed_on_its_line(text: str) -> None:
    output = printed(text)
    assert all(c.isprintable() or c == "\n" for c in output)
    assert len(output.splitlines()) == 3 + 2 * text.count("\n")


def test_what_can_be_printed_stays() -> None:
    assert printed("ä – 日本 %") == "ä – 日本 %\n" * 3


def test_nothing_is_printed_by_another_way() -> None:
    ways: dict[str, set[str]] = {name: set() for name in PRINTERS}
    for path in sorted(CORE.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        name = path.relative_to(CORE).as_posix()
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and (called := ast.unparse(node.func)) in ways:
                ways[called].add(name)
            if isinstance(node, ast.ImportFrom) and node.module == "rich.console":
                makes = any(
                    isinstance(other, ast.Call) and ast.unparse(other.func) == "Console" for other in ast.walk(tree)
                )
                if makes and any(alias.name == "Console" for alias in node.names):
                    ways["rich.console.Console"].add(name)
            if isinstance(node, ast.Import) and any(alias.name == "rich.console" for alias in node.names):
                ways["rich.console.Console"].add(name)
    assert ways == PRINTERS
