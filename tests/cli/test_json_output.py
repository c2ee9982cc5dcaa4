"""``--json`` prints JSON and nothing else on standard output, whatever plugins print there."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from guideplug.cli.main import main

TOY = Path(__file__).with_name("toy.py")
LOUD = """
import os, sys
print("a plugin says hello")
out = sys.stdout
class Loud(PerSample):
    "Loud."
    name = "loud"
    better, aspect, formula = "lower", "fidelity", "loud"
    def applies(self, task):
        return task.name == "toy"
    def each(self, arm, context):
        print("measuring")
        out.write("by an older reference\\n")
        os.write(1, b"below python\\n")
        return arm.samples.mean(1)
Loud = final(frozen(Loud))
@hook
def guideplug_metrics():
    return [Loud]
"""


@pytest.fixture
def loud(tmp_path: Path) -> Path:
    path = tmp_path / "loud.py"
    path.write_text(TOY.read_text() + LOUD.replace('os.write(1, b"below python\\n")', "pass"))
    return path


COMMANDS: dict[str, tuple[str, ...]] = {
    "run": ("run", "--task", "toy", "--device", "cpu", "--out", "run"),
    "dry run": ("run", "--task", "toy", "--device", "cpu", "--dry-run"),
    "explain": ("explain", "autoguidance", "--task", "toy"),
    "study": ("study", "toy-widths", "--device", "cpu", "--out", "study"),
    "show": ("plugins", "show", "toy"),
    "list": ("plugins", "list"),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_the_result_alone_is_on_standard_output(cli: Any, loud: Path, name: str) -> None:
    done = cli(*COMMANDS[name], "--plugin", loud, "--json")
    json.loads(done.stdout)
    assert "a plugin says hello" in done.stderr


@pytest.mark.slow
def test_what_is_written_below_python_goes_to_standard_error(cli: Any, tmp_path: Path) -> None:
    path = tmp_path / "loud.py"
    path.write_text(TOY.read_text() + LOUD)
    command = [sys.executable, "-m", "guideplug", *COMMANDS["run"], "--plugin", str(path), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ}, timeout=120)
    json.loads(done.stdout)
    for text in ("hello", "measuring", "older reference", "below python"):
        assert text in done.stderr


CHEAP: dict[str, tuple[str, ...]] = {
    "run": ("--task", "toy", "--plugin", str(TOY)),
    "compare": ("--task", "toy", "--plugin", str(TOY), "--selector", "none", "--selector", "toy-half"),
    "study": ("toy-widths", "--plugin", str(TOY)),
}
"""Arguments of each command that has both --json and --dry-run."""


def leaves(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from leaves(inner, (*path, name))
    else:
        yield " ".join(path), command


def test_every_command_prints_one_document_of_its_dry_run_too(cli: Any) -> None:
    options = {name: {text for one in command.params for text in one.opts} for name, command in leaves(main)}
    assert {name for name, texts in options.items() if {"--json", "--dry-run"} <= texts} == CHEAP.keys()
    for name, arguments in CHEAP.items():
        found = json.loads(cli(name, *arguments, "--device", "cpu", "--dry-run", "--json").stdout)
        assert isinstance(found, dict)
        assert found, name
        assert cli.files() == set(), name
