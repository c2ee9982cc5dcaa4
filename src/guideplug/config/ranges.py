"""Ranges in expressions: ``autoguidance(weight=1:3:0.5)`` is five of them."""

import dataclasses
import itertools
import re
from collections.abc import Iterator
from decimal import Context, Decimal, localcontext

from guideplug.config.grammar import parse
from guideplug.config.tree import Call, ListValue, Literal, Range, Value, Word, format_value
from guideplug.errors import ConfigError, ExpressionError, visible

__all__ = ["along_range", "expand_ranges"]

MOST = 1000
_DECIMAL = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_MEANT = re.compile(r"""[=,(\[]\s*([^\s,()\[\]='":]*(?::[^\s,()\[\]='":]*)+)(?=\s*[,)\]]|\s*\Z)""")
"""Pieces with colons, where a value may stand."""


def expand_ranges(text: str) -> list[str]:
    """The expressions that one with ranges stands for, every combination of their numbers; ends are included.

    Raises:
        ExpressionError: it does not follow the grammar; a range that does not is told as what it was meant to be.
        ConfigError: a range has no number, or there are more than a thousand combinations.
    """
    try:
        value = parse(text)
    except ExpressionError as error:
        raise _misspelt(text) or error from None
    if misspelt := _misspelt(text) if any(True for _ in _words(value)) else None:
        raise misspelt
    if not any(True for _ in _ranges(value)):
        return [text]
    count = 1
    for found in _ranges(value):
        count *= len(_numbers(found, text))
        if count > MOST:
            raise ConfigError(f"{visible(text)} stands for more than {MOST} expressions: give a larger step")
    return [format_value(spread) for spread in _spread(value, text)]


def along_range(text: str) -> list[tuple[str, float, str]]:
    """An expression along its range: the option it is given to, its number, and the expression there; ends included.

    Several ranges in one expression go side by side, the first gives option and number: ``blend([cfg(weight=1:3:0.5),
    autoguidance(weight=1:3:0.5)])`` is five expressions.

    Raises:
        ExpressionError: it does not follow the grammar.
        ConfigError: it has no range, one is given without the name of its option, one has no number, or they have
            different counts of numbers.
    """
    value = parse(text)
    named = list(_named_ranges(value))
    if not named:
        raise ConfigError(f"{visible(text)} has no range: write one, as in weight=1:3:0.5")
    option, first = named[0]
    if not option:
        example = f"as in weight={text[slice(*first.span)]}"
        raise ConfigError(f"{visible(text)} has a range without the name of its option: write it, {example}")
    numbers = [_numbers(found, text) for _, found in named]
    if len({len(several) for several in numbers}) > 1:
        counts = " and ".join(str(len(several)) for several in numbers)
        raise ConfigError(
            f"{visible(text)} has ranges of {counts} numbers, which go side by side: give as many of each"
        )
    return [
        (option, float(chosen[0]), format_value(_filled(value, iter(chosen)))) for chosen in zip(*numbers, strict=True)
    ]


def _named_ranges(value: Value, name: str = "") -> Iterator[tuple[str, Range]]:
    """The ranges in the order of the text, each with the name that it is given by, if any."""
    match value:
        case Range():
            yield name, value
        case Call(_, args, kwargs):
            for inner in args:
                yield from _named_ranges(inner)
            for keyword in kwargs:
                yield from _named_ranges(keyword.value, keyword.name)
        case ListValue(items):
            for inner in items:
                yield from _named_ranges(inner)


def _filled(value: Value, numbers: Iterator[float | int]) -> Value:
    """The value with its ranges replaced, in the order of the text, by numbers."""
    match value:
        case Range():
            return Literal(next(numbers))
        case Call(_, args, kwargs):
            placed = tuple(_filled(inner, numbers) for inner in args)
            named = tuple(dataclasses.replace(one, value=_filled(one.value, numbers)) for one in kwargs)
            return dataclasses.replace(value, args=placed, kwargs=named)
        case ListValue(items):
            return dataclasses.replace(value, items=tuple(_filled(inner, numbers) for inner in items))
    return value


def _ranges(value: Value) -> Iterator[Range]:
    return (found for _, found in _named_ranges(value))


def _words(value: Value) -> Iterator[Word]:
    """Words with two colons, which are a path or a range whose first number is none."""
    match value:
        case Word(text) if text.count(":") == 2:
            yield value
        case Call(_, args, kwargs):
            for inner in (*args, *(keyword.value for keyword in kwargs)):
                yield from _words(inner)
        case ListValue(items):
            for inner in items:
                yield from _words(inner)


def _misspelt(text: str) -> ExpressionError | None:
    """What is wrong with something that was meant to be a range; None where nothing was."""
    for piece in _MEANT.findall(text):
        parts = piece.split(":")
        wrong = [part for part in parts if not _DECIMAL.fullmatch(part)]
        if len(wrong) == len(parts) or (len(parts) == 3 and not wrong):
            continue
        if len(parts) != 3:
            said = f"the range {piece} has {len(parts)} parts: give three"
        else:
            said = f"the range {piece} has {wrong[0]!r}, which is not a number: give three numbers"
        return ExpressionError(f"{said}, start:stop:step, as in 1:3:0.5")
    return None


def _numbers(found: Range, text: str) -> list[float | int]:
    """The numbers of a range, in decimals as they are written: 0.1 three times is 0.3."""
    typed = text[slice(*found.span)]
    said = f"the range {typed}"
    whole = all(isinstance(part, int) for part in (found.start, found.stop, found.step))
    with localcontext(Context(prec=400)):  # an integer that fits into a float has up to 309 digits
        start, stop, step = (Decimal(repr(part)) for part in (found.start, found.stop, found.step))
        if problem := _empty(typed, start, stop, step):
            raise ConfigError(f"{said} has no number: {problem}")
        steps = (stop - start) / step
        if steps >= MOST:
            count = f"{int(steps) + 1:,}" if steps < 1e15 else "far too many"
            raise ConfigError(f"{said} has {count} numbers: give a larger step")
        kind = int if whole else float
        numbers = [kind(start + number * step) for number in range(int(steps) + 1)]
    if len(set(numbers)) < len(numbers):
        raise ConfigError(f"{said} has numbers that differ by less than a float can tell: give a larger step")
    return numbers


def _empty(typed: str, start: Decimal, stop: Decimal, step: Decimal) -> str:
    """Why a range has no number, and what to write; nothing where it has one."""
    first, last, each = typed.split(":")
    if step == 0:
        return f"its step is 0; give one that leads from {first} to {last}, as in 1:3:0.5"
    if stop < start and step > 0:
        return f"its stop {last} is below its start {first}; write {last}:{first}:{each}, or a negative step"
    if stop > start and step < 0:
        return f"its step {each} is negative and leads away from {last}; write {first}:{last}:{each.lstrip('-')}"
    return ""


def _spread(value: Value, text: str) -> Iterator[Value]:
    match value:
        case Range():
            yield from map(Literal, _numbers(value, text))
        case Call(_, args, kwargs):
            parts = [list(_spread(inner, text)) for inner in (*args, *(keyword.value for keyword in kwargs))]
            for chosen in itertools.product(*parts):
                named = zip(kwargs, chosen[len(args) :], strict=True)
                yield dataclasses.replace(
                    value,
                    args=tuple(chosen[: len(args)]),
                    kwargs=tuple(dataclasses.replace(keyword, value=inner) for keyword, inner in named),
                )
        case ListValue(items):
            for chosen in itertools.product(*(list(_spread(inner, text)) for inner in items)):
                yield dataclasses.replace(value, items=tuple(chosen))
        case _:
            yield value
