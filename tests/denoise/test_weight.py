"""Weights as values: polynomial arithmetic, what is evaluated and when, and weights that learn."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from guideplug.denoise import Combine, Gate, Polynomial, Space, Weight, WeightInput, tally
from guideplug.denoise.weight import polynomial
from guideplug.testing import GaussianDenoiser

laws = settings(deadline=None, max_examples=80, derandomize=True)


class Fixed(Weight):
    """A weight of one value, as a float or a tensor; counts how often it is asked."""

    def __init__(self, level):
        super().__init__()
        self.level, self.num_calls = level, 0

    def forward(self, at):
        self.num_calls += 1
        return self.level


class Off(Fixed):
    """A weight that says that it is 0 at low levels."""

    def zero_at(self, at):
        return at.sigma < 1


NUMBERS = st.sampled_from([0, 1, -1, 2]) | st.floats(-3, 3)
MODULES = [Fixed(value) for value in (0.5, -1.5, 2.0)]
ATOMS = NUMBERS.map(lambda n: (n, float(n))) | st.sampled_from(MODULES).map(lambda w: (w, w.level))
OPERATIONS = st.sampled_from([
    lambda a, b: a + b,
    lambda a, b: a - b,
    lambda a, b: a * b,
    lambda a, b: -a + 2 * b,
])  # fmt: skip
EXPRESSIONS = st.recursive(
    ATOMS, lambda part: st.builds(lambda f, a, b: (f(a[0], b[0]), f(a[1], b[1])), OPERATIONS, part, part), max_leaves=8
)


def at(value, sigma=1.0, **known):
    return polynomial(value).value(WeightInput(sigma, None, Space((2,))), **known)


@laws
@given(EXPRESSIONS)
def test_polynomials_have_the_value_of_the_arithmetic_on_floats(pair):
    value, expected = pair
    assert at(value) == pytest.approx(expected, rel=1e-9, abs=1e-9 * 4**8)


@pytest.mark.slow
@laws
@given(EXPRESSIONS, EXPRESSIONS, EXPRESSIONS)
def test_polynomials_form_a_commutative_ring(first, second, third):
    a, b, c = (polynomial(pair[0]) for pair in (first, second, third))

    def same(left, right):
        keys = {*left.monomials, *right.monomials}
        size = 1 + max((abs(n) for n in [*left.monomials.values(), *right.monomials.values()]), default=0)
        return all(abs(left.monomials.get(k, 0) - right.monomials.get(k, 0)) <= 1e-9 * size for k in keys)

    assert same(a + b, b + a)
    assert same(a * b, b * a)
    assert same((a + b) + c, a + (b + c))
    assert same((a * b) * c, a * (b * c)) or max(map(abs, [0, *(a * b * c).monomials.values()])) > 1e6
    assert same((a - b) + b, a)
    assert (a - a).constant == 0
    assert (a * 0).constant == 0
    assert same(a * 1, a)
    negative = -a
    assert same(-negative, a)


@laws
@given(EXPRESSIONS, EXPRESSIONS, EXPRESSIONS)
def test_products_distribute(first, second, third):
    a, b, c = (polynomial(pair[0]) for pair in (first, second, third))
    left, right = at(a * (b + c)), at(a * b + a * c)
    assert left == pytest.approx(right, rel=1e-6, abs=1e-3)


def test_constants_are_known_beforehand():
    w = MODULES[0]
    assert polynomial(2).constant == 2
    assert polynomial(w).constant is None
    assert (w - w).constant == 0
    assert (w * 0 + 3).constant == 3
    assert (2 * w + 1).constant is None
    assert (2 - w).weights == [w]
    assert (w * MODULES[1] + w).weights in ([w, MODULES[1]], [MODULES[1], w])


@pytest.mark.parametrize("wrong", ["2", None, torch.tensor(2.0), True, [1]])
def test_other_things_are_no_weights(wrong):
    with pytest.raises(TypeError, match=r"a weight is a number or a guideplug\.Weight"):
        polynomial(wrong)
    with pytest.raises(TypeError):
        Gate(1.0) + wrong
    with pytest.raises(TypeError):
        Gate(1.0) * wrong


def test_a_weight_is_evaluated_once_in_one_pass():
    base, weak, other = (GaussianDenoiser(mean) for mean in (0.1, 0.4, 0.7))
    w, v = Fixed(1.5), Fixed(torch.tensor(0.5))
    inner = Combine([base + w * (base - other), base + (w * v) * (base - weak)], lambda o, x, sigma: o[0] + o[1])
    guided = base + w * (base - weak) + w * w * (base - other) + v * (inner - base)
    x = torch.randn(3, 2)
    for sigma in (1.0, torch.ones(3)):
        w.num_calls = v.num_calls = 0
        guided(x, sigma)
        assert (w.num_calls, v.num_calls) == (1, 1)


def test_a_factor_that_is_zero_spares_the_others():
    off, never = Off(3.0), Fixed(2.0)
    assert at(off * never, 0.5) == 0
    assert at(never * off * never + 1, 0.5) == 1
    assert never.num_calls == off.num_calls == 0
    assert at(off * never, 1.0) == 6
    assert (never.num_calls, off.num_calls) == (1, 1)
    base, weak = GaussianDenoiser(0.1), GaussianDenoiser(0.4)
    guided = base + off * never * (base - weak)
    x = torch.randn(3, 2)
    with tally() as counts:
        assert torch.equal(guided(x, 0.5), base(x, 0.5))
    assert counts[weak].calls == 0
    assert never.num_calls == 1


def test_a_tensor_of_levels_is_never_looked_into():
    off = Off(torch.tensor([0.0, 2.0]))
    assert at(3 * off, torch.tensor([0.5, 1.0])).tolist() == [0, 6]


def test_a_weight_of_the_next_level_is_told_it():
    class Step(Weight):
        def forward(self, at):
            if at.toward is None:
                raise ValueError("this weight needs a sampler's next level")
            return at.sigma - at.toward

    base, weak = GaussianDenoiser(0.1), GaussianDenoiser(0.4)
    guided = base + Step() * (base - weak)
    x = torch.randn(3, 2)
    expected = base(x, 3.0) + 2 * (base(x, 3.0) - weak(x, 3.0))
    torch.testing.assert_close(guided(x, 3.0, toward=1.0), expected)
    with pytest.raises(ValueError, match="next level"):
        guided(x, 3.0)


def test_a_weight_is_told_the_condition_of_the_batch():
    class ByLabel(Weight):
        def forward(self, at):
            return 1.0 + at.condition

    base, weak = (GaussianDenoiser(mean, conditioning="labels") for mean in (0.1, 0.4))
    guided = base + ByLabel() * (base - weak)
    x, labels = torch.randn(3, 2), torch.tensor([0, 1, 2])
    rows = [guided(x[i : i + 1], 1.0, labels[i : i + 1]) for i in range(3)]
    d, w = base(x, 1.0, labels), weak(x, 1.0, labels)
    torch.testing.assert_close(guided(x, 1.0, labels), d + (1 + labels[:, None]) * (d - w))
    torch.testing.assert_close(torch.cat(rows), guided(x, 1.0, labels))
    torch.testing.assert_close(guided(x, 1.0, torch.tensor([1])), d.new_tensor(1) * guided(x, 1.0, labels * 0 + 1))


class Learned(Weight):
    """omega + slope * log sigma, one value a row."""

    def __init__(self, omega, slope=0.0):
        super().__init__()
        self.omega, self.slope = (nn.Parameter(torch.tensor(float(value))) for value in (omega, slope))

    def forward(self, at):
        return self.omega + self.slope * torch.as_tensor(at.sigma).log()


@pytest.mark.parametrize("omega", [0.0, 0.3, 1.0, -2.0])  # 0 and 1 are where a coefficient is 0, and must not stay
@pytest.mark.parametrize("sigma", [torch.tensor([0.5, 1.0, 2.0]), 1.5])
def test_a_learned_weight_has_the_gradient_of_the_formula(omega, sigma):
    base, guide = GaussianDenoiser(0.1, 0.5), GaussianDenoiser(0.4, 0.9)
    x = torch.randn(3, 2, generator=torch.Generator().manual_seed(0)).requires_grad_()
    weight = Learned(omega)
    inputs = [weight.omega, weight.slope, x]
    value = (base + weight * (guide - base))(x, sigma)
    found = torch.autograd.grad(value.square().sum(), inputs)
    rows = weight(WeightInput(sigma, None, base.space)).reshape(-1, 1)
    expected = base(x, sigma) + rows * (guide(x, sigma) - base(x, sigma))
    torch.testing.assert_close(value, expected)
    for got, right in zip(found, torch.autograd.grad(expected.square().sum(), inputs), strict=True):
        torch.testing.assert_close(got, right)
    assert found[0].abs() > 1e-3


def test_a_gated_learned_weight_costs_nothing_outside():
    base, guide = GaussianDenoiser(0.1), GaussianDenoiser(0.4)
    guided = base + Gate(0.5, 2.0) * Learned(0.7) * (guide - base)
    x = torch.randn(3, 2)
    with tally() as counts:
        assert torch.equal(guided(x, 3.0), base(x, 3.0))
    assert counts[guide].calls == 0
    torch.testing.assert_close(guided(x, 1.0), 0.3 * base(x, 1.0) + 0.7 * guide(x, 1.0))


def test_polynomials_drop_what_is_zero():
    assert Polynomial({(): 0.0}).monomials == {}
    assert math.isclose(at(Polynomial({(): 2.0, (MODULES[2], MODULES[2]): 3.0})), 14)


def test_factors_stand_in_the_order_in_which_they_were_made() -> None:
    """So that a product has the same last bits in every process, whatever the hashes there."""
    first, second, third = Gate(0.1), Gate(0.2), Gate(0.3)
    wanted = [(first, second, third)]
    for factors in itertools.permutations((first, second, third)):
        product = factors[0] * factors[1] * factors[2]
        assert list(product.monomials) == wanted
