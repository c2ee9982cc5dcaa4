"""The plan of an evaluation: coefficients, queries of networks under conditions, and batched calls.

1. Coefficients. With a float sigma they are computed on the host, and a term whose coefficient is 0, or within float32
   rounding of it, is dropped: its network is not called, the main network included.
2. Queries. The remaining terms name each network and its conditions, also inside every `Combine`, and inside every
   `View`, which evaluates at another (x, sigma): each place has the coefficients of its own level.
3. Calls. The queries of one network are one batch if samples have one shape and conditions concatenate, else one call
   each. Queries of several outputs under one condition share their rows.

Step 1 runs at every step of a sampler, because weights and gates change with the level. The others depend only on the
remaining terms and on the condition, so a `Plan` caches them along a trajectory: once per interval, not once per step.
"""

import operator
from collections.abc import Mapping, Sequence
from typing import TypeAlias, cast

import torch
from attrs import evolve, frozen
from torch import Tensor

from guideplug.denoise.condition import Condition, expand, for_networks, form_of, parts_of, repeated
from guideplug.denoise.condition_batch import concatenate, why_apart
from guideplug.denoise.node import Fixed, NetworkNode, Node, Point, Query, Slot
from guideplug.denoise.weight import Weight
from guideplug.denoise.weight_input import Level, LinearStep, WeightInput
from guideplug.rng.keyed import SampleKeys

__all__ = [
    "NEGLIGIBLE",
    "ActiveTerms",
    "Batch",
    "Call",
    "EvalPoint",
    "EvalRequest",
    "Path",
    "Plan",
    "collect",
    "planned_batches",
    "planned_calls",
    "separate",
]

NEGLIGIBLE = 2.0**-24
"""Coefficients up to this are negligible in float32 beside others that sum to one: half a unit in the last place."""

Path: TypeAlias = tuple[Node, ...]
"""The views that lead to a place, outermost first; empty for the place of the evaluation itself."""
EvalRequest: TypeAlias = tuple[Path, Query]
"""A query, and the views that lead to its place."""
Batch: TypeAlias = dict[EvalRequest, dict[str, None]]
"""The rows of a network's batch, as requests of its own output, and the names of the outputs needed there."""
ActiveTerms: TypeAlias = tuple[tuple[Path, Point, tuple[Query, ...]], ...]
"""The remaining terms of a point at a place, then those of each input of these, once each."""


class Coefficients:
    """The coefficients of composed denoisers at one level, each weight module evaluated once."""

    def __init__(self, at: WeightInput, *, conditional: bool) -> None:
        self._at = at
        self._conditional = conditional
        self._weights: dict[Weight, Level] = {}
        self._known: dict[Point, Mapping[Query, Level]] = {}

    def of(self, point: Point) -> Mapping[Query, Level]:
        """The queries with nonzero coefficients at this level, and the coefficients."""
        if point not in self._known:
            total: dict[Query, Level] = {}
            for query, coefficient in point.terms.items():
                constant = coefficient.constant
                value = coefficient.value(self._at, self._weights) if constant is None else constant
                resolved = self._resolved(query)
                total[resolved] = total[resolved] + value if resolved in total else value
            self._known[point] = {query: value for query, value in total.items() if not _negligible(value)}
        return self._known[point]

    def _resolved(self, query: Query) -> Query:
        """The query as the network receives it: without a given condition, the null condition."""
        source = query.source
        if self._conditional or query.condition is not Slot.GIVEN or source.points or not source.has_null:
            return query
        return evolve(query, condition=Slot.NULL)


def _negligible(value: Level) -> bool:
    return not isinstance(value, Tensor) and abs(value) <= NEGLIGIBLE


class EvalPoint:
    """The place of an evaluation, and the coefficients there.

    Args:
        at: the input of weights; its condition has as many rows as x, or is None if absent or unknown.
        x: the noisy samples (rows, *), or None to compute the cost alone.
        shape: the shape of one sample.
        conditional: whether there is a condition.
        copies: rows per sample of the evaluation.
    """

    def __init__(
        self, at: WeightInput, x: Tensor | None, *, shape: tuple[int, ...], conditional: bool, copies: int = 1
    ) -> None:
        self.at, self.x = at, x
        self.sigma, self.condition = at.sigma, for_networks(at.condition)
        self.shape, self.conditional, self.copies = shape, conditional, copies
        self.coefficients = Coefficients(at, conditional=conditional)

    def beyond(self, view: Node) -> "EvalPoint":
        """The place at which a view evaluates, in the same step of the sampler."""
        change = view.change
        assert change is not None
        at = evolve(self.at, sigma=change.level(self.sigma))
        if change.copies > 1:
            at = _repeated(at, change.copies)
        return EvalPoint(
            at,
            None if self.x is None else change.inputs(self.x, self.sigma),
            shape=change.shape(self.shape),
            conditional=self.conditional,
            copies=self.copies * change.copies,
        )


def _repeated(at: WeightInput, copies: int) -> WeightInput:
    """The input of weights for several copies of the batch, one after the other."""

    def rows(level: Level) -> Level:
        return level.repeat(copies) if isinstance(level, Tensor) and level.ndim else level

    return evolve(
        at,
        sigma=rows(at.sigma),
        toward=None if at.toward is None else rows(at.toward),
        condition=repeated(at.condition, copies),
        rows=None if at.rows is None else copies * at.rows,
        copies=copies * at.copies,
        step=at.step if at.step is None or isinstance(at.step, LinearStep) else (rows(at.step[0]), rows(at.step[1])),
    )


