"""Lists of numbers that stand for a strategy, such as a guidance weight for each sample.

A kind of strategy says by ``of_list`` what a list stands for where an option is of that kind, and a strategy by
``as_list`` that it is written as one.
"""

import contextlib
import types
from collections.abc import Mapping, Sequence
from typing import Any, Union, get_args, get_origin

import attrs

__all__ = ["listed_kind", "with_lists"]


def listed_kind(expected: Any) -> Any:
    """The kind of strategy that a list of numbers stands for in an option of a type; None where a list is none."""
    members = get_args(expected) if get_origin(expected) in (Union, types.UnionType) else (expected,)
    if any(get_origin(member) is tuple for member in members):
        return None
    return next((member for member in members if getattr(member, "of_list", None) is not None), None)


def with_lists(cls: type, values: Sequence[Any], options: Mapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The options of an instance, by place and by name, with strategies for the lists that stand for them."""
    if not attrs.has(cls) or not any(isinstance(value, list | tuple) for value in (*values, *options.values())):
        return tuple(values), dict(options)
    with contextlib.suppress(NameError):  # a type that is imported for type checkers alone
        attrs.resolve_types(cls, include_extras=True)
    fields = [one for one in attrs.fields(cls) if one.init]
    types_by_name = {one.alias: one.type for one in fields}
    names = [one.alias for one in fields][: len(values)]
    placed = [_read(value, types_by_name[name]) for name, value in zip(names, values, strict=False)]
    named = {name: _read(value, types_by_name.get(name)) for name, value in options.items()}
    return (*placed, *values[len(names) :]), named


def _read(value: Any, expected: Any) -> Any:
    kind = listed_kind(expected) if isinstance(value, list | tuple) else None
    return value if kind is None else kind.of_list(tuple(value))
