"""Options given twice: of every command every option that holds one value, and every pair with one key."""

from collections.abc import Iterator

import click
import pytest

from guideplug.cli.main import main
from guideplug.cli.parameters import Expression
from guideplug.config import expand_ranges


def commands(group: click.Group = main, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command with the words that call it."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


OPTIONS = [
    (path, command, option)
    for path, command in commands()
    for option in command.params
    if isinstance(option, click.Option)
]
SINGLE = [(p, c, o) for p, c, o in OPTIONS if not o.multiple and not o.is_flag and not o.hidden]
PAIRS = [(p, c, o) for p, c, o in OPTIONS if o.multiple and "=" in (o.metavar or "")]
TWO_WAYS = [(p, c, o) for p, c, o in OPTIONS if o.is_flag and o.secondary_opts]


def called(found: list[tuple[tuple[str, ...], click.Command, click.Option]]) -> list[str]:
    return [f"{' '.join(path)} {option.opts[0]}" for path, _, option in found]


def required(command: click.Command) -> list[str]:
    """Words for the arguments that a command cannot do without."""
    return ["x" for one in command.params if isinstance(one, click.Argument) and one.required]


def two_values(option: click.Option) -> tuple[str, str]:
    """Two values that the option's type takes."""
    kind = option.type
    if isinstance(kind, click.Choice):
        return str(kind.choices[0]), str(kind.choices[-1])
    return ("cfg", "tree") if isinstance(kind, click.types.StringParamType | Expression) else ("3", "4")


def test_every_kind_of_option_is_there() -> None:
    assert len(SINGLE) > 40
    assert {path[0] for path, _, _ in SINGLE} >= {"run", "compare", "study", "sample", "evaluate", "explain", "store"}
    assert len(PAIRS) > 4
    assert TWO_WAYS


@pytest.mark.parametrize(("path", "command", "option"), SINGLE, ids=called(SINGLE))
def test_an_option_that_holds_one_value(cli, path, command, option) -> None:
    first, second = two_values(option)
    for name in option.opts:
        said = cli.error(*path, *required(command), name, first, name, second)
        assert f"{max(option.opts, key=len)} is given twice, {first!r} and {second!r}: give one" in said
        assert "3 times" in cli.error(*path, *required(command), name, first, f"{name}={second}", name, first)
    assert cli.files() == set()


@pytest.mark.parametrize(("path", "command", "option"), PAIRS, ids=called(PAIRS))
def test_a_key_of_pairs(cli, path, command, option) -> None:
    words = [option.opts[0], "a.b-c=1", option.opts[0], "a.b_c=2"]
    assert f"{option.opts[0]} a.b_c is given twice, '1' and '2': give one" in cli.error(
        *path, *required(command), *words
    )


@pytest.mark.parametrize(("path", "command", "option"), TWO_WAYS, ids=called(TWO_WAYS))
def test_both_ways_of_a_flag(cli, path, command, option) -> None:
    both = option.opts[0], option.secondary_opts[0]
    assert "are both there: give one" in cli.error(*path, *required(command), *both)


def test_several_guiders_are_a_blend_or_arms(cli) -> None:
    said = cli.error("run", "--guider", "cfg(weight=2)", "--guider", "autoguidance")
    assert "--guider 'blend([cfg(weight=2), autoguidance])'" in said
    assert "arms of guideplug compare" in said
    expression = said.partition("--guider '")[2].partition("'")[0]
    assert expand_ranges(expression) == ["blend([cfg(weight=2), autoguidance])"]


def test_a_quote_within_a_blend_is_quoted_for_the_shell(cli) -> None:
    said = cli.error("run", "--guider", "classifier('m:f')", "--guider", "cfg")
    assert """--guider "blend([classifier('m:f'), cfg])\"""" in said


@pytest.mark.parametrize("guiders", [("none", "cfg"), ("cfg(", "cfg")])
def test_no_blend_is_proposed_that_could_not_be(cli, guiders) -> None:
    said = cli.error("run", "--guider", guiders[0], "--guider", guiders[1])
    assert "blend" not in said
    assert "guideplug compare" in said


def test_where_several_are_arms(cli) -> None:
    assert "arms of guideplug compare" in cli.error("run", "--selector", "jest", "--selector", "random")
    assert "compare" not in cli.error("run", "--sampler", "heun", "--sampler", "euler").partition("error")[2]


def test_what_may_be_repeated(cli) -> None:
    found = cli("compare", "--guider", "none", "--guider", "autoguidance", "--selector", "none", "--dry-run").output
    assert "autoguidance" in found


def test_the_command_line_beside_a_file(cli) -> None:
    (cli.cwd / "my.toml").write_text('guider = "autoguidance(weight=3)"\nsamples = 64\n')
    found = cli("run", "my.toml", "--guider", "autoguidance(weight=2)", "--dry-run").output
    assert "autoguidance(weight=2.0" in found
    assert "weight=3" not in found
