"""Every command with likely confusions: one line that names the way that works, and that way does work."""

import itertools
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from tiers import few, spread

from guideplug.cli.command import Command
from guideplug.cli.main import main
from guideplug.cli.parameters import Expression
from guideplug.errors import UsageError

NAMES = {
    "guider": "autoguidance", "selector": "early-jest", "task": "digits", "sampler": "heun", "denoiser": "tree-mlp",
}  # fmt: skip
OPTIONS = {"guider": "weight", "sampler": "num_steps", "denoiser": "hidden"}
TAKES_FILES = {"config", "folder", "folders", "samples"}

Place = tuple[tuple[str, ...], click.Command]


def commands(group: click.Group = main, path: tuple[str, ...] = ()) -> Iterator[Place]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


EVERY = list(commands())


def kinds(command: click.Command) -> dict[str, str]:
    """The option of a command for each kind of strategy."""
    options = [one for one in command.params if isinstance(one, click.Option) and isinstance(one.type, Expression)]
    return {one.type.kind: one.opts[0] for one in reversed(options)}  # type: ignore[union-attr]


def takes_a_file(command: click.Command) -> bool:
    return any(one.name in TAKES_FILES for one in command.params)


def takes(path: tuple[str, ...], words: list[str]) -> None:
    """A command parses words, without doing anything."""
    group: click.Command = main
    for name in path:
        group = group.commands[name]  # type: ignore[attr-defined]
    assert isinstance(group, Command)
    with click.Context(main, info_name="guideplug") as root:
        context = click.Context(group, parent=root, info_name=path[-1])
        group.parse_args(context, [*words])


def refused(cli: Any, *words: str) -> str:
    line = str(cli.error(*words))
    assert len(line) < 400
    return line


def advised(line: str) -> list[str]:
    """What to write, as words of a command line."""
    return shlex.split(line.rpartition("write ")[2])


STRATEGIES = [(path, command, kind) for path, command in EVERY if takes_a_file(command) for kind in NAMES]


@pytest.mark.parametrize(("path", "command", "kind"), STRATEGIES, ids=lambda part: str(part)[:40])
def test_a_strategy_where_a_file_is_expected(
    cli: Any, path: tuple[str, ...], command: click.Command, kind: str
) -> None:
    name = NAMES[kind]
    line = refused(cli, *path, name)
    assert f"{name} is a {kind}" in line
    if option := kinds(command).get(kind):
        assert advised(line) == [option, name]
        needed = ["file"] if any(one.required for one in command.params) else []
        takes(path, [*needed, *advised(line)])
    else:
        assert line.endswith(f"see guideplug plugins show {name}")
        cli("plugins", "show", name)


OF_STRATEGIES = [(path, command, kind) for path, command in EVERY for kind in OPTIONS if kind in kinds(command)]


@pytest.mark.parametrize(("path", "command", "kind"), OF_STRATEGIES, ids=lambda part: str(part)[:40])
def test_an_option_of_a_strategy(cli: Any, path: tuple[str, ...], command: click.Command, kind: str) -> None:
    option, name, key = kinds(command)[kind], NAMES[kind], OPTIONS[kind]
    needed = ["cfg"] if path == ("explain",) else ["file"] if any(one.required for one in command.params) else []
    for wrong in (f"--{key}", f"--{key.replace('_', '-')}"):
        line = refused(cli, *path, *needed, option, name, wrong, "3")
        words = shlex.split(line.rpartition("their expression, ")[2])
        assert words == [option, f"{name}({key}=3)"]
        takes(path, [*needed, *words])


def test_it_is_put_beside_the_options_that_are_there(cli: Any) -> None:
    line = refused(cli, "run", "--guider", "autoguidance(model=weak)", "--weight=3")
    assert line.endswith("--guider 'autoguidance(model=weak, weight=3)'")
    line = refused(cli, "run", "--guider", "autoguidance", "--set", "weight=3")
    assert line.endswith(
        "write --set guider.weight=3 beside --guider autoguidance, or --guider 'autoguidance(weight=3)'"
    )
    cli("run", "--guider", "autoguidance", "--set", "guider.weight=3", "--task", "gaussian", "--dry-run")


