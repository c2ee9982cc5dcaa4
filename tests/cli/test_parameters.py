"""What parameters declare, of all commands: what TAB offers, what help says, and what is refused follows from it.

Commands end where they are called: what is looked at is what they are called with.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.shell_completion import ShellComplete
from tiers import spread

from guideplug.cli.main import main
from guideplug.cli.parameters import Expression, Option, Pair, times_of
from guideplug.registry.registry import KINDS

TOY = Path(__file__).with_name("toy.py")

Declared = tuple[tuple[str, ...], click.Command, click.Parameter]


def commands(group: click.Group = main, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command with the words that call it."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


PARAMETERS: list[Declared] = [(path, command, one) for path, command in commands() for one in command.params]
OPTIONS = [(path, command, one) for path, command, one in PARAMETERS if isinstance(one, click.Option)]
DECLARED = [(path, command, one) for path, command, one in PARAMETERS if isinstance(one.type, Expression | Pair)]
EXPRESSIONS = [(path, command, one) for path, command, one in DECLARED if isinstance(one.type, Expression)]
NONE = [(path, command, one) for path, command, one in EXPRESSIONS if one.type.none]
NEEDED = [
    (path, command, one)
    for path, command, one in DECLARED
    if (isinstance(one.type, Expression) and not one.type.none) or (isinstance(one.type, Pair) and one.type.kind)
]
SEVERAL = [(path, command, one) for path, command, one in OPTIONS if times_of(one) != "once"]
TOGETHER = [(path, command, one) for path, command, one in NONE if isinstance(one, Option) and one.times == "together"]


def each(declared: list[Declared]) -> pytest.MarkDecorator:
    ids = [f"{' '.join(path)} {max(one.opts, key=len)}" for path, _, one in declared]
    return pytest.mark.parametrize(("path", "command", "one"), declared, ids=ids)


def value(one: click.Parameter, text: str) -> str:
    return f"a-role={text}" if isinstance(one.type, Pair) else text


def line(path: tuple[str, ...], command: click.Command, one: click.Parameter, *texts: str) -> list[str]:
    """A command line that gives a parameter each of some values, and other arguments where they are required."""
    words = list(path)
    for other in command.params:
        if isinstance(other, click.Argument):
            words += texts if other is one else ["x"] if other.required else []
    if isinstance(one, click.Option):
        words += [word for text in texts for word in (one.opts[0], text)]
    return words


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What commands are called with, in place of what they do."""
    calls: list[dict[str, Any]] = []
    for _, command in commands():
        monkeypatch.setattr(command, "callback", lambda **values: calls.append(values))
    return calls


def offered(monkeypatch: pytest.MonkeyPatch, words: list[str], incomplete: str) -> list[str]:
    kinds = {strategy.kind for strategy in KINDS.values()}
    monkeypatch.setattr("guideplug.cli.completion.known", lambda: {"a": {kind: [f"of-{kind}"] for kind in kinds}})
    items = ShellComplete(main, {}, "guideplug", "_GUIDEPLUG_COMPLETE").get_completions(words, incomplete)
    return [item.value for item in items]


def before(path: tuple[str, ...], command: click.Command, one: click.Parameter) -> list[str]:
    """The words before the value of a parameter."""
    words = line(path, command, one, "VALUE")
    return words[: words.index("VALUE")]


def test_there_are_parameters_of_each_kind() -> None:
    assert len(EXPRESSIONS) > 25
    assert len(NONE) > 6
    assert len(NEEDED) > 20
    assert len(SEVERAL) > 15
    assert len(TOGETHER) > 3


@each(EXPRESSIONS)
def test_a_kind_is_one_that_there_is(path, command, one) -> None:
    assert one.type.kind in {strategy.kind for strategy in KINDS.values()} | {"network", "plugin"}


@each(OPTIONS)
def test_what_may_be_repeated_and_what_is_an_expression_is_declared(path, command, one) -> None:
    assert one.multiple == (times_of(one) != "once"), "declare it with guideplug.cli.parameters.Option"
    assert (one.metavar == "EXPR") == isinstance(one.type, Expression)
    assert ("=" in (one.metavar or "")) == isinstance(one.type, Pair)


