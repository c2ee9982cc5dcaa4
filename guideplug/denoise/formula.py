"""A composed denoiser in words: its formula with numbers, and what one evaluation of it costs."""

from collections.abc import Iterator, Mapping, Sequence

from attrs import evolve
from torch import Tensor

from guideplug.denoise.algebra import Denoiser, Leaf
from guideplug.denoise.condition import Condition, expand
from guideplug.denoise.gradient import GradientGuided
from guideplug.denoise.plan import Place, planned_batches, planned_calls, survey
from guideplug.denoise.query import Query, Slot
from guideplug.denoise.tally import Count
from guideplug.denoise.trace import beneath, gradients
from guideplug.denoise.view import Perturbed
from guideplug.denoise.weight import Polynomial, Weight
from guideplug.denoise.weight_input import Level, Step, WeightInput

__all__ = ["calls", "formula", "switched_off", "taken"]


def formula(point: Denoiser, names: Mapping[Leaf, str]) -> str:
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
    point: Denoiser,
    sigma: Level,
    *,
    conditional: bool = True,
    toward: Level | None = None,
    step: Step = None,
    x: Tensor | None = None,
    condition: Condition = None,
) -> dict[Leaf, Count]:
    """What one evaluation at noise level ``sigma`` costs: calls of each network, and outputs for each sample.

    And gradients that go back through those calls.

    Args:
        point, sigma, toward, step: as they are asked.
        conditional: whether a condition is given.
        x, condition: what is asked, where it is known. Elsewhere the conditions of one network are taken to
            concatenate, as they do unless their shapes differ.
    """
    at = WeightInput(sigma, toward, point.space, None if x is None else expand(condition, len(x)), step)
    places, terms = survey(point, Place(at, x, shape=point.space.shape, conditional=conditional))
    known = [] if x is None else [(call.leaf, call.asked) for call in planned_calls(terms, places)]
    found: dict[Leaf, Count] = {}
    for leaf, asked in planned_batches(terms, places) if x is None else known:
        count = found.setdefault(leaf.counted_as, Count())
        count.calls += 1
        count.outputs += sum(places[path].copies for path, _ in asked)
        count.gradients += sum(not inside.isdisjoint(asked) for inside in beneath(terms).values())
    return found


def switched_off(point: Denoiser, sigma: float, toward: float | None = None, step: Step = None) -> list[str]:
    """The weights that are 0 at a level whatever the condition, as formulas write them."""
    return list(dict.fromkeys(_switched_off(point, WeightInput(sigma, toward, point.space, step=step))))


def _switched_off(point: Denoiser, at: WeightInput) -> Iterator[str]:
    for query, coefficient in point.terms.items():
        yield from (_weight(weight) for weight in coefficient.weights if weight.zero_at(at))
        change = query.source.change
        inside = at if change is None else evolve(at, sigma=change.level(at.sigma))
        for inner in query.source.points:
            yield from _switched_off(inner, inside)


def taken(
    point: Denoiser,
    sigma: Level,
    *,
    conditional: bool = True,
    toward: Level | None = None,
    step: Step = None,
) -> list[str]:
    """The gradients that one evaluation at noise level ``sigma`` takes, as formulas name them."""
    at = WeightInput(sigma, toward, point.space, step=step)
    _, terms = survey(point, Place(at, None, shape=point.space.shape, conditional=conditional))
    return list(dict.fromkeys(str(query.source) for _, query in gradients(terms)))


def _network(query: Query, names: Mapping[Leaf, str]) -> str:
    source = query.source
    if source.change is not None:
        return f"[{formula(source.points[0], names)} {source.change}]"
    if isinstance(source, GradientGuided):
        return f"[{formula(source.of, names)} + {source}]"
    if isinstance(source, Perturbed):
        inner = _network(Query(source.of, query.condition), names)
        return f"[{inner} {source.kind}]"
    if not isinstance(source, Leaf):
        return source.written.replace("{}", ", ".join(formula(inner, names) for inner in source.points))
    given = {Slot.GIVEN: "c", Slot.NULL: "null"}[query.condition] if isinstance(query.condition, Slot) else "fixed"
    return (
        f"{names.get(source, type(source).__name__)}(x, {given})"
        if source.has_null
        else (f"{names.get(source, type(source).__name__)}(x)")
    )


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
