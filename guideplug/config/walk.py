"""Nested strategies: one walk over them, and one way to rewrite them.

Strategies nest in the options of others, directly or in tables and lists, to any depth: recipes of recipes, guiders of
guiders. Attrs instances, mappings, lists and tuples are entered, in their order; every other value is a leaf. `inner`
and `rewrite_inner` go one level down, to the nearest instances of a kind; `walk` and `rewrite` visit all levels.
"""

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar, cast

import attrs

__all__ = ["inner", "rewrite", "rewrite_inner", "walk"]

T = TypeVar("T")
V = TypeVar("V")


def inner(value: Any, kind: type[T]) -> Iterator[T]:
    """The nearest instances of ``kind`` inside a value, without the value itself and without instances inside those."""
    for part in _parts(value):
        if isinstance(part, kind):
            yield part
        else:
            yield from inner(part, kind)


def walk(value: Any, kind: type[T], *, into: Callable[[T], bool] = lambda item: True) -> Iterator[T]:
    """Every instance of ``kind`` in a value, the value included: each before those inside it, once per occurrence.

    Args:
        value: the value to search.
        kind: the class, such as `Strategy` or an abstract class of it.
        into: whether to enter an instance.
    """
    for item in [value] if isinstance(value, kind) else inner(value, kind):
        yield item
        if into(item):
            for part in inner(item, kind):
                yield from walk(part, kind, into=into)


def rewrite_inner(value: V, change: Callable[[T], Any], kind: type[T]) -> V:
    """The value with each of its `inner` instances replaced by ``change`` of it.

    Returns:
        A new value if an instance changed, else the same object.

    Raises:
        ValueError: an option refuses its new value; other errors of the validators pass through.
    """

    def changed(part: Any) -> Any:
        return change(part) if isinstance(part, kind) else rewrite_inner(part, change, kind)

    new: Any
    if attrs.has(type(value)):
        fields = attrs.fields(cast(Any, type(value)))
        options = {field.alias: getattr(value, field.name) for field in fields if field.init}
        new = {name: changed(part) for name, part in options.items()}
        different = {name: part for name, part in new.items() if part is not options[name]}
        return attrs.evolve(cast(Any, value), **different) if different else value
    if isinstance(value, Mapping):
        new = {name: changed(part) for name, part in value.items()}
        return new if any(new[name] is not part for name, part in value.items()) else value
    if isinstance(value, list | tuple):
        new = [changed(part) for part in value]
        if all(one is part for one, part in zip(new, value, strict=True)):
            return value
        return type(value)._make(new) if hasattr(value, "_make") else type(value)(new)
    return value


def rewrite(value: V, change: Callable[[T], Any], kind: type[T]) -> V:
    """The value with every instance of ``kind`` replaced by ``change`` of it, innermost first, the value included.

    Each instance is changed after those inside it, and contains their changes. Without changes, the same object.

    Raises:
        ValueError: as `rewrite_inner`.
    """

    def whole(item: T) -> Any:
        return change(rewrite_inner(item, whole, kind))

    return cast(V, whole(value)) if isinstance(value, kind) else rewrite_inner(value, whole, kind)


def _parts(value: Any) -> Iterator[Any]:
    cls: Any = type(value)
    if names := _names(cls):
        yield from (getattr(value, name) for name in names)
    elif isinstance(value, Mapping):
        yield from value.values()
    elif isinstance(value, list | tuple):
        yield from value


@functools.cache
def _names(cls: type) -> tuple[str, ...]:
    """The fields of a class of attrs; none of another class."""
    return tuple(field.name for field in attrs.fields(cast(Any, cls))) if attrs.has(cls) else ()
