"""Guidance weights as values: numbers, modules of (condition, sigma, toward), and their polynomials.

A guider's weight may be a plain number, or a module that gives a weight for each condition and noise level. Sums and
products of the two are kept as polynomials, so that the coefficient of every network in a composed guider is known
before anything is evaluated: where it is zero, the network is not called.
"""

import abc
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias, Union, cast

from torch import Tensor, nn

from guideplug.denoise.condition import Condition

__all__ = ["Level", "Number", "Polynomial", "Scalar", "Weight", "polynomial"]

Number: TypeAlias = float | int
Level: TypeAlias = float | Tensor
Monomial: TypeAlias = tuple["Weight", ...]
Scalar: TypeAlias = Union[Number, "Weight", "Polynomial"]


class _Arithmetic:
    """Sums, differences and products of weights and numbers are polynomials."""

    def __add__(self, other: Scalar) -> "Polynomial":
        return _combined(self, other, _add)

    def __radd__(self, other: Scalar) -> "Polynomial":
        return _combined(self, other, _add)

    def __sub__(self, other: Scalar) -> "Polynomial":
        return _combined(self, other, lambda a, b: _add(a, _times(b, polynomial(-1.0))))

    def __rsub__(self, other: Scalar) -> "Polynomial":
        return _combined(self, other, lambda a, b: _add(b, _times(a, polynomial(-1.0))))

    def __mul__(self, other: Scalar) -> "Polynomial":
        return _combined(self, other, _times)

    def __rmul__(self, other: Scalar) -> "Polynomial":
        return _combined(self, other, _times)

    def __neg__(self) -> "Polynomial":
        return self * -1.0


class Weight(_Arithmetic, nn.Module, abc.ABC):
    """A guidance weight that depends on the condition, the noise level and the level that the step goes towards."""

    @abc.abstractmethod
    def forward(self, condition: Condition, sigma: Level, toward: Level | None) -> Level:
        """The weight: a float where it is decided on the host, else a tensor, scalar or (B,).

        Args:
            condition: None, a tensor or a mapping, batch first.
            sigma: the noise level in data units: a float from samplers, a tensor (B,) in training.
            toward: the next grid level below, or None outside a sampler; a weight that needs it raises ValueError.
        """

    def zero_at(self, sigma: float, toward: float | None) -> bool:
        """Whether the weight is 0 at this level whatever the condition, so that its term need not be evaluated."""
        return False


class Polynomial(_Arithmetic):
    """A sum of products of weights, each with a number in front. Immutable."""

    def __init__(self, monomials: Mapping[Monomial, float]) -> None:
        self.monomials = {factors: number for factors, number in monomials.items() if number != 0.0}

    @property
    def constant(self) -> float | None:
        """The number that this is, if it is one whatever the level."""
        if not self.monomials:
            return 0.0
        if len(self.monomials) == 1 and () in self.monomials:
            return self.monomials[()]
        return None

    @property
    def weights(self) -> list[Weight]:
        """The distinct weights in it."""
        return list(dict.fromkeys(weight for factors in self.monomials for weight in factors))

    def value(
        self, condition: Condition, sigma: Level, toward: Level | None, known: dict[Weight, Level] | None = None
    ) -> Level:
        """The value at one level: a float where the host can tell, else a tensor. Each weight is evaluated once.

        A product with a factor that says it is 0 at a float ``sigma`` is 0, and its other factors are not evaluated.
        """
        known = {} if known is None else known
        total: Any = 0.0
        for factors, number in self.monomials.items():
            if isinstance(sigma, float) and any(_is_zero(weight, sigma, toward) for weight in factors):
                continue
            product: Any = number
            for weight in factors:
                if weight not in known:
                    known[weight] = weight(condition, sigma, toward)
                product = product * known[weight]
            total = total + product
        found: Level = total
        return found


def _is_zero(weight: Weight, sigma: float, toward: Level | None) -> bool:
    return weight.zero_at(sigma, toward if toward is None else float(toward))


def polynomial(value: object) -> Polynomial:
    """The polynomial that a number, weight or polynomial is.

    Raises:
        TypeError: it is none of these.
    """
    if isinstance(value, Polynomial):
        return value
    if isinstance(value, Weight):
        return Polynomial({(value,): 1.0})
    if isinstance(value, int | float) and not isinstance(value, bool):
        return Polynomial({(): float(value)})
    raise TypeError(f"a weight is a number or a guideplug.Weight, not {type(value).__name__}")


def _combined(left: object, right: object, operation: Callable[[Polynomial, Polynomial], Polynomial]) -> Polynomial:
    try:
        pair = polynomial(left), polynomial(right)
    except TypeError:
        return cast(Polynomial, NotImplemented)  # let the other operand answer: a direction knows how to be scaled
    return operation(*pair)


def _add(left: Polynomial, right: Polynomial) -> Polynomial:
    total = dict(left.monomials)
    for factors, number in right.monomials.items():
        total[factors] = total.get(factors, 0.0) + number
    return Polynomial(total)


def _times(left: Polynomial, right: Polynomial) -> Polynomial:
    total: dict[Monomial, float] = {}
    for a, x in left.monomials.items():
        for b, y in right.monomials.items():
            factors = tuple(sorted((*a, *b), key=id))
            total[factors] = total.get(factors, 0.0) + x * y
    return Polynomial(total)
