"""What a parameter takes: strategies of which kind, what "none" stands for if it may be given, once or several times.

A declaration is all that help, completion and refusals read of an option: nothing is concluded from its name.
"""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypeVar

import click
from click.core import ParameterSource
from click.shell_completion import CompletionItem

from guideplug.config import NONE, command_line, means_none, shell_quote
from guideplug.config.tree import field_name
from guideplug.errors import UsageError
from guideplug.files.project import project_plugins

__all__ = ["Expression", "Option", "Pair", "Times", "expression", "operand", "pairs", "plugin_files", "times_of"]

Times: TypeAlias = Literal["once", "arms", "together", "keys"]
"""How often an option is given: once; for each arm, of which "none" is one; several values that hold together, beside
which "none" is refused; or ``KEY=VALUE``, once for each key."""

NEEDED = {"network": "give a file or a recipe's expression"}
"""What to do where one of a kind is needed and "none" is given; of other kinds, to name one."""

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


class Expression(click.ParamType):  # type: ignore[type-arg]
    """An expression that names something of a kind.

    Args:
        kind: of strategies; or "network", a recipe's expression or a file, or "plugin", a plugin or anything of one.
        none: what the word "none" stands for; empty where it is refused.
    """

    name = "expression"

    def __init__(self, kind: str, none: str = "") -> None:
        self.kind, self.none = kind, none

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The text as it is; "none" in its canonical spelling.

        Raises:
            UsageError: it is "none", and one is needed.
        """
        if self.kind == "network":
            _check_code(str(value), param)
        if not means_none(value):
            return str(value)
        if not self.none:
            raise UsageError(_needed(self.kind, str(value).strip(), param))
        return NONE

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Names of the kind, and "none" where it may be given."""
        from guideplug.cli.completion import expressions

        return expressions(self.kind, (NONE,) if self.none else (), incomplete)


