"""Ranges in expressions: ``autoguidance(weight=1:3:0.5)`` is five of them."""

import dataclasses
import itertools
from collections.abc import Iterator
from decimal import Context, Decimal, localcontext

from guideplug.config.grammar import parse
from guideplug.config.tree import Call, ListValue, Literal, Range, Value, format_value
from guideplug.errors import ConfigError

__all__ = ["expand_ranges"]

MOST = 1000


def expand_ranges(text: str) -> list[str]:
    """The expressions that one with ranges stands for, every combination of their numbers; ends are included.

    Raises:
        ExpressionError: it does not follow the grammar.
        ConfigError: a range has no number, or there are more than a thousand combinations.
    """
    value = parse(text)
    if not any(True for _ in _ranges(value)):
        return [text]
    count = 1
    for found in _ranges(value):
        count *= len(_numbers(found))
        if count > MOST:
            raise ConfigError(f"{text} stands for more than {MOST} expressions: give a larger step")
    return [format_value(spread) for spread in _spread(value)]


def _ranges(value: Value) -> Iterator[Range]:
    match value:
        case Range():
            yield value
        case Call(_, args, kwargs):
            for inner in (*args, *(keyword.value for keyword in kwargs)):
                yield from _ranges(inner)
        case ListValue(items):
            for inner in items:
                yield from _ranges(inner)


def _numbers(found: Range) -> list[float | int]:
    """The numbers of a range, in decimals as they are written: 0.1 three times is 0.3."""
    said = f"the range {found.start}:{found.stop}:{found.step}"
    whole = all(isinstance(part, int) for part in (found.start, found.stop, found.step))
    with localcontext(Context(prec=400)):  # an integer that fits into a float has up to 309 digits
        start, stop, step = (Decimal(repr(part)) for part in (found.start, found.stop, found.step))
        steps = (stop - start) / step if step else Decimal(-1)
        if steps < 0:
            raise ConfigError(f"{said} has no number: start:stop:step, as in 1:3:0.5")
        if steps >= MOST:
            count = f"{int(steps) + 1:,}" if steps < 1e15 else "far too many"
            raise ConfigError(f"{said} has {count} numbers: give a larger step")
        kind = int if whole else float
        numbers = [kind(start + number * step) for number in range(int(steps) + 1)]
    if len(set(numbers)) < len(numbers):
        raise ConfigError(f"{said} has numbers that differ by less than a float can tell: give a larger step")
    return numbers


def _spread(value: Value) -> Iterator[Value]:
    match value:
        case Range():
            yield from map(Literal, _numbers(value))
        case Call(_, args, kwargs):
            parts = [list(_spread(inner)) for inner in (*args, *(keyword.value for keyword in kwargs))]
            for chosen in itertools.product(*parts):
                named = zip(kwargs, chosen[len(args) :], strict=True)
                yield dataclasses.replace(
                    value,
                    args=tuple(chosen[: len(args)]),
                    kwargs=tuple(dataclasses.replace(keyword, value=inner) for keyword, inner in named),
                )
        case ListValue(items):
            for chosen in itertools.product(*(list(_spread(inner)) for inner in items)):
                yield dataclasses.replace(value, items=tuple(chosen))
        case _:
            yield value
