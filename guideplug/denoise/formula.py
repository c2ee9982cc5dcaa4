"""The formula of a composed denoiser with numbers, and the cost of one evaluation."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import cast

from attrs import evolve
from torch import Tensor

from guideplug.denoise.condition import Condition, expand
from guideplug.denoise.factor import Factors, factors, rounded
from guideplug.denoise.node import NetworkNode, Point, Query, Slot, Terms
from guideplug.denoise.output import DENOISED
from guideplug.denoise.plan import EvalPoint, EvalRequest, collect, planned_batches, planned_calls, separate
from guideplug.denoise.tally import Count
from guideplug.denoise.trace import beneath, gradients
from guideplug.denoise.weight import Weight
from guideplug.denoise.weight_input import Level, Step, WeightInput

__all__ = ["apart", "calls", "formula", "switched_off", "taken"]


def formula(point: Point, names: Mapping[NetworkNode, str]) -> str:
    """The normal form as text, its weights factored: ``main(x) + (ramp(1, 4) - 1) (main(x) - weak(x))``.

    Networks with constant coefficients are written as a sum, ``3 main(x) - 2 weak(x)``; the others as differences from
    the first network, multiplied by their common weight.

    Args:
        point: any denoiser.
        names: the name of each network, usually its role.
    """
    texts = {query: _network(query, names) for query in point.terms}
    numbers, directions = _factored(point.terms)
    text = _sum(numbers, texts)
    for weights, direction in directions.items():
        positive_first = dict(sorted(direction.items(), key=lambda item: item[1] < 0))
        number = next(iter(positive_first.values())) if len(direction) == 2 else 1.0
        scale = _scale(number, weights)
        text += f" + {scale} ({_sum({query: share / number for query, share in positive_first.items()}, texts)})"
    return text


def _factored(coefficients: Terms) -> tuple[dict[Query, float], dict[Factors, dict[Query, float]]]:
    """The constant coefficients of networks, and the differences of networks per product of weights.

    Coefficients sum to one, so the first network's follows from the others'.
    """
    first, *others = coefficients
    numbers, directions = {first: 1.0}, dict[Factors, dict[Query, float]]()
    for query in others:
        number, weights = factors(coefficients[query])
        into = directions.setdefault(weights, {first: 0.0}) if weights else numbers
        into[first] -= number
        into[query] = number
    return _without_zeros(numbers), {weights: _without_zeros(direction) for weights, direction in directions.items()}


def _without_zeros(numbers: Mapping[Query, float]) -> dict[Query, float]:
    """The entries that differ from 0 by more than rounding errors."""
    return {query: number for query, number in numbers.items() if abs(number) > 1e-12}


def calls(
    point: Point,
    sigma: Level,
    *,
    conditional: bool = True,
    toward: Level | None = None,
    step: Step = None,
    x: Tensor | None = None,
    condition: Condition = None,
) -> dict[NetworkNode, Count]:
    """The cost of one evaluation at noise level ``sigma``: calls per network, outputs per sample, gradients per call.

    Args:
        point, sigma, toward, step: as in `Denoiser.forward`.
        conditional: whether a condition is given.
        x, condition: the input, if known. Else the conditions of one network are assumed to concatenate, as they do
            unless their shapes differ.
    """
    at = WeightInput(sigma, toward, point.space, None if x is None else expand(condition, len(x)), step)
    places, terms = collect([point], EvalPoint(at, x, shape=point.space.shape, conditional=conditional))
    batches: Iterable[tuple[NetworkNode, Iterable[EvalRequest]]] = planned_batches(terms, places)
    if x is not None:
        batches = [(call.leaf, call.requests) for call in planned_calls(terms, places)]
    counts: dict[NetworkNode, Count] = {}
    for leaf, requests in batches:
        count = counts.setdefault(leaf.counted_as, Count())
        count.calls += 1
        count.outputs += sum(places[path].copies for path, _ in requests)
        count.gradients += sum(not inside.isdisjoint(requests) for inside in beneath(terms).values())
    return counts


def apart(
    point: Point, sigma: Level, x: Tensor, condition: Condition, *, toward: Level | None = None, step: Step = None
) -> dict[NetworkNode, str]:
    """Why networks are called once for each of their conditions, in words; networks called once are left out.

    Args:
        point, sigma, x, condition, toward, step: as in `Denoiser.forward`.
    """
    at = WeightInput(sigma, toward, point.space, expand(condition, len(x)), step)
    places, terms = collect([point], EvalPoint(at, x, shape=point.space.shape, conditional=condition is not None))
    return {leaf.counted_as: reason for leaf, reason in separate(terms, places).items()}


def switched_off(point: Point, sigma: float, toward: float | None = None, step: Step = None) -> list[str]:
    """The weights that are 0 at a level for every condition, as written in formulas."""
    return list(dict.fromkeys(_switched_off(point, WeightInput(sigma, toward, point.space, step=step))))


def _switched_off(point: Point, at: WeightInput) -> Iterator[str]:
    for query, coefficient in point.terms.items():
        yield from (_weight(weight) for weight in coefficient.weights if weight.zero_at(at))
        change = query.source.change
        inside = at if change is None else evolve(at, sigma=change.level(at.sigma))
        for inner in query.source.points:
            yield from _switched_off(inner, inside)


def taken(
    point: Point,
    sigma: Level,
    *,
    conditional: bool = True,
    toward: Level | None = None,
    step: Step = None,
) -> list[str]:
    """The gradients of one evaluation at noise level ``sigma``, as named in formulas."""
    at = WeightInput(sigma, toward, point.space, step=step)
    _, terms = collect([point], EvalPoint(at, None, shape=point.space.shape, conditional=conditional))
    return list(dict.fromkeys(str(query.source) for _, query in gradients(terms)))


def _network(query: Query, names: Mapping[NetworkNode, str]) -> str:
    source = query.source
    if source.points:
        return source.in_formula(*(formula(inner, names) for inner in source.points))
    network = cast(NetworkNode, source).counted_as
    given = {Slot.GIVEN: "c", Slot.NULL: "null"}[query.condition] if isinstance(query.condition, Slot) else "fixed"
    argument = f"x, {given}" if source.has_null else "x"
    name = names.get(network, type(network).__name__)
    return source.in_formula(f"{name if query.output == DENOISED else f'{name}.{query.output}'}({argument})")


def _sum(numbers: Mapping[Query, float], texts: Mapping[Query, str]) -> str:
    """A sum of networks: ``3 main(x) - 2 weak(x)``."""
    return _signed(f"{_before(number)}{texts[query]}" for query, number in numbers.items())


def _scale(number: float, weights: Factors) -> str:
    """A number times weights, multiplied into the first sum if that is shorter."""
    sums = [_signed(_product(n, factors) for factors, n in products) for products in weights]
    texts = [text if len(products) == 1 else f"({text})" for products, text in zip(weights, sums, strict=True)]
    outside = _before(number) + " ".join(texts)
    if len(weights[0]) == 1:
        return outside
    inside = f"({_signed(_product(number * n, factors) for factors, n in weights[0])})"
    return min(outside, " ".join([inside, *texts[1:]]), key=len)


def _signed(products: Iterable[str]) -> str:
    return " + ".join(products).replace("+ -", "- ")


def _before(number: float) -> str:
    """The text of a leading coefficient; empty for 1."""
    return {1.0: "", -1.0: "-"}.get(rounded(number), f"{number:g} ")


def _product(number: float, factors: Sequence[Weight]) -> str:
    if not factors:
        return f"{number:g}"
    return _before(number) + " ".join(map(_weight, factors))


def _weight(weight: Weight) -> str:
    return str(weight.extra_repr() or type(weight).__name__.lower())
