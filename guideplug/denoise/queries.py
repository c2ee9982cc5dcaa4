"""Queries under other conditions, and of other networks."""

from collections.abc import Callable
from typing import Any

from attrs import evolve

from guideplug.denoise.node import Fixed, Query, Slot
from guideplug.denoise.output import DENOISED, declared

__all__ = ["leaves_of", "mapped_query", "under"]


def under(query: Query, condition: Slot | Fixed) -> Query:
    """The query with a condition that replaces the given one.

    Raises:
        ConditionError: the null condition is requested of a network without one.
    """
    source: Any = query.source
    if source.points:
        return Query(source.asked_under(condition))
    if query.condition is not Slot.GIVEN:
        return query
    if condition is Slot.NULL and not source.has_null:
        source.unconditional()  # raises the error with its advice
    return evolve(query, condition=condition)


def mapped_query(query: Query, change: Callable[[Any], Any]) -> Query:
    """The query of the same expression with each network replaced by ``change`` of it.

    Raises:
        DenoiserError: the changed network lacks the named output of the query.
    """
    source: Any = query.source
    if source.points:
        return Query(source.replaced([point.mapped(change) for point in source.points]), query.condition)
    network = change(source)
    if query.output != DENOISED:
        declared(network.outputs, query.output, network.in_messages)
    return evolve(query, source=network)


def leaves_of(query: Query) -> list[Any]:
    """The networks of a query, in the order of the formula; a perturbed view stands for its network."""
    source: Any = query.source
    if not source.points:
        return [source.counted_as]
    return [leaf for point in source.points for leaf in point.leaves()]
