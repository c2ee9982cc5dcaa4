"""The factors of a polynomial of weights: ``ramp gate - gate`` is ``(ramp - 1) gate``."""

from typing import TypeAlias

from guideplug.denoise.weight import Monomial, Polynomial, Weight

__all__ = ["Factors", "factors", "rounded"]

Sum: TypeAlias = tuple[tuple[Monomial, float], ...]
"""A sum of products of weights, each product with a number in front."""

Factors: TypeAlias = tuple[Sum, ...]
"""A product of sums; empty where it is 1."""


def factors(coefficient: Polynomial) -> tuple[float, Factors]:
    """A number and factors whose product is the coefficient; the first product of each factor has coefficient 1.

    Factors are a weight, or a weight plus a number: a polynomial a w + b is a (w + k) if b = k a.
    """
    if coefficient.constant is not None:
        return coefficient.constant, ()
    for weight in coefficient.weights:
        inside, outside = _split(coefficient, weight)
        ratio = _ratio(outside, inside)
        if ratio is not None:
            number, others = factors(inside)
            factor = ((weight,), 1.0), *([((), ratio)] if ratio else [])
            return number, tuple(sorted((*others, factor), key=_sums_first))
    products = sorted(coefficient.monomials.items(), key=lambda item: -len(item[0]))
    number = products[0][1]
    return number, (tuple((monomial, rounded(other / number)) for monomial, other in products),)


def _sums_first(sum_of_products: Sum) -> tuple[bool, list[tuple[int, int, str]]]:
    """An order of factors that is the same for proportional polynomials."""
    return len(sum_of_products) == 1, [weight.order for weight in sum_of_products[0][0]]


def _split(coefficient: Polynomial, weight: Weight) -> tuple[Polynomial, Polynomial]:
    """The polynomials a and b of ``a weight + b``; b does not contain the weight."""
    inside, outside = {}, {}
    for monomial, number in coefficient.monomials.items():
        if weight in monomial:
            place = monomial.index(weight)
            inside[(*monomial[:place], *monomial[place + 1 :])] = number
        else:
            outside[monomial] = number
    return Polynomial(inside), Polynomial(outside)


def _ratio(numerator: Polynomial, denominator: Polynomial) -> float | None:
    """The ratio of two polynomials if it is a number; else None."""
    if not numerator.monomials:
        return 0.0
    if numerator.monomials.keys() != denominator.monomials.keys():
        return None
    first, *others = (rounded(number / denominator.monomials[f]) for f, number in numerator.monomials.items())
    return first if all(other == first for other in others) else None


def rounded(number: float) -> float:
    """Nine significant digits, so that equal coefficients are equal after rounding errors."""
    return float(f"{number:.9g}")
