"""Ranges in expressions: ``autoguidance(weight=1:3:0.5)`` stands for five expressions.

Each range is an axis of a grid, whose first axis varies slowest. ``zip(EXPR)``, around an expression or a part of one,
makes one axis of the ranges inside it, which vary together:

    blend([cfg(weight=1:3:1), autoguidance(weight=1:3:1)])         nine expressions
    zip(blend([cfg(weight=1:3:1), autoguidance(weight=1:3:1)]))    three, with equal weights
"""

import dataclasses
import itertools
import math
from collections.abc import Iterator
from decimal import Context, Decimal, localcontext
from typing import TypeAlias

from guideplug.config.grammar import parse, shell_quote
from guideplug.config.tree import PAIRED, Call, ListValue, Literal, Range, Value, Word, format_value
from guideplug.errors import ConfigError, ExpressionError, visible

__all__ = ["along_range", "expand_ranges", "has_range", "without_ranges"]

Axis: TypeAlias = list[tuple[str, Range]]
"""Ranges that vary together, in the order of the text, each with the name of its option or an empty text."""

MOST = 1000


def expand_ranges(text: str) -> list[str]:
    """The expressions of an expression with ranges: every combination of its axes, ends included.

    Raises:
        ExpressionError: the text does not follow the grammar.
        ConfigError: a range is empty, there are more than a thousand combinations, or a ``zip(...)`` has no range
            or ranges of different counts.
    """
    value = parse(text)
    axes = list(_axes(value, text))
    if not axes:
        return [text]
    numbers = [_side_by_side(axis, text) for axis in axes]
    if math.prod(map(len, numbers)) > MOST:
        raise ConfigError(f"{visible(text)} stands for more than {MOST} expressions: give a larger step")
    return [_at(value, place) for place in itertools.product(*numbers)]


def has_range(text: str) -> bool:
    """Whether an expression has a range or a ``zip(...)``; False for a text that does not follow the grammar."""
    try:
        return _varies(parse(text))
    except ExpressionError:
        return False


def _varies(value: Value) -> bool:
    match value:
        case Range():
            return True
        case Call(name, args, kwargs):
            return name == PAIRED or any(map(_varies, (*args, *(keyword.value for keyword in kwargs))))
        case ListValue(items):
            return any(map(_varies, items))
    return False


def along_range(text: str) -> list[tuple[str, float, str]]:
    """The option, the number and the expression at each place of an expression's one axis, ends included.

    Of ranges that vary together the first determines option and number: ``zip(blend([cfg(weight=1:3:0.5),
    autoguidance(weight=1:3:0.5)]))`` is five expressions.

    Raises:
        ExpressionError: the text does not follow the grammar.
        ConfigError: it has no range, or several that are axes of a grid; the first is a positional argument; a range is
            empty; or a ``zip(...)`` has no range or ranges of different counts.
    """
    value = parse(text)
    axes = list(_axes(value, text))
    if not axes:
        raise ConfigError(f"{visible(text)} has no range: write one, as in weight=1:3:0.5")
    if len(axes) > 1:
        raise ConfigError(f"{visible(text)} is a grid of {len(axes)} axes, and a curve has one; {_paired(axes, text)}")
    ((option, first), *_) = axes[0]
    if not option:
        example = f"as in weight={text[slice(*first.span)]}"
        raise ConfigError(f"{visible(text)} has a range without the name of its option: write it, {example}")
    numbers = _side_by_side(axes[0], text)
    return [(option, float(place[0]), _at(value, (place,))) for place in numbers]


def _paired(axes: list[Axis], text: str) -> str:
    """The text of a grid with its ranges zipped, for a message."""
    counts = [len(_side_by_side(axis, text)) for axis in axes]
    if len(set(counts)) == 1:
        return f"for ranges side by side write {shell_quote(visible(f'zip({text})'))}"
    several = " and ".join(map(str, counts))
    return f"keep one range, or give as many numbers of each ({several} now) and put zip(...) around them"


def without_ranges(text: str) -> str:
    """An expression without range options and ``zip(...)``, as the name of a curve.

    Raises:
        ExpressionError: the text does not follow the grammar.
    """
    return format_value(_plain(parse(text)))


def _plain(value: Value) -> Value:
    match value:
        case Call(name, (inner,), ()) if name == PAIRED:
            return _plain(inner)
        case Call(name, args, kwargs):
            placed = tuple(_plain(inner) for inner in args if not isinstance(_unpaired(inner), Range))
            kept = [one for one in kwargs if not isinstance(_unpaired(one.value), Range)]
            named = tuple(dataclasses.replace(one, value=_plain(one.value)) for one in kept)
            return dataclasses.replace(value, args=placed, kwargs=named) if placed or named else Word(name)
        case ListValue(items):
            return dataclasses.replace(value, items=tuple(map(_plain, items)))
    return value


