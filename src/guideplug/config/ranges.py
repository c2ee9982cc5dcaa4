"""Ranges in expressions: ``autoguidance(weight=1:3:0.5)`` is five of them."""

import dataclasses
import itertools
from collections.abc import Iterator

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
    start, stop, step = found.start, found.stop, found.step
    if step == 0 or (stop - start) / step < 0:
        raise ConfigError(f"the range {start}:{stop}:{step} has no number: start:stop:step, as in 1:3:0.5")
    count = int((stop - start) / step + 1e-9) + 1
    if count > MOST:
        raise ConfigError(f"the range {start}:{stop}:{step} has {count:,} numbers: give a larger step")
    whole = all(isinstance(part, int) for part in (start, stop, step))
    return [start + number * step if whole else round(start + number * step, 10) for number in range(count)]


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
