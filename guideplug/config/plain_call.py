"""A call with plain values: what an option of type `Expression` holds that names no strategy."""

from typing import NamedTuple

from guideplug.config.grammar import parse
from guideplug.config.tree import Call, Literal, Word, format_value
from guideplug.errors import ConfigError

__all__ = ["PlainCall", "plain_call"]


class PlainCall(NamedTuple):
    """A name with values by place and by name: texts, numbers, booleans and None."""

    name: str
    args: tuple[object, ...]
    options: dict[str, object]


def plain_call(expression: str) -> PlainCall:
    """The name and the values of an expression; bare words are texts.

    Raises:
        ExpressionError: it does not follow the grammar.
        ConfigError: it is no call, or a value is a list or a call itself.
    """
    call = parse(expression)
    if not isinstance(call, Call):
        raise ConfigError(f"{expression} is no call: write NAME(VALUE, OPTION=VALUE)")
    options = {keyword.name: _plain(keyword.value, expression) for keyword in call.kwargs}
    return PlainCall(call.name, tuple(_plain(value, expression) for value in call.args), options)


def _plain(value: object, expression: str) -> object:
    if isinstance(value, Word):
        return value.text
    if isinstance(value, Literal):
        return value.value
    raise ConfigError(f"{expression}: {format_value(value)} is neither a text nor a number")  # type: ignore[arg-type]
