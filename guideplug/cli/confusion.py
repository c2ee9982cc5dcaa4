"""Command lines that mean something else than they say: the next mistake, answered with the line that works.

guideplug run autoguidance                   a strategy where a file or a folder is expected
guideplug run --weight 3                     an option of a strategy, of another command, or a configuration's key
guideplug run --guider autoguidance(low=1, weight=3)     one expression in several pieces
"""

import contextlib
import difflib
import os
from collections.abc import Iterator, Sequence
from typing import Any

import attrs
import click

from guideplug.cli.parameters import Expression
from guideplug.config import command_line, shell_quote
from guideplug.config.tree import field_name
from guideplug.errors import UsageError
from guideplug.registry.names import known

__all__ = ["check_operands", "check_pieces", "check_sets", "explained"]

OPENING, CLOSING = "([", ")]"
FILES = {"config", "folder", "folders", "samples"}
"""Arguments that are files or folders."""
KEYS = ("sample_batch", "sample_seed", "threads", "weights")
"""Keys of a configuration that are no options of a command."""


def check_pieces(words: Sequence[str]) -> None:
    """Refuse an expression that a shell has split at its spaces.

    Raises:
        UsageError: the pieces, and the expression in quotes.
    """
    for place, word in enumerate(words):
        depth = _depth(word)
        if depth <= 0:
            continue
        for end in range(place + 1, len(words)):
            depth += _depth(words[end])
            if depth == 0:
                option, separator, first = word.partition("=") if word.startswith("--") else ("", "", word)
                whole = " ".join([first, *words[place + 1 : end + 1]])
                shown = f"{option}{separator}{shell_quote(whole)}"
                raise UsageError(
                    f"{' '.join(words[place : end + 1])!r} is one expression in {end + 1 - place} pieces, for a shell "
                    f"splits at spaces: write {shown}"
                )


def _depth(word: str) -> int:
    """Brackets that a word opens, less those that it closes; those in quotes do not count."""
    depth, quote = 0, ""
    for sign in word:
        if quote:
            quote = "" if sign == quote else quote
        elif sign in "'\"":
            quote = sign
        else:
            depth += (sign in OPENING) - (sign in CLOSING)
    return depth


def check_operands(ctx: click.Context) -> None:
    """Refuse a strategy's name where a command takes a file or a folder, unless there is one of that name.

    Raises:
        UsageError: of which kind it is, and where it belongs.
    """
    for parameter in ctx.command.params:
        if parameter.name not in FILES:
            continue
        value = ctx.params.get(str(parameter.name))
        for word in value if isinstance(value, tuple) else (value,):
            if isinstance(word, str) and not os.path.lexists(word) and (advice := _as_strategy(ctx, word)):
                raise UsageError(advice)


def _as_strategy(ctx: click.Context, word: str) -> str:
    """What to write for a strategy that stands alone on a command line; empty if it is none."""
    name = field_name(word.partition("(")[0]).replace("_", "-")
    kinds = {kind for names_of in known().values() for kind, names in names_of.items() if name in names}
    if not kinds:
        return ""
    for option in _expressions(ctx.command):
        if option.type.kind in kinds:
            return f"{word} is a {option.type.kind}: write {option.opts[0]} {shell_quote(word)}"
    kind = min(kinds)
    shown = command_line("plugins", "show", name)
    return f"{word} is a {kind}, for which {ctx.command_path} has no option: see {shown}"


def _expressions(command: click.Command) -> list[Any]:
    return [one for one in command.params if isinstance(one, click.Option) and isinstance(one.type, Expression)]


def explained(ctx: click.Context, words: Sequence[str], error: click.UsageError) -> str:
    """A better message for click's error; empty where there is none."""
    if isinstance(error, click.NoSuchOption):
        return _of_option(ctx, words, error.option_name)
    if isinstance(error, click.BadParameter):  # it names the option, and what is wrong with its value
        return ""
    extra = [word for word in words if not word.startswith("-")]
    return next((advice for word in reversed(extra) if (advice := _as_strategy(ctx, word))), "")


