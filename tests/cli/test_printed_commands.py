"""Every command that a command prints can be typed: it is run, as it stands in what is printed, with the same plugins.

What would train or remove is run as a dry run. Commands are taken from the one place where they are built.
"""

import ast
import itertools
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

import guideplug
from guideplug.cli.main import main
from guideplug.cli.scaffold import KINDS
from guideplug.cli.scaffold.scaffold import LIKE, plugin_texts
from guideplug.config import commands as builder
from guideplug.registry.registry import Registry

CORE = Path(guideplug.__file__).parent
SHORT = ("--duration", "2it", "--samples", "4")
PLAIN = (*SHORT, "--device", "cpu", "--set", "threads=1")


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The words of every command that is built during a test."""
    commands: list[list[str]] = []
    whole = builder._typed

    def recorded(words: list[str]) -> str:
        commands.append(words)
        line = whole(words)
        assert shlex.split(line) == ["guideplug", *words], line
        return line

    monkeypatch.setattr(builder, "_typed", recorded)
    return commands


def cheap(words: list[str]) -> list[str]:
    """A command that neither trains nor removes, but checks all that the whole one would."""
    if words[:1] == ["run"] or words[:2] == ["store", "prune"] or (words[:1] == ["study"] and len(words) > 1):
        return [*words, "--dry-run"]
    if words[:1] == ["sample"]:
        return [*words, "--samples", "4", "--sampler", "euler(num_steps=2)"]
    return words


def run_all(cli: Any, built: list[list[str]]) -> int:
    """Run each command that was built; how many."""
    seen = [list(words) for words, _ in itertools.groupby(sorted(built))]
    built.clear()
    for words in seen:
        cli(*cheap(words), code=0 if words[:2] != ["plugins", "check"] else None)
    return len(seen)


# What runs propose

AROUND = [
    (),
    ("--model", "weak=train(duration=1it, seed=3)"),
    ("--denoiser", "toy-net(width=4)", "--sampler", "heun(num_steps=3)"),
    ("--selector", "jest(num_chunks=2)"),
]
FOLDERS = ["one", "it's a folder", 'of "two" words', "a$b"]


@pytest.mark.parametrize(
    ("guider", "around", "folder"),
    [
        ("none", AROUND[2], FOLDERS[0]),
        ("autoguidance", AROUND[1], FOLDERS[1]),
        ("interval(autoguidance(weight=3), high=1)", AROUND[2], FOLDERS[2]),
        ("sims(count=4)", AROUND[3], FOLDERS[3]),
    ],
)
def test_what_a_run_proposes_can_be_typed(
    cli: Any, built: list[list[str]], guider: str, around: tuple[str, ...], folder: str
) -> None:
    cli.toy("--guider", guider, *SHORT, *around, "--out", folder)
    cli("report", folder)
    words = json.loads((Path(folder) / "words.json").read_text())
    commands = [*words["next"], words["repeat"]]
    assert len(commands) == 3
    assert all(shlex.split(command)[1:] in built for command in commands)
    plugin = Path(folder, "code/toy/toy.py").absolute() if guider == "none" else cli_plugin()
    assert f"--plugin {plugin}" in words["next"][1]
    if "--model" in around:
        assert "--model" in words["next"][1]
    assert run_all(cli, built) >= 3


def cli_plugin() -> str:
    return str(Path(__file__).with_name("toy.py"))


AROUND = [(), ("--model", "weak=train(duration=1it, seed=3)"), ("--sampler", "euler(num_steps=3)")]
TASKS = ["gaussian(count=32)", "mixture(count=32)"]


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(Registry.installed().names("guider"))))
def test_what_runs_of_every_guider_propose_can_be_typed(cli: Any, built: list[list[str]], number: int) -> None:
    """Tasks and further options by turns."""
    name = Registry.installed().names("guider")[number]
    options = ("--task", TASKS[number % 2], *PLAIN, *AROUND[number % 3])
    for guider in (name, f"{name}(autoguidance)", f"{name}([autoguidance])"):
        if cli("run", *options, "--guider", guider, "--out", f"its {guider}", code=None).exit_code == 0:
            assert len(json.loads(Path(f"its {guider}", "words.json").read_text())["next"]) == 2
            run_all(cli, built)
            return
    pytest.skip(f"{name} needs other options, or another task")


# What errors advise


def test_what_errors_about_folders_advise_can_be_typed(cli: Any, built: list[list[str]]) -> None:
    cli.toy(*SHORT, "--out", "it's done")
    built.clear()
    assert "guideplug sample" in cli.error("run", "--resume", "it's done")
    assert "guideplug run --resume" in cli.error("run", "--task", "gaussian", "--out", "it's done")
    built[:] = [words for words in built if words[0] != "run"]  # it has ended, as the line says
    assert run_all(cli, built) == 1
    unfinished = Path("it's not done")
    cli("compare", "--plugin", cli_plugin(), "--task", "toy", *PLAIN, "--out", unfinished)
    (unfinished / "compare.json").unlink()
    built.clear()
    assert "guideplug compare --resume" in cli.error("report", unfinished)
    assert run_all(cli, built) == 1


@pytest.mark.slow
def test_what_errors_about_names_advise_can_be_typed(cli: Any, built: list[list[str]]) -> None:
    cli.error("plugins", "show", "nothing-of-the-kind", "--plugin", cli_plugin())
    cli.error("run", "--guider", "nothing-of-the-kind")
    cli.error("run", "--task", "none")
    cli("plugins", "show", "early-jest")
    cli("study")
    cli("store", "list")
    assert run_all(cli, built) >= 5


def test_what_errors_about_the_store_advise_can_be_typed(cli: Any, built: list[list[str]]) -> None:
    cli.toy(*SHORT, "--out", "one")
    (record,) = cli.store.glob("*/entry.json")
    record.write_text("{")
    built.clear()
    cli("store", "verify", code=1)
    cli.toy(*SHORT, code=1)
    cli("store", "prune", "--all", "--yes")
    assert run_all(cli, built) >= 1
    assert record.is_file()


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=() if kind == "guider" else pytest.mark.proof) for kind in KINDS]
)
def test_what_a_new_plugin_proposes_can_be_typed(cli: Any, built: list[list[str]], kind: str) -> None:
    for like in (None, *LIKE.get(kind, ())):
        folder = f"a {kind} {like}"
        out = cli("new", "my-own", "--kind", kind, *(() if like is None else ("--like", like)), "--out", folder).stdout
        file = Path(folder) / "src" / "guideplug_my_own.py"
        words = shlex.split(out.splitlines()[-1])[1:]
        assert words[-2:] == ["--plugin", f"./{file}"]
        cli(*cheap(words))
        built.clear()
        readme = plugin_texts("my-own", kind, like)["README.md"]
        commands = [line.strip() for line in readme.splitlines() if line.startswith("    guideplug ")]
        commands += re.findall("`(guideplug plugins check [^`]*)`", readme)
        assert len(commands) >= 3
        for command in commands:
            cli(*cheap(shlex.split(command)[1:]), "--plugin", file, code=None if " check " in command else 0)


# Every place that prints one


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """The constants of a file that are no docstrings and no help: what it may print."""
    tree = ast.parse(path.read_text())
    quiet: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            quiet.add(id(node.value))
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in quiet:
            yield node.lineno, node.value


def sources() -> list[Path]:
    plugins = (CORE.parent / "plugins").glob("*/src/**/*.py")
    return [path for path in [*CORE.rglob("*.py"), *plugins] if path != CORE / "config" / "commands.py"]


def test_no_other_place_writes_a_command() -> None:
    names = "|".join(main.commands)
    written = re.compile(rf"guideplug (?:{names})\b(?! and | of |,|\.$)")
    prose = re.compile(r"ranges go side by side in guideplug compare|arms of guideplug compare")
    for path in sources():
        for line, text in texts(path):
            assert not written.search(text) or prose.search(text), f"{path}:{line} writes a command by itself: {text!r}"


def test_every_option_that_is_advised_is_one() -> None:
    def options(group: click.Command) -> Iterator[str]:
        yield from (name for param in group.params for name in (*param.opts, *param.secondary_opts))
        for command in getattr(group, "commands", {}).values():
            yield from options(command)

    known = {*options(main), "--help", "--version", "--config-settings"}
    for path in sources():
        for line, text in texts(path):
            for flag in re.findall(r"(?<![\w-])--[a-z][a-z-]+", text):
                assert flag in known or "{" in text, f"{path}:{line} advises {flag}, which no command has: {text!r}"
