"""Whether a value is of an option's declared type: the same from Python as on the command line.

A whole number stands for a number, a list for a tuple, a path for a text; nothing else stands for anything. Types that
no command line can hold, such as functions, protocols and tables of fixed keys, are not checked.
"""

import numbers
import os
import types
from collections.abc import Mapping
from typing import Any, Literal, NewType, Union, get_args, get_origin, is_typeddict

import attrs

__all__ = ["check_type", "described", "fits"]

WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", type(None): "none"}


def check_type(instance: Any, attribute: "attrs.Attribute[Any]", value: object) -> None:
    """Refuse a value of another type than the option's.

    Raises:
        TypeError: the option, the value, and what is expected.
    """
    cls = type(instance)
    try:
        attrs.resolve_types(cls, include_extras=True)
    except NameError:  # a type that is imported for type checkers alone
        return
    expected = getattr(attrs.fields(cls), attribute.name).type
    if not fits(value, expected):
        raise TypeError(f"{attribute.alias} is {value!r}: expected {described(expected)}{_hint(value, expected)}")


def fits(value: object, expected: Any) -> bool:
    """Whether a value is of a type."""
    origin, members = get_origin(expected), get_args(expected)
    if origin in (Union, types.UnionType):
        return any(fits(value, member) for member in members)
    if origin is Literal:
        return any(value == member and type(value) is type(member) for member in members)
    if origin is tuple:
        return _fits_tuple(value, members)
    if origin is not None and isinstance(origin, type) and issubclass(origin, Mapping):
        return isinstance(value, Mapping) and (not members or all(fits(item, members[1]) for item in value.values()))
    if isinstance(expected, NewType):
        return fits(value, expected.__supertype__)
    if expected is bool:
        return isinstance(value, bool)
    if expected is int:
        return isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if expected is float:
        return isinstance(value, numbers.Real) and not isinstance(value, bool)
    if expected is str:
        return isinstance(value, str | os.PathLike)
    if expected is type(None):
        return value is None
    return isinstance(value, expected) if _can_check(expected) else True


def _can_check(expected: Any) -> bool:
    """Whether a type is a class that instances can be asked of."""
    if expected is Any or get_origin(expected) is not None or is_typeddict(expected):
        return False
    return isinstance(expected, type) and not getattr(expected, "_is_protocol", False)


def described(expected: Any) -> str:
    """A type in words."""
    origin, members = get_origin(expected), get_args(expected)
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(described(member) for member in members))
    if origin is Literal:
        return f"one of {', '.join(map(repr, members))}"
    if origin is tuple:
        return f"a tuple, each {described(members[0])}" if members[1:] == (Ellipsis,) else f"{len(members)} values"
    if isinstance(expected, NewType):
        return "an expression as a text"
    if origin is not None:
        return "a table of names and values"
    if (kind := getattr(expected, "kind", "")) and isinstance(kind, str):
        return f"a {kind} ({expected.__name__})"
    return WORDS.get(expected, f"a {getattr(expected, '__name__', expected)}")


def _fits_tuple(value: object, members: tuple[Any, ...]) -> bool:
    if not isinstance(value, tuple | list):
        return False
    if members[1:] == (Ellipsis,):
        return all(fits(item, members[0]) for item in value)
    return len(value) == len(members) and all(map(fits, value, members))


def _hint(value: object, expected: Any) -> str:
    """What to write instead, for a text that is none."""
    if not isinstance(value, str):
        return ""
    candidates = get_args(expected) if get_origin(expected) in (Union, types.UnionType) else (expected,)
    if float in candidates or int in candidates:
        with_number = _number(value)
        if with_number:
            return f"; write {with_number} without quotes"
    if any(getattr(candidate, "kind", "") for candidate in candidates):
        return "; give an instance, not its name"
    return ""


def _number(text: str) -> str:
    try:
        float(text)
    except ValueError:
        return ""
    return text.strip()
