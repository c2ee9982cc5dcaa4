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
        (BASE + Omega() * (BASE - WEAK), "(1 + omega) main(x) - omega weak(x)"),
        (BASE + Omega() * (WEAK - BASE), "(1 - omega) main(x) + omega weak(x)"),
        (
            BASE + 2 * Gate(0.2, 1.0) * (BASE - WEAK),
            "(1 + 2 [0.2 < sigma <= 1]) main(x) - 2 [0.2 < sigma <= 1] weak(x)",
        ),
        (BASE + (Gate(0.1) - 1) * (BASE - WEAK), "[sigma > 0.1] main(x) + (1 - [sigma > 0.1]) weak(x)"),
        (BASE + Gate(0.1) * (BASE - WEAK), "(1 + [sigma > 0.1]) main(x) - [sigma > 0.1] weak(x)"),
        (BASE + Gate(0.0, 0.3) * (BASE - WEAK), "(1 + [sigma <= 0.3]) main(x) - [sigma <= 0.3] weak(x)"),
    ],
)
def test_formulas(point, text):
    assert formula(point, NAMES) == text


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
