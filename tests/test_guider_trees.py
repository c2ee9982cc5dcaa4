"""Random trees of the installed guiders, up to five deep: the textbook's value, and the calls that the plan says.

The textbook is written out here on its own: a guider is a function from a base to a linear combination of (network,
condition), and each network is evaluated by itself.
"""

from collections.abc import Callable, Mapping
from typing import TypeAlias

import pytest
import torch
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from tiers import few
from torch import Tensor

from guideplug import Denoiser, Guider, Registry
from guideplug.config import Reader, short
from guideplug.denoise import Count, calls, tally
from guideplug.testing import CONDITIONS, GaussianDenoiser, example_condition

torch.set_num_threads(1)

Key: TypeAlias = tuple[str, str]
Sum: TypeAlias = Mapping[Key, float]
"""A linear combination: (role, "given" or "null") to coefficient."""
Textbook: TypeAlias = Callable[[Sum, float], Sum]

READER = Reader(Registry.installed())
ROLES = ("weak", "bad", "synthetic")
Law: TypeAlias = Callable[[float], float]
"""The weight at a level."""

NUMBERS = st.sampled_from([0.0, 1.0, 2.0, 0.5]) | st.integers(-20, 40).map(lambda tenths: tenths / 10)
"""Tenths, so that a product of five is either 0 or well above what rounding leaves."""
LEVELS = st.sampled_from([0.05, 0.3, 0.5, 1.0, 3.0])


def ramp(low: float, high: float) -> Law:
    def law(sigma: float) -> float:
        first, here, last = (level ** (1 / 7) for level in (80.0, sigma, 0.002))
        return low + (high - low) * (first - here) / (first - last)

    return law


def weights(number: st.SearchStrategy[float] = NUMBERS) -> st.SearchStrategy[tuple[str, Law]]:
    """A number or a schedule: its expression, and its law."""
    ramps = st.tuples(number, number).map(lambda ends: (f"ramp({ends[0]!r}, {ends[1]!r})", ramp(*ends)))
    return number.map(lambda weight: (repr(weight), ramp(weight, weight))) | ramps


def plus(left: Sum, right: Sum, factor: float) -> Sum:
    return {key: left.get(key, 0.0) + factor * right.get(key, 0.0) for key in {*left, *right}}


def away(weight: Law, guide: Callable[[Sum], Sum]) -> Textbook:
    """base + (weight - 1) (base - guide)."""

    def formula(base: Sum, sigma: float) -> Sum:
        return plus(base, plus(base, guide(base), -1.0), weight(sigma) - 1)

    return formula


def null_of(base: Sum) -> Sum:
    """The base with every network under its null condition."""
    total: dict[Key, float] = {}
    for (role, _), coefficient in base.items():
        total[role, "null"] = total.get((role, "null"), 0.0) + coefficient
    return total


def of_role(role: str) -> Callable[[Sum], Sum]:
    return lambda base: {(role, "given"): 1.0}


@st.composite
def leaves(draw: st.DrawFn) -> tuple[str, Textbook]:
    """A guider without others in it: its expression, and its formula."""
    kind = draw(st.sampled_from(["cfg", "autoguidance", "sims"]))
    said, law = draw(weights(NUMBERS.map(abs)) if kind == "sims" else weights())
    if kind == "cfg":
        return f"cfg(weight={said})", away(law, null_of)
    role = draw(st.sampled_from(ROLES))
    if kind == "sims":
        return f"sims(omega={said}, model={role})", away(lambda sigma: 1 + law(sigma), of_role(role))
    return f"autoguidance(weight={said}, model={role})", away(law, of_role(role))


def wrapped(inner: st.SearchStrategy[tuple[str, Textbook]]) -> st.SearchStrategy[tuple[str, Textbook]]:
    return intervals(inner) | blends(inner)


@st.composite
def intervals(draw: st.DrawFn, inner: st.SearchStrategy[tuple[str, Textbook]]) -> tuple[str, Textbook]:
    text, formula = draw(inner)
    low, high = draw(st.sampled_from([(0.0, 0.5), (0.3, 1.0), (0.1, 3.0), (0.5, float("inf"))]))

    def gated(base: Sum, sigma: float) -> Sum:
        return formula(base, sigma) if low < sigma <= high else base

    return f"interval({text}, low={low}, high={high})", gated


@st.composite
def blends(draw: st.DrawFn, inner: st.SearchStrategy[tuple[str, Textbook]]) -> tuple[str, Textbook]:
    parts = draw(st.lists(inner, min_size=1, max_size=3))
    shares = draw(st.none() | st.lists(weights(), min_size=len(parts), max_size=len(parts)))
    said = "" if shares is None else f", shares=[{', '.join(text for text, _ in shares)}]"
    laws: list[Law] = [ramp(1.0, 1.0)] * len(parts) if shares is None else [law for _, law in shares]

    def summed(base: Sum, sigma: float) -> Sum:
        total = base
        for (_, formula), share in zip(parts, laws, strict=True):
            total = plus(total, plus(formula(base, sigma), base, -1.0), share(sigma))
        return total

    return f"blend([{', '.join(text for text, _ in parts)}]{said})", summed


def depth(text: str) -> int:
    deepest = now = 0
    for character in text:
        now += {"(": 1, ")": -1}.get(character, 0)
        deepest = max(deepest, now)
    return deepest


TREES = st.recursive(leaves(), wrapped, max_leaves=10).filter(lambda tree: depth(tree[0]) <= 6)


@pytest.mark.slow
@pytest.mark.parametrize("kind", few(CONDITIONS[1:], "embedding"))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(tree=TREES, sigma=LEVELS)
def test_a_tree_of_guiders_is_its_textbook_formula_and_costs_what_the_plan_says(
    kind: str, tree: tuple[str, Textbook], sigma: float
) -> None:
    text, formula = tree
    event(f"depth {depth(text)}")
    networks: dict[str, Denoiser] = {
        role: GaussianDenoiser(0.1 + 0.3 * i, 0.5 + 0.1 * i, conditioning=kind)  # type: ignore[arg-type]
        for i, role in enumerate(("main", *ROLES))
    }
    guider: Guider = READER.expression(text, Guider)
    assert READER.expression(short(guider), Guider) == guider
    point = guider.guide(networks["main"], networks)
    generator = torch.Generator().manual_seed(0)
    x, condition = torch.randn(3, 2, generator=generator), example_condition(kind, 3, generator)  # type: ignore[arg-type]

    terms = formula({("main", "given"): 1.0}, sigma)
    value: Tensor = torch.zeros_like(x, dtype=torch.float64)
    for (role, slot), coefficient in terms.items():
        value = value + coefficient * networks[role](x, sigma, condition if slot == "given" else None).double()
    size = 1.0 + sum(map(abs, terms.values()))
    with tally() as counts:
        found = point(x, sigma, condition)
    torch.testing.assert_close(found.double(), value, rtol=1e-5, atol=3e-6 * size)

    assert dict(counts.counts) == {
        network: Count(count.calls, count.outputs * len(x)) for network, count in calls(point, sigma).items()
    }
    for role, network in networks.items():
        wanted = [slot for (name, slot), coefficient in terms.items() if name == role and abs(coefficient) > 1e-6]
        assert counts[network] == Count(min(len(wanted), 1), len(wanted) * len(x))  # type: ignore[index]
    path = point.trajectory()
    with torch.no_grad():
        for level in (3.0, sigma, 0.05, sigma):
            torch.testing.assert_close(path(x, level, condition), point(x, level, condition), rtol=0, atol=0)
