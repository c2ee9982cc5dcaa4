"""One pass: every distinct network runs at most once for everything that is asked at one (x, sigma, condition).

1. Coefficients. With a float sigma they are settled on the host, and a term whose coefficient is 0, or within float32
   rounding of it, is dropped: its network is not called, the main network included.
2. Queries. What is left names each network and the conditions it is wanted under, seen through every `Combine`.
3. Calls. Each network runs once, its conditions as one batch where they concatenate, else one call each.
4. Sums. A term that is left alone is returned as it is, so a guider that is off is its base, bit for bit.

Nothing here waits for an accelerator: no value on the device decides anything.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from guideplug.denoise.condition import Condition, concatenate, expand
from guideplug.denoise.query import Fixed, Query, Slot
from guideplug.denoise.weight import Level, Weight

if TYPE_CHECKING:
    from guideplug.denoise.algebra import Denoiser, Leaf

__all__ = ["NEGLIGIBLE", "OnePass", "planned_conditions"]

NEGLIGIBLE = 2.0**-24
"""A coefficient this small changes nothing in float32 beside others that sum to one: half a unit in the last place."""


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

    def _resolved(self, query: Query) -> Query:
        """The query as the network will see it: without a given condition, the given one is the null one."""
        source = query.source
        if self._conditional or query.condition is not Slot.GIVEN or source.points or not source.has_null:
            return query
        return Query(source, Slot.NULL)


def _negligible(value: Level) -> bool:
    return not isinstance(value, Tensor) and abs(value) <= NEGLIGIBLE


def planned_conditions(
    point: "Denoiser", coefficients: Coefficients, wanted: "dict[Leaf, dict[Query, None]] | None" = None
) -> "dict[Leaf, dict[Query, None]]":
    """Each network that ``point`` needs at this level, and the queries it must answer, each once."""
    wanted = {} if wanted is None else wanted
    for query in coefficients.of(point):
        if not query.source.points:
            wanted.setdefault(cast("Leaf", query.source), {})[query] = None
        for inner in query.source.points:
            planned_conditions(inner, coefficients, wanted)
    return wanted


class OnePass:
    """The evaluation of one composed denoiser at one (x, sigma, condition, toward)."""

    def __init__(self, x: Tensor, sigma: Level, condition: Condition, toward: Level | None) -> None:
        if isinstance(sigma, int):
            sigma = float(sigma)
        if isinstance(sigma, Tensor):
            sigma = sigma.to(x.device, x.dtype)
        self._x, self._sigma = x, sigma
        self._condition = expand(condition, len(x))
        self._coefficients = Coefficients(self._condition, sigma, toward, conditional=condition is not None)
        self._outputs: dict[Query, Tensor] = {}

    def value(self, point: "Denoiser") -> Tensor:
        """The denoised samples of ``point``, (B, *)."""
        for leaf, queries in planned_conditions(point, self._coefficients).items():
            self._call(leaf, list(queries))
        return self._sum(point)

    def _call(self, leaf: "Leaf", queries: list[Query]) -> None:
        batch = len(self._x)
        conditions = [self._asked(query) for query in queries]
        if len(queries) > 1:
            fits, together = concatenate(conditions)
            if fits:
                x = torch.cat([self._x] * len(queries))
                sigma = self._sigma
                if isinstance(sigma, Tensor):
                    sigma = sigma.expand(batch).repeat(len(queries))
                outputs: Any = leaf(x, sigma, together)
                self._outputs.update(zip(queries, outputs.split(batch), strict=True))
                return
        for query, condition in zip(queries, conditions, strict=True):
            self._outputs[query] = leaf(self._x, self._sigma, condition)

    def _asked(self, query: Query) -> Condition:
        if isinstance(query.condition, Fixed):
            return expand(query.condition.on(self._x.device), len(self._x))
        if query.condition is Slot.GIVEN:
            return self._condition
        return query.source.null_condition(len(self._x), self._x.device)

    def _sum(self, point: "Denoiser") -> Tensor:
        values = [(coefficient, self._output(query)) for query, coefficient in self._coefficients.of(point).items()]
        if len(values) == 1:
            return values[0][1]
        total: Tensor | None = None
        for coefficient, value in values:
            if isinstance(coefficient, Tensor):
                rows = coefficient.to(value.dtype).reshape(-1, *[1] * (value.ndim - 1))
                # 0 * NaN would be NaN. What is finite stays, for a learned weight of 0 has a gradient.
                term = rows * torch.where((rows != 0) | value.isfinite(), value, 0)
            elif total is not None:
                total = torch.add(total, value, alpha=coefficient)
                continue
            else:
                term = value * coefficient
            total = term if total is None else total + term
        assert total is not None
        return total

    def _output(self, query: Query) -> Tensor:
        if query not in self._outputs:
            inputs = [self._sum(inner) for inner in query.source.points]
            self._outputs[query] = query.source.combined(inputs, self._x, self._sigma)
        return self._outputs[query]