SPLIT = ["autoguidance(weight=3, model=weak)", "blend([cfg, sims])", "zip(1, 2)", 'python("a b.py:build", "x")']


def test_a_value_that_is_wrong_is_named_and_not_the_task(cli: Any) -> None:
    assert "'train.lr=' is no KEY=VALUE" in cli.error("run", "--task", "gaussian", "--set", "train.lr=")


PATHS = [path for path, _ in EVERY if path != ("completion",)]


@pytest.mark.parametrize(("path", "text"), spread(itertools.product(PATHS, SPLIT), fast=5, slow=2))
def test_an_expression_in_pieces(path: tuple[str, ...], text: str) -> None:
    for words in ([*text.split()], ["--guider", *text.split()], [f"--guider={text.split()[0]}", *text.split()[1:]]):
        with pytest.raises(UsageError, match="is one expression in") as error:
            takes(path, words)
        shown = advised(str(error.value))[-1].removeprefix("--guider=")
        assert shown == text
        with pytest.raises((UsageError, click.UsageError, SystemExit)) as other:
            takes(path, [*shlex.split(shlex.quote(shown)), "--no-such-option"])
        assert "pieces" not in str(other.value)


def options_of(command: click.Command) -> set[str]:
    return {option for one in command.params if isinstance(one, click.Option) for option in one.opts}


SINGLE = [(path, command) for path, command in EVERY if len(path) == 1]


@pytest.mark.parametrize(("path", "command"), few(SINGLE, SINGLE[0]), ids=lambda part: str(part)[:40])
def test_an_option_of_a_sibling_command_or_with_underscores(path: tuple[str, ...], command: click.Command) -> None:
    """All options of all commands where they are not: whose they are, or how they are written here."""
    every = {option for _, command in EVERY for option in options_of(command) if option.startswith("--")}
    own = options_of(command)
    needed = ["x"] if any(one.required for one in command.params) else []
    for option in sorted(own):
        if "-" in option.removeprefix("--"):
            wrong = f"--{option.removeprefix('--').replace('-', '_')}"
            with pytest.raises(UsageError, match=f"no option {wrong}: write {option}"):
                takes(path, [*needed, wrong])
    for option in sorted(every - own - {"--help"}):
        with pytest.raises((UsageError, click.UsageError)) as error:
            takes(path, [*needed, option, "1"])
        message = str(error.value) or error.value.format_message()  # type: ignore[union-attr]
        assert option in message
        if any(option in options_of(other) for _, other in SINGLE):
            assert f"{option} is an option of guideplug " in message


CODE = [
    "C:\\x\\y.py:build",
    "./mine.py:build",
    "mine.py:build",
    'python("C:\\x\\y.py:build")',
    "python(C:\\x\\y.py:build)",
]


@pytest.mark.parametrize("text", CODE)
@pytest.mark.parametrize(
    "words", [("check",), ("run", "--model"), ("sample", "--task", "digits", "--model")], ids=" ".join
)
def test_code_of_ones_own_that_is_no_expression(cli: Any, words: tuple[str, ...], text: str) -> None:
    value = f"main={text}" if words[-1] == "--model" else text
    line = refused(cli, *words, value)
    (expression,) = advised(line)
    assert expression.startswith('python("')
    assert "\\" not in expression
    Path("mine.py").write_text("raise RuntimeError('it is read')\n")
    if "mine" in text:
        value = f"main={expression}" if words[-1] == "--model" else expression
        assert "it is read" in refused(cli, *words, value)


def test_a_plugin_that_is_not_named_and_a_strategy_of_another_kind(cli: Any) -> None:
    assert "--plugin FILE.py" in refused(cli, "run", "--task", "toy", "--dry-run")
    cli("run", "--task", "toy", "--dry-run", "--plugin", Path(__file__).with_name("toy.py"))
    assert "'tree' is a task, and a guider is needed" in cli.error("explain", "tree")


def test_an_option_by_what_it_means(cli: Any) -> None:
    assert "did you mean 'lr'?" in refused(cli, "run", "--set", "train.learning_rate=0.1", "--dry-run")
    cli("run", "--set", "train.lr=0.1", "--task", "gaussian", "--dry-run")