class Pair(click.ParamType):  # type: ignore[type-arg]
    """``KEY=VALUE``, as a key and a text.

    Args:
        kind: "network" where the key is a role and the value its network; empty where it is any option's.
    """

    name = "pair"

    def __init__(self, kind: str = "") -> None:
        self.kind = kind

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        """The key and the value.

        Raises:
            click.BadParameter: there is no "=", or nothing on a side of it.
            UsageError: the value is "none", and a network is needed.
        """
        key, separator, text = (part.strip() for part in value.partition("="))
        if not separator or not key or not text:
            shape = "KEY=VALUE" if param is None else param.metavar
            self.fail(f"{value!r} is no {shape}: write it with '=' and no spaces around", param, ctx)
        if self.kind:
            _check_code(text, param)
        if self.kind and means_none(text):
            raise UsageError(_needed(self.kind, f"{key}={text}", param))
        return key, text

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Roles and networks, where the pairs are of these."""
        from guideplug.cli.completion import role_networks

        return role_networks(incomplete) if self.kind else []


class Option(click.Option):
    """An option whose help says how often it may be given, and what "none" stands for.

    Its value is a text if it is given once. Otherwise it is a tuple; of expressions that hold together it is None where
    the option is not given, and empty where it is "none".
    """

    def __init__(self, names: Sequence[str], *, times: Times, help: str, **others: Any) -> None:
        self.times = times
        super().__init__(names, multiple=times != "once", **others)
        self.help = self._help(help)

    @property
    def none(self) -> str:
        """What "none" stands for; empty where it is refused."""
        return self.type.none if isinstance(self.type, Expression) else ""

    def _help(self, help: str) -> str:
        none = f"none for {self.none}" if self.none else ""
        if self.times == "once":
            return f"{help.removesuffix('.')}; {none}." if none else help
        return f"{help} Repeatable{f'; {none}' if none else ''}."

    def process_value(self, ctx: click.Context, value: Any) -> Any:
        """The value of what is typed.

        Raises:
            UsageError: "none" beside others that would hold with it, or a key given twice.
        """
        values = super().process_value(ctx, value)
        if self.times == "keys":
            self._check_keys(values)
        if self.times != "together" or not self.none:
            return values
        if ctx.get_parameter_source(str(self.name)) is ParameterSource.DEFAULT:
            return None
        others = [text for text in values if text != NONE]
        if NONE in values and others:
            raise UsageError(
                f"{self.opts[0]} {NONE} is given beside {others[0]!r}: it stands for {self.none}; give one or the other"
            )
        return tuple(others)

    def _check_keys(self, values: Sequence[tuple[str, str]]) -> None:
        before: dict[str, str] = {}
        for key, text in values:
            same = field_name(key)
            if same in before:
                raise UsageError(f"{self.opts[0]} {key} is given twice, {before[same]!r} and {text!r}: give one")
            before[same] = text


def expression(
    *names: str, kind: str, help: str, none: str = "", times: Times = "once"
) -> Callable[[Decorated], Decorated]:
    """An option that takes expressions of a kind."""
    return click.option(
        *names, cls=Option, type=Expression(kind, none), times=times, metavar="EXPR", help=help
    )  # fmt: skip


def pairs(*names: str, metavar: str, help: str, kind: str = "") -> Callable[[Decorated], Decorated]:
    """An option that takes pairs, each key once."""
    return click.option(*names, cls=Option, type=Pair(kind), times="keys", metavar=metavar, help=help)


class PluginFiles(Option):
    """An option that takes any number of plugin files, and has those of the project before them."""

    def process_value(self, ctx: click.Context, value: Any) -> Any:
        """The files; one of the project gives way to one of its name."""
        files = super().process_value(ctx, value)
        if ctx.resilient_parsing:  # a shell completes the line
            return files
        names = {Path(file).name for file in files}
        return (*(file for file in project_plugins() if Path(file).name not in names), *files)


def plugin_files(*names: str, metavar: str, help: str) -> Callable[[Decorated], Decorated]:
    """An option that takes any number of plugin files."""
    return click.option(*names, cls=PluginFiles, type=str, times="together", metavar=metavar, help=help)


def operand(name: str, *, kind: str, metavar: str, required: bool = True) -> Callable[[Decorated], Decorated]:
    """An argument that is an expression of a kind."""
    return click.argument(name, type=Expression(kind), metavar=metavar, required=required)


def times_of(parameter: click.Option) -> Times:
    """How often an option is given; one that declares nothing, once."""
    return parameter.times if isinstance(parameter, Option) else "once"


CODE = re.compile(r"""(?P<call>python\()?(?P<path>[^()"']+\.py):(?P<name>\w+)\)?""")
"""A function of a file that is not written as an expression."""


def _check_code(text: str, param: click.Parameter | None) -> None:
    """Refuse a file's function that is no expression, or whose path has backslashes.

    Raises:
        UsageError: the expression that names it.
    """
    match = CODE.fullmatch(text.replace('"', "").replace("'", "").strip())
    if match is None or (match["call"] and "\\" not in text):
        return
    path = match["path"].replace("\\", "/")
    where = "" if param is None else f"{max(param.opts, key=len)} "
    shown = shell_quote(f'python("{path}:{match["name"]}")')
    raise UsageError(f"{where}{text}: code of your own is an expression, with / in its path: write {shown}")


def _needed(kind: str, text: str, param: click.Parameter | None) -> str:
    """Where "none" is given, of what kind one is needed there, and what to do."""
    if param is None:
        where, left_out = text, ""
    else:
        where = max(param.opts, key=len) if isinstance(param, click.Option) else str(param.name).upper()
        left_out = "" if param.required else f", or leave {where} out"
        where = f"{where} {text}"
    article = "an" if kind[0] in "aeiou" else "a"
    advice = NEEDED.get(kind, f"name one that {command_line('plugins', 'list')} shows")
    return f"{where}: {article} {kind} is needed: {advice}{left_out}"
