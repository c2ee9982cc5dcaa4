"""Texts within configurations: what a value, or an expression in it, holds as words and quoted strings."""

from collections.abc import Callable, Iterator
from typing import Any

from guideplug.config.grammar import parse
from guideplug.config.tree import Call, ListValue, Literal, Value, Word, format_value
from guideplug.errors import ExpressionError

__all__ = ["texts_changed", "texts_in"]


def texts_in(value: Any) -> Iterator[str]:
    """The texts of a value, a table or a list: each whole, and then those within it as an expression."""
    if isinstance(value, dict):
        for item in value.values():
            yield from texts_in(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from texts_in(item)
    elif isinstance(value, str):
        yield value
        for _, _, text in _inner(value):
            yield from texts_in(text)


def texts_changed(value: Any, change: Callable[[str], str | None]) -> Any:
    """The value with each text changed: one that is None afterwards stays, and is looked into as an expression."""
    if isinstance(value, dict):
        return {key: texts_changed(item, change) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [texts_changed(item, change) for item in value]
    if not isinstance(value, str):
        return value
    whole = change(value)
    if whole is not None:
        return whole
    for begin, end, text in reversed(list(_inner(value))):
        if (new := texts_changed(text, change)) != text:
            value = f"{value[:begin]}{format_value(new)}{value[end:]}"
    return value


def _inner(text: str) -> list[tuple[int, int, str]]:
    """The words and strings within an expression, with their places in it; none of a text that is one word."""
    try:
        tree = parse(text)
    except ExpressionError:
        return []
    return [] if isinstance(tree, Word) else list(_leaves(tree))


def _leaves(value: Value) -> Iterator[tuple[int, int, str]]:
    match value:
        case Word(text) | Literal(str(text)):
            yield (*value.span, text)
        case Call(_, args, kwargs):
            for inner in (*args, *(keyword.value for keyword in kwargs)):
                yield from _leaves(inner)
        case ListValue(items):
            for inner in items:
                yield from _leaves(inner)