@each(EXPRESSIONS)
def test_tab_offers_the_kind_and_none_where_it_may_be_given(path, command, one, monkeypatch) -> None:
    names = offered(monkeypatch, before(path, command, one), "")
    of = {"network": "of-recipe", "plugin": "a"}.get(one.type.kind, f"of-{one.type.kind}")
    assert of in names
    assert ("none" in names) == bool(one.type.none)
    assert offered(monkeypatch, before(path, command, one), "no") == (["none"] if one.type.none else []) or (
        one.type.kind == "network"  # a file
    )


@each([(path, command, one) for path, command, one in DECLARED if isinstance(one.type, Pair)])
def test_tab_offers_roles_where_keys_are_roles(path, command, one, monkeypatch) -> None:
    words = before(path, command, one)
    assert ("weak=" in offered(monkeypatch, words, "")) == bool(one.type.kind)
    assert ("weak=of-recipe" in offered(monkeypatch, words, "weak=")) == bool(one.type.kind)
    assert "weak=none" not in offered(monkeypatch, words, "weak=")


@each(NONE)
@pytest.mark.parametrize("text", ["none", " None "])
def test_none_where_it_may_be_given(cli, called, path, command, one, text) -> None:
    cli(*line(path, command, one, text))
    (values,) = called
    assert values[one.name] == {"once": "none", "arms": ("none",), "together": ()}[one.times]


@pytest.mark.slow
@each([(path, command, one) for path, command, one in NONE if path[0] in ("run", "compare")])
def test_a_command_carries_on_with_none(cli, path, command, one) -> None:
    small = ("--plugin", TOY, "--task", "toy", "--device", "cpu", "--dry-run")
    said = cli(*path, *small, one.opts[0], "NONE").stdout
    if one.type.kind == "observer":
        assert "observers" not in said
    else:
        assert re.search(rf'^{one.name} = [^=]*"none"', said, re.MULTILINE)


@each(NEEDED)
@pytest.mark.parametrize("text", ["none", "NONE"])
def test_none_where_one_is_needed(cli, called, path, command, one, text) -> None:
    said = cli.error(*line(path, command, one, value(one, text)))
    name = one.opts[0] if isinstance(one, click.Option) else one.name.upper()
    article = "an" if one.type.kind == "executor" else "a"
    assert said.startswith(f"error: {name} {value(one, text)}: {article} {one.type.kind} is needed: ")
    assert "give a file" in said or "name one that guideplug plugins list shows" in said
    assert (f"or leave {name} out" in said) != one.required
    assert called == []


@each(TOGETHER)
def test_none_beside_others_and_nothing(cli, called, path, command, one) -> None:
    for texts in (("none", "x"), ("x", "none")):
        said = cli.error(*line(path, command, one, *texts))
        assert f"{one.opts[0]} none is given beside 'x': it stands for {one.type.none}; give one or the other" in said
    assert called == []
    cli(*line(path, command, one))
    assert called[0][one.name] is None


@each(SEVERAL)
def test_several_are_taken(cli, called, path, command, one) -> None:
    texts = ("a=1", "b=2") if isinstance(one.type, Pair) else ("a", "b")
    cli(*line(path, command, one, *texts))
    (values,) = called
    assert values[one.name] == ((("a", "1"), ("b", "2")) if isinstance(one.type, Pair) else texts)


@pytest.mark.parametrize(("path", "command", "one"), spread(OPTIONS, fast=4, slow=2), ids=lambda part: str(part)[:40])
def test_help_says_what_is_declared(cli, path, command, one) -> None:
    words = " ".join((one.help or "").split())
    assert ("Repeatable" in words) == (times_of(one) != "once")
    none = one.type.none if isinstance(one.type, Expression) else ""
    assert (f"none for {none}" in words) == bool(none)
    printed = " ".join(cli(*path, "--help").stdout.split())
    assert words in printed