def collect(points: Sequence[Point], place: EvalPoint) -> tuple[dict[Path, EvalPoint], ActiveTerms]:
    """The places at which the networks of ``points`` are evaluated, and the remaining terms there, recursively."""
    places: dict[Path, EvalPoint] = {(): place}
    active: dict[tuple[Path, Point], tuple[Query, ...]] = {}
    waiting: list[tuple[Path, Point]] = [((), point) for point in reversed(points)]
    while waiting:
        seen = waiting.pop()
        if seen in active:
            continue
        path, point = seen
        active[seen] = tuple(places[path].coefficients.of(point))
        for source in [query.source for query in active[seen] if query.source.points]:
            inside = path
            if source.change is not None:
                inside = (*path, source)
                if inside not in places:
                    places[inside] = places[path].beyond(source)
            waiting += [(inside, inner) for inner in source.points]
    return places, tuple((path, point, queries) for (path, point), queries in active.items())


def planned_batches(terms: ActiveTerms, places: Mapping[Path, EvalPoint]) -> list[tuple[NetworkNode, Batch]]:
    """The requests of each needed network, each once; requests of different shapes are separate."""
    batches: dict[tuple[NetworkNode, tuple[int, ...]], Batch] = {}
    for path, _, queries in terms:
        for query in queries:
            if not query.source.points:
                batch = batches.setdefault((cast(NetworkNode, query.source), places[path].shape), {})
                batch.setdefault((path, query.rows), {})[query.output] = None
    return [(leaf, batch) for (leaf, _), batch in batches.items()]


@frozen(eq=False)
class Call:
    """One call of a network: its rows in the order of the batch, their concatenated condition, and the outputs."""

    leaf: NetworkNode
    requests: Sequence[EvalRequest]
    condition: Condition
    names: Sequence[str]


class Plan:
    """A cache of the calls per set of terms, under one unchanged condition.

    Nothing is cached while gradients are recorded, because a graph can be traversed once, nor in inference mode, whose
    tensors have no version counters. A null condition is computed once. Along a trajectory the plan also holds the keys
    of its samples, for networks that draw.
    """

    def __init__(self) -> None:
        self._calls: dict[ActiveTerms, list[Call]] = {}
        self._parts: tuple[object, ...] = ()
        self._stamp: tuple[object, ...] = ()
        self._samples: SampleKeys | None = None

    def samples(self, x: Tensor) -> SampleKeys:
        """The keys of the samples x (B, *): those of the trajectory's start, with the number of the evaluation."""
        known = self._samples
        self._samples = SampleKeys(x) if known is None or len(known) != len(x) else known.later()
        return self._samples

    def calls(self, terms: ActiveTerms, places: Mapping[Path, EvalPoint], condition: Condition) -> list[Call]:
        """The calls that evaluate ``terms`` at ``places``; ``condition`` is the unchanged one of the first place."""
        if torch.is_grad_enabled() or torch.is_inference_mode_enabled():
            return planned_calls(terms, places)
        x = places[()].x
        assert x is not None
        parts = tuple(parts_of(condition).values())
        stamp = (x.shape, x.device, form_of(condition), *(getattr(part, "_version", None) for part in parts))
        same = len(parts) == len(self._parts) and all(map(operator.is_, parts, self._parts))
        if not same or stamp != self._stamp:
            self._calls, self._parts, self._stamp = {}, parts, stamp
        if terms not in self._calls:
            self._calls[terms] = planned_calls(terms, places)
        return self._calls[terms]


def planned_calls(terms: ActiveTerms, places: Mapping[Path, EvalPoint]) -> list[Call]:
    """The calls that evaluate ``terms`` at places with known samples and conditions."""
    return [call for leaf, batch in planned_batches(terms, places) for call in _calls_of(leaf, batch, places)]


def _calls_of(leaf: NetworkNode, batch: Batch, places: Mapping[Path, EvalPoint]) -> list[Call]:
    requests = list(batch)
    conditions = [_condition(query, places[path]) for path, query in requests]
    if len(requests) > 1:
        fits, together = concatenate(conditions, leaf.masks)
        if fits:
            names = dict.fromkeys(name for row in batch.values() for name in row)
            return [Call(leaf, requests, together, list(names))]
    return [Call(leaf, [one], condition, list(batch[one])) for one, condition in zip(requests, conditions, strict=True)]


def separate(terms: ActiveTerms, places: Mapping[Path, EvalPoint]) -> dict[NetworkNode, str]:
    """Why a network is called once for each of its conditions, for those whose conditions form no batch."""
    reasons: dict[NetworkNode, str] = {}
    for leaf, batch in planned_batches(terms, places):
        conditions = [_condition(query, places[path]) for path, query in batch]
        if len(conditions) > 1 and (reason := why_apart(conditions, leaf.masks)):
            reasons[leaf] = reason
    return reasons


def _condition(query: Query, place: EvalPoint) -> Condition:
    assert place.x is not None
    if isinstance(query.condition, Fixed):
        return expand(for_networks(query.condition.on(place.x.device)), len(place.x))
    if query.condition is Slot.GIVEN:
        return place.condition
    return query.source.null_condition(len(place.x), place.x.device)
