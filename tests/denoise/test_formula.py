"""Denoisers in words, and what they cost."""

import re

import pytest
import torch
from attrs import frozen
from hypothesis import given, settings
from hypothesis import strategies as st

from guideplug.denoise import Change, Combine, Count, Gate, View, Weight, calls, formula, switched_off
from guideplug.testing import GaussianDenoiser


class Omega(Weight):
    def forward(self, at):
        return 1.0


def named_weight(name):
    class Named(Weight):
        def forward(self, at):
            return 1.0

        def extra_repr(self):
            return name

    return Named()


BASE, WEAK = GaussianDenoiser(0.1), GaussianDenoiser(0.4)
LABELLED = GaussianDenoiser(0.1, conditioning="labels")
NAMES = {BASE: "main", WEAK: "weak", LABELLED: "main"}


@pytest.mark.parametrize(
    ("point", "text"),
    [
        (BASE, "main(x)"),
        (BASE + 2 * (BASE - WEAK), "3 main(x) - 2 weak(x)"),
        (BASE + 0.5 * (WEAK - BASE), "0.5 main(x) + 0.5 weak(x)"),
        (BASE + (BASE - WEAK), "2 main(x) - weak(x)"),
        (BASE + 2 * (WEAK - BASE), "-main(x) + 2 weak(x)"),
        (BASE + 2.5 * (WEAK - BASE), "-1.5 main(x) + 2.5 weak(x)"),
        (BASE + (WEAK - BASE), "weak(x)"),
        (BASE + 3 * (BASE - BASE), "main(x)"),
        (LABELLED + (LABELLED - LABELLED.unconditional()), "2 main(x, c) - main(x, null)"),
        (LABELLED + (LABELLED - LABELLED.under(torch.zeros(1))), "2 main(x, c) - main(x, fixed)"),
        (LABELLED.unconditional(), "main(x, null)"),
        (Combine([BASE, BASE + (BASE - WEAK)], lambda o, x, s: o[0]), "combine(main(x), 2 main(x) - weak(x))"),
        (
            BASE + (BASE - Combine([BASE, WEAK], lambda o, x, s: o[0], written="apg({})")),
            "2 main(x) - apg(main(x), weak(x))",
        ),
        (BASE + 0.5 * (BASE - Combine([BASE], lambda o, x, s: x, written="x")), "1.5 main(x) - 0.5 x"),
        (
            Combine([LABELLED], begin=lambda: lambda o, x, s: o[0], written="f({})").unconditional().trajectory(),
            "f(main(x, null))",
        ),
        (BASE + Omega() * (BASE - WEAK), "main(x) + omega (main(x) - weak(x))"),
        (BASE + Omega() * (WEAK - BASE), "main(x) + omega (weak(x) - main(x))"),
        (
            BASE + 2 * Gate(0.2, 1.0) * (BASE - WEAK),
            "main(x) + 2 [0.2 < sigma <= 1] (main(x) - weak(x))",
        ),
        (BASE + (Gate(0.1) - 1) * (BASE - WEAK), "main(x) + ([sigma > 0.1] - 1) (main(x) - weak(x))"),
        (BASE + Gate(0.1) * (BASE - WEAK), "main(x) + [sigma > 0.1] (main(x) - weak(x))"),
        (BASE + Gate(0.0, 0.3) * (BASE - WEAK), "main(x) + [sigma <= 0.3] (main(x) - weak(x))"),
    ],
)
def test_formulas(point, text):
    assert formula(point, NAMES) == text


RAMP, FADE, GATE = named_weight("ramp"), named_weight("fade"), Gate(0.1)
OTHER = GaussianDenoiser(0.7)


@pytest.mark.parametrize(
    ("point", "text"),
    [
        (BASE + (RAMP - 1) * GATE * (BASE - WEAK), "main(x) + (ramp - 1) [sigma > 0.1] (main(x) - weak(x))"),
        (BASE + 2.5 * (2 * RAMP - 3) * (BASE - WEAK), "main(x) + 5 (ramp - 1.5) (main(x) - weak(x))"),
        (BASE + (3 * RAMP - 1) * (BASE - WEAK), "main(x) + (3 ramp - 1) (main(x) - weak(x))"),
        (BASE + GATE * (WEAK - OTHER), "main(x) + [sigma > 0.1] (weak(x) - other(x))"),
        (
            BASE + (BASE - WEAK) + GATE * (BASE - OTHER),
            "2 main(x) - weak(x) + [sigma > 0.1] (main(x) - other(x))",
        ),
        (
            BASE + GATE * ((BASE - WEAK) + 0.5 * (BASE - OTHER)),
            "main(x) + [sigma > 0.1] (1.5 main(x) - weak(x) - 0.5 other(x))",
        ),
        (
            BASE + (RAMP - 1) * (BASE - WEAK) + (FADE - 1) * (BASE - OTHER),
            "main(x) + (ramp - 1) (main(x) - weak(x)) + (fade - 1) (main(x) - other(x))",
        ),
        (BASE + (RAMP - 1) * (FADE - 1) * (BASE - WEAK), "main(x) + (ramp - 1) (fade - 1) (main(x) - weak(x))"),
        (BASE + (RAMP + FADE - 1) * (BASE - WEAK), "main(x) + (ramp + fade - 1) (main(x) - weak(x))"),
        (
            BASE + (RAMP * FADE + 2 * RAMP + FADE + 3) * (BASE - WEAK),
            "main(x) + (ramp fade + 2 ramp + fade + 3) (main(x) - weak(x))",
        ),
        (BASE + (RAMP - 1) * RAMP * (BASE - WEAK), "main(x) + (ramp - 1) ramp (main(x) - weak(x))"),
    ],
)
def test_weights_are_factored(point, text):
    assert formula(point, {**NAMES, OTHER: "other"}) == text


