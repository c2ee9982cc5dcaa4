"""The plan of an evaluation: coefficients, which network is asked under which conditions, and what goes as one batch.

1. Coefficients. With a float sigma they are settled on the host, and a term whose coefficient is 0, or within float32
   rounding of it, is dropped: its network is not called, the main network included.
2. Queries. What is left names each network and the conditions it is wanted under, seen through every `Combine`.
3. Calls. The conditions of one network go through it as one batch where they concatenate, else one call each.

The first is done at every step, for weights and gates change with the level. The others depend only on which terms are
left, and on the condition, so a `Plan` keeps them along a trajectory: once an interval, not once a step.
"""

import operator
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias, cast

import torch
from attrs import frozen
from torch import Tensor

from guideplug.denoise.condition import Condition, concatenate, expand
from guideplug.denoise.query import Fixed, Query, Slot
from guideplug.denoise.weight import Level, Weight

if TYPE_CHECKING:
    from guideplug.denoise.algebra import Denoiser, Leaf

__all__ = ["NEGLIGIBLE", "Call", "Coefficients", "Plan", "planned_conditions"]

NEGLIGIBLE = 2.0**-24
"""A coefficient this small changes nothing in float32 beside others that sum to one: half a unit in the last place."""

Terms: TypeAlias = tuple[tuple["Denoiser", tuple[Query, ...]], ...]
"""Which terms of a point are left at a level, then those of each point that they are functions of, once each."""


class Coefficients:
    """The coefficients of composed denoisers at one level, each weight module evaluated once."""

    def __init__(self, condition: Condition, sigma: Level, toward: Level | None, *, conditional: bool) -> None:
        self._arguments = condition, sigma, toward
        self._conditional = conditional
        self._weights: dict[Weight, Level] = {}
        self._known: dict[Denoiser, Mapping[Query, Level]] = {}

    def of(self, point: "Denoiser") -> Mapping[Query, Level]:
        """The queries that count at this level, and their coefficients."""
        if point not in self._known:
            total: dict[Query, Level] = {}
            for query, coefficient in point.terms.items():
                constant = coefficient.constant
                value = coefficient.value(*self._arguments, self._weights) if constant is None else constant
                asked = self._resolved(query)
                total[asked] = total[asked] + value if asked in total else value
            self._known[point] = {query: value for query, value in total.items() if not _negligible(value)}
        return self._known[point]

    def terms(self, point: "Denoiser") -> Terms:
        """Which terms are left, all the way down."""
        found: dict[Denoiser, tuple[Query, ...]] = {}
        waiting = [point]
        while waiting:
            point = waiting.pop()
            if point not in found:
                found[point] = tuple(self.of(point))
                waiting += [inner for query in found[point] for inner in query.source.points]
        return tuple(found.items())

    def _resolved(self, query: Query) -> Query:
        """The query as the network will see it: without a given condition, the given one is the null one."""
        source = query.source
        if self._conditional or query.condition is not Slot.GIVEN or source.points or not source.has_null:
            return query
        return Query(source, Slot.NULL)


def _negligible(value: Level) -> bool:
    return not isinstance(value, Tensor) and abs(value) <= NEGLIGIBLE


def planned_conditions(terms: Terms) -> "dict[Leaf, list[Query]]":
    """Each network that is needed, and the queries it must answer, each once."""
    wanted: dict[Leaf, dict[Query, None]] = {}
    for _, queries in terms:
        for query in queries:
            if not query.source.points:
                wanted.setdefault(cast("Leaf", query.source), {})[query] = None
    return {leaf: list(queries) for leaf, queries in wanted.items()}


@frozen(eq=False)
class Call:
    """One call of a network: the queries that it answers, in the order of the batch, and their conditions as one."""

    leaf: "Leaf"
    queries: Sequence[Query]
    condition: Condition


class Plan:
    """The calls for every set of terms that was met, under one condition that stays as it is.

    Nothing is kept where gradients are recorded, since a graph may be walked once, nor in inference mode, whose tensors
    do not tell that they were changed. A null condition is asked for once.
    """

    def __init__(self) -> None:
        self._calls: dict[Terms, list[Call]] = {}
        self._parts: tuple[object, ...] = ()
        self._stamp: tuple[object, ...] = ()

    def calls(self, terms: Terms, x: Tensor, condition: Condition) -> list[Call]:
        """The calls that evaluate ``terms`` for x (B, *) under a condition of batch B, or of one row."""
        if torch.is_grad_enabled() or torch.is_inference_mode_enabled():
            return _calls(terms, x, condition)
        parts = tuple(condition.values()) if isinstance(condition, Mapping) else (condition,)
        names = tuple(condition) if isinstance(condition, Mapping) else None
        stamp = (len(x), x.device, names, *(getattr(part, "_version", None) for part in parts))
        same = len(parts) == len(self._parts) and all(map(operator.is_, parts, self._parts))
        if not same or stamp != self._stamp:
            self._calls, self._parts, self._stamp = {}, parts, stamp
        if terms not in self._calls:
            self._calls[terms] = _calls(terms, x, condition)
        return self._calls[terms]


def _calls(terms: Terms, x: Tensor, condition: Condition) -> list[Call]:
    given = expand(condition, len(x))
    return [call for leaf, queries in planned_conditions(terms).items() for call in _calls_of(leaf, queries, x, given)]


def _calls_of(leaf: "Leaf", queries: list[Query], x: Tensor, given: Condition) -> list[Call]:
    conditions = [_condition(query, len(x), x.device, given) for query in queries]
    if len(queries) > 1:
        fits, together = concatenate(conditions)
        if fits:
            return [Call(leaf, queries, together)]
    return [Call(leaf, [query], condition) for query, condition in zip(queries, conditions, strict=True)]


def _condition(query: Query, batch: int, device: torch.device, given: Condition) -> Condition:
    if isinstance(query.condition, Fixed):
        return expand(query.condition.on(device), batch)
    if query.condition is Slot.GIVEN:
        return given
    return query.source.null_condition(batch, device)