def _unpaired(value: Value) -> Value:
    return _unpaired(value.args[0]) if isinstance(value, Call) and value.name == PAIRED and value.args else value


def _axes(value: Value, text: str, name: str = "") -> Iterator[Axis]:
    """The axes in the order of the text; ``name`` is the option of the value."""
    match value:
        case Range():
            yield [(name, value)]
        case Call(called, args, kwargs) if called == PAIRED:
            if len(args) != 1 or kwargs:
                raise ConfigError(f"{_piece(value, text)}: zip takes one expression, as in zip(cfg(weight=1:3:0.5))")
            together = [one for axis in _axes(args[0], text, name) for one in axis]
            if not together:
                raise ConfigError(
                    f"{_piece(value, text)} has no range: zip(...) makes the ranges in it go side by side"
                )
            yield together
        case Call(_, args, kwargs):
            for inner in args:
                yield from _axes(inner, text)
            for keyword in kwargs:
                yield from _axes(keyword.value, text, keyword.name)
        case ListValue(items):
            for inner in items:
                yield from _axes(inner, text)


def _side_by_side(axis: Axis, text: str) -> list[tuple[float | int, ...]]:
    """The numbers of an axis at each place, one per range."""
    numbers = [_numbers(one, text) for _, one in axis]
    if len({len(several) for several in numbers}) > 1:
        counts = " and ".join(str(len(several)) for several in numbers)
        raise ConfigError(
            f"{visible(text)} has ranges of {counts} numbers, which go side by side in zip(...): give as many of each"
        )
    return list(zip(*numbers, strict=True))


def _at(value: Value, place: tuple[tuple[float | int, ...], ...]) -> str:
    """The expression at a place of its grid, given by the numbers of each axis."""
    return format_value(_filled(value, itertools.chain(*place)))


def _filled(value: Value, numbers: Iterator[float | int]) -> Value:
    """The value without ``zip(...)``, its ranges replaced by numbers in the order of the text."""
    match value:
        case Range():
            return Literal(next(numbers))
        case Call(name, (inner,), ()) if name == PAIRED:
            return _filled(inner, numbers)
        case Call(_, args, kwargs):
            placed = tuple(_filled(inner, numbers) for inner in args)
            named = tuple(dataclasses.replace(one, value=_filled(one.value, numbers)) for one in kwargs)
            return dataclasses.replace(value, args=placed, kwargs=named)
        case ListValue(items):
            return dataclasses.replace(value, items=tuple(_filled(inner, numbers) for inner in items))
    return value


def _piece(value: Value, text: str) -> str:
    """A part of an expression as written."""
    return visible(text[slice(*value.span)])


def _numbers(spread: Range, text: str) -> list[float | int]:
    """The numbers of a range in decimal arithmetic: three times 0.1 is 0.3."""
    typed = text[slice(*spread.span)]
    message = f"the range {typed}"
    whole = all(isinstance(part, int) for part in (spread.start, spread.stop, spread.step))
    with localcontext(Context(prec=400)):  # an integer that fits into a float has up to 309 digits
        start, stop, step = (Decimal(repr(part)) for part in (spread.start, spread.stop, spread.step))
        if problem := _empty(typed, start, stop, step):
            raise ConfigError(f"{message} has no number: {problem}")
        steps = (stop - start) / step
        if steps >= MOST:
            count = f"{int(steps) + 1:,}" if steps < 1e15 else "far too many"
            raise ConfigError(f"{message} has {count} numbers: give a larger step")
        kind = int if whole else float
        numbers = [kind(start + number * step) for number in range(int(steps) + 1)]
    if len(set(numbers)) < len(numbers):
        raise ConfigError(f"{message} has numbers that differ by less than a float can tell: give a larger step")
    return numbers


def _empty(typed: str, start: Decimal, stop: Decimal, step: Decimal) -> str:
    """The reason why a range is empty, with advice; empty if it is not."""
    first, last, each = typed.split(":")
    if step == 0:
        return f"its step is 0; give one that leads from {first} to {last}, as in 1:3:0.5"
    if stop < start and step > 0:
        return f"its stop {last} is below its start {first}; write {last}:{first}:{each}, or a negative step"
    if stop > start and step < 0:
        return f"its step {each} is negative and leads away from {last}; write {first}:{last}:{each.lstrip('-')}"
    return ""