def _of_option(ctx: click.Context, words: Sequence[str], name: str) -> str:
    """Whose option it is that a command does not have."""
    key = field_name(name.lstrip("-"))
    own = {option for parameter in ctx.command.params for option in parameter.opts}
    dashed = f"--{key.replace('_', '-')}"
    if dashed in own:
        return f"{ctx.command_path} has no option {name}: write {dashed}"
    value = _value(words, name)
    if key in KEYS and "--set" in own:
        place = f"report.{key}" if key == "weights" else key
        advice = f"it is a key of the configuration, --set {place}={value or 'VALUE'}"
        return f"{ctx.command_path} has no option {name}: {advice}"
    others = [other for other, options in _siblings(ctx) if name in options]
    if others:
        near = difflib.get_close_matches(name, own, n=1)
        here = f": write {near[0]}" if near else ""
        return f"{name} is an option of {' and '.join(others)}, not of {ctx.command_path}{here}"
    if holder := _holder(ctx.command, words, key):
        option, expression = holder
        shown = _with(expression, key, value or "VALUE")
        advice = f"options of strategies are given in their expression, {option} {shell_quote(shown)}"
        return f"{ctx.command_path} has no option {name}: {advice}"
    return ""


def check_sets(ctx: click.Context, words: Sequence[str]) -> None:
    """Refuse ``--set`` of a strategy's option without its place.

    Raises:
        UsageError: the key with its place.
    """
    for key, value in ctx.params.get("sets") or ():
        if "." in key or not any(option.type.kind == "guider" for option in _expressions(ctx.command)):
            continue
        from guideplug.run.resolve import KEYS as CONFIGURED

        if field_name(key) not in CONFIGURED and (holder := _holder(ctx.command, words, field_name(key))):
            option, expression = holder
            place, shown = option.removeprefix("--"), shell_quote(_with(expression, key, value))
            raise UsageError(
                f"--set {key}: no such key; it is an option of {expression.partition('(')[0]}: write --set "
                f"{place}.{key}={value} beside {option} {expression}, or {option} {shown}"
            )


def _siblings(ctx: click.Context) -> Iterator[tuple[str, set[str]]]:
    """The other commands with their options."""
    for name, command in getattr(ctx.find_root().command, "commands", {}).items():
        if command is not ctx.command:
            yield f"guideplug {name}", {option for parameter in command.params for option in parameter.opts}


def _value(words: Sequence[str], name: str) -> str:
    """What was given to an option."""
    for place, word in enumerate(words):
        if word.startswith(f"{name}="):
            return word.partition("=")[2]
        if word == name and place + 1 < len(words) and not words[place + 1].startswith("--"):
            return words[place + 1]
    return ""


def _holder(command: click.Command, words: Sequence[str], key: str) -> tuple[str, str] | None:
    """The option and the expression of a strategy that has an option: one that is given, else one that is installed."""
    from guideplug.registry.registry import Registry

    registry = Registry.installed()
    options = _expressions(command)
    for option in options:
        for given in (_value(words, opt) for opt in option.opts):
            if given and _has(registry, option.type.kind, given.partition("(")[0].strip(), key):
                return option.opts[0], given
    for option in options:
        for name in registry.names(option.type.kind):
            if _has(registry, option.type.kind, name, key):
                return option.opts[0], name
    return None


def _has(registry: Any, kind: str, name: str, key: str) -> bool:
    """Whether a strategy has an option, and needs no other."""
    with contextlib.suppress(UsageError):
        cls = registry.find(kind, name.replace("_", "-"))
        if isinstance(cls, type) and attrs.has(cls):
            needed = {one.name for one in attrs.fields(cls) if one.init and one.default is attrs.NOTHING}
            return any(one.name == key for one in attrs.fields(cls)) and needed <= {key}
    return False


def _with(expression: str, key: str, value: str) -> str:
    """An expression with one option more."""
    text = expression.strip()
    if not text.endswith(")"):
        return f"{text}({key}={value})"
    separator = "" if text[:-1].rstrip().endswith("(") else ", "
    return f"{text[:-1]}{separator}{key}={value})"
