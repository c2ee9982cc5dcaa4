"""Nested strategies: one walk over them, and one way to rewrite them.

A strategy lies in the options of another, in a table or a list of them, to any depth, as recipes of recipes and guiders
of guiders do. Entered are attrs instances, mappings, lists and tuples, in their order; every other value is a leaf.
`inner` and `rewrite_inner` go one level down, to the nearest instances of a kind; `walk` and `rewrite` go all the way.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar, cast

import attrs

__all__ = ["inner", "rewrite", "rewrite_inner", "walk"]

T = TypeVar("T")
V = TypeVar("V")


def inner(value: Any, kind: type[T]) -> Iterator[T]:
    """The nearest instances of ``kind`` inside a value: neither the value itself, nor what lies inside those."""
    for part in _parts(value):
        if isinstance(part, kind):
            yield part
        else:
            yield from inner(part, kind)


def walk(value: Any, kind: type[T], *, into: Callable[[T], bool] = lambda item: True) -> Iterator[T]:
    """Every instance of ``kind`` in a value, the value included: each before those inside it, and once per place.

    Args:
        value: where to look.
        kind: the class, such as `Strategy` or an abstract class of it.
        into: whether to look inside an instance.
    """
    for item in [value] if isinstance(value, kind) else inner(value, kind):
        yield item
        if into(item):
            for part in inner(item, kind):
                yield from walk(part, kind, into=into)


def rewrite_inner(value: V, change: Callable[[T], Any], kind: type[T]) -> V:
    """The value with ``change`` of each of its `inner` instances in their places.

    Returns:
        A new value where something changed, the same object where ``change`` gave back what it took.

    Raises:
        ValueError: an option does not take its new value; so does what the class's validators raise.
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
        new = type(value)(changed(part) for part in value)
        return new if any(one is not part for one, part in zip(new, value, strict=True)) else value
    return value


def rewrite(value: V, change: Callable[[T], Any], kind: type[T]) -> V:
    """The value with ``change`` of every instance of ``kind`` in it, innermost first, the value included.

    Each instance is changed after those inside it, with their changes in it. Where nothing changes, the same object.

    Raises:
        ValueError: as `rewrite_inner`.
    """

    def whole(item: T) -> Any:
        return change(rewrite_inner(item, whole, kind))

    return cast(V, whole(value)) if isinstance(value, kind) else rewrite_inner(value, whole, kind)


def _parts(value: Any) -> Iterator[Any]:
    if attrs.has(type(value)):
        yield from (getattr(value, field.name) for field in attrs.fields(type(value)))
    elif isinstance(value, Mapping):
        yield from value.values()
    elif isinstance(value, list | tuple):
        yield from value
