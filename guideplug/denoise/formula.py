"""A composed denoiser in words: its formula with numbers, and what one evaluation of it costs."""

from collections.abc import Iterator, Mapping, Sequence
from typing import cast

from attrs import evolve
from torch import Tensor

from guideplug.denoise.condition import Condition, expand
from guideplug.denoise.node import NetworkNode, Point, Query, Slot
from guideplug.denoise.plan import EvalPoint, collect, planned_batches, planned_calls
from guideplug.denoise.tally import Count
from guideplug.denoise.trace import beneath, gradients
from guideplug.denoise.weight import Polynomial, Weight
from guideplug.denoise.weight_input import Level, Step, WeightInput

__all__ = ["calls", "formula", "switched_off", "taken"]


def formula(point: Point, names: Mapping[NetworkNode, str]) -> str:
    """The normal form as text: ``3 main(x) - 2 weak(x)``.

    Args:
        point: any denoiser.
        names: what to call each network, usually its role.
    """
    text = ""
    for query, coefficient in point.terms.items():
        scale = _scale(coefficient)
        sign, scale = (" - ", scale[1:]) if scale.startswith("-") else (" + ", scale)
        text += f"{sign}{scale + ' ' if scale != '1' else ''}{_network(query, names)}"
    return text.removeprefix(" + ").replace(" - ", "-", 1) if text.startswith(" - ") else text.removeprefix(" + ")


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
    """What one evaluation at noise level ``sigma`` costs: calls of each network, and outputs for each sample.

    And gradients that go back through those calls.

    Args:
        point, sigma, toward, step: as they are asked.
        conditional: whether a condition is given.
        x, condition: what is asked, where it is known. Elsewhere the conditions of one network are taken to
            concatenate, as they do unless their shapes differ.
    """
    at = WeightInput(sigma, toward, point.space, None if x is None else expand(condition, len(x)), step)
    places, terms = collect(point, EvalPoint(at, x, shape=point.space.shape, conditional=conditional))
    known = [] if x is None else [(call.leaf, call.requests) for call in planned_calls(terms, places)]
    counts: dict[NetworkNode, Count] = {}
    for leaf, requests in planned_batches(terms, places) if x is None else known:
        count = counts.setdefault(leaf.counted_as, Count())
        count.calls += 1
        count.outputs += sum(places[path].copies for path, _ in requests)
        count.gradients += sum(not inside.isdisjoint(requests) for inside in beneath(terms).values())
    return counts


def switched_off(point: Point, sigma: float, toward: float | None = None, step: Step = None) -> list[str]:
    """The weights that are 0 at a level whatever the condition, as formulas write them."""
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
    """The gradients that one evaluation at noise level ``sigma`` takes, as formulas name them."""
    at = WeightInput(sigma, toward, point.space, step=step)
    _, terms = collect(point, EvalPoint(at, None, shape=point.space.shape, conditional=conditional))
    return list(dict.fromkeys(str(query.source) for _, query in gradients(terms)))


def _network(query: Query, names: Mapping[NetworkNode, str]) -> str:
    source = query.source
    if source.points:
        return source.in_formula(", ".join(formula(inner, names) for inner in source.points))
    network = cast(NetworkNode, source).counted_as
    given = {Slot.GIVEN: "c", Slot.NULL: "null"}[query.condition] if isinstance(query.condition, Slot) else "fixed"
    argument = f"x, {given}" if source.has_null else "x"
    return source.in_formula(f"{names.get(network, type(network).__name__)}({argument})")


def _scale(coefficient: Polynomial) -> str:
    numbers_first = sorted(coefficient.monomials.items(), key=lambda item: len(item[0]) > 0)
    products = [_product(number, factors) for factors, number in numbers_first]
    return products[0] if len(products) == 1 else f"({' + '.join(products).replace('+ -', '- ')})"


def _product(number: float, factors: Sequence[Weight]) -> str:
    if not factors:
        return f"{number:g}"
    return {1.0: "", -1.0: "-"}.get(number, f"{number:g} ") + " ".join(map(_weight, factors))


def _weight(weight: Weight) -> str:
    return str(weight.extra_repr() or type(weight).__name__.lower())