NETWORKS = {BASE: "main", WEAK: "weak", OTHER: "other"}
VALUES = {"ramp": 3.25, "fade": -0.75, "[sigma > 0.1]": 0.625}
OUTPUTS = {"main": 1.0, "weak": -17.0, "other": 139.0}
NUMBERS = st.sampled_from([-2.0, -1.0, -0.3, 1.0, 0.5, 1 / 3, 2.0])
WEIGHTS = st.recursive(
    NUMBERS | st.sampled_from([RAMP, FADE, GATE]),
    lambda inner: (
        st.tuples(inner, inner).map(lambda pair: pair[0] + pair[1])
        | st.tuples(inner, inner).map(lambda pair: pair[0] * pair[1])
    ),
    max_leaves=4,
)
POINTS = st.recursive(
    st.sampled_from(list(NETWORKS)),
    lambda inner: st.tuples(inner, WEIGHTS, inner, inner).map(
        lambda parts: parts[0] + parts[1] * (parts[2] - parts[3])
    ),
    max_leaves=6,
)


def value_of(text):
    """The number that a printed formula is, read as Python with a product where two things stand side by side."""
    pattern = r"\[sigma > 0.1\]|(?:main|weak|other)\(x\)|ramp|fade|[0-9.]+(?:e[+-]?[0-9]+)?|[()+-]"
    tokens = re.findall(pattern, text)
    assert "".join(tokens).replace(" ", "") == text.replace(" ", "")
    python = ""
    for before, token in zip(["(", *tokens], tokens, strict=False):
        product = before not in "(+-" and token not in ")+-"
        value = VALUES.get(token, OUTPUTS.get(token.removesuffix("(x)"), token))
        python += ("*" if product else "") + (f"({value})" if value != token else token)
    return eval(python, {"__builtins__": {}})


@settings(deadline=None, max_examples=100, derandomize=True)
@given(POINTS)
def test_a_printed_formula_is_the_normal_form(point):
    expected = magnitude = 0.0
    for query, coefficient in point.terms.items():
        for factors, number in coefficient.monomials.items():
            product = number * OUTPUTS[NETWORKS[query.source]]
            for weight in factors:
                product *= VALUES[weight.extra_repr()]
            expected, magnitude = expected + product, magnitude + abs(product)
    text = formula(point, NETWORKS)
    assert value_of(text) == pytest.approx(expected, abs=1e-5 * magnitude), text


def test_a_network_without_a_name_goes_by_its_class():
    assert formula(BASE + (BASE - WEAK), {BASE: "main"}) == "2 main(x) - GaussianDenoiser(x)"


@settings(deadline=None, max_examples=60, derandomize=True)
@given(st.lists(st.floats(-9, 9).map(lambda w: round(w, 2)), min_size=1, max_size=4))
def test_the_numbers_of_a_formula_are_the_coefficients(weights):
    nets = [GaussianDenoiser(0.1 * i) for i in range(len(weights))]
    point = BASE
    for net, weight in zip(nets, weights, strict=True):
        point = point + weight * (BASE - net)
    text = formula(point, {BASE: "main", **{net: f"net{i}" for i, net in enumerate(nets)}})
    found = {}
    for sign, number, name in re.findall(r"(?:^|(?<= ))(- |-|\+ )?([0-9.e-]*) ?(\w+)\(x\)", text):
        found[name] = float(number or 1) * (-1 if "-" in sign else 1)
    expected = {"main": 1 + sum(weights), **{f"net{i}": -weight for i, weight in enumerate(weights)}}
    for name, value in expected.items():
        assert found.get(name, 0) == pytest.approx(value, abs=1e-4, rel=1e-4), text


def test_calls_depend_on_the_level_and_on_a_condition_being_given():
    guided = LABELLED + 2 * (LABELLED - LABELLED.unconditional()) + Gate(0.2, 1.0) * (LABELLED - WEAK)
    one, two = Count(1, 1), Count(1, 2)
    assert calls(guided, 0.5) == {LABELLED: two, WEAK: one}
    assert calls(guided, 2.0) == {LABELLED: two}
    assert calls(guided, 2.0, conditional=False) == {LABELLED: one}
    assert calls(BASE + (WEAK - BASE), 1.0) == {WEAK: one}


def test_calls_see_through_functions():
    both = Combine([LABELLED, LABELLED.unconditional(), WEAK], lambda outputs, x, sigma: outputs[0])
    assert calls(LABELLED + 0.5 * (both - LABELLED), 1.0) == {LABELLED: Count(1, 2), WEAK: Count(1, 1)}


@frozen
class Twice(Change):
    """At twice the level."""

    def level(self, sigma):
        return 2 * sigma


def test_what_is_off_is_said_at_the_level_at_which_it_is_asked():
    inner = BASE + Gate(1.0) * (BASE - WEAK)
    guided = BASE + Gate(0.0, 3.0) * (BASE - View(inner, Twice()))
    assert switched_off(guided, 2.0) == []
    assert switched_off(guided, 0.4) == ["[sigma > 1]"]
    assert switched_off(guided, 0.6) == []
    assert switched_off(guided, 4.0) == ["[sigma <= 3]"]
    assert WEAK not in calls(guided, 0.4)
    assert WEAK in calls(guided, 0.6)


def test_a_weight_of_the_next_level_is_told_it():
    class Until(Weight):
        def forward(self, at):
            return 0.0 if at.toward is None or at.toward < 0.5 else 1.0

    guided = BASE + Until() * (BASE - WEAK)
    assert WEAK in calls(guided, 1.0, toward=0.7)
    assert WEAK not in calls(guided, 1.0, toward=0.2)
