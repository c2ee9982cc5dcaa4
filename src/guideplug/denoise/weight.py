"""Guidance weights as values: numbers, schedules, modules of (condition, sigma, toward), and their polynomials.

A guider's weight may be a plain number, a schedule, which is an option like a number and a function of the noise level,
or a module that gives a weight for each condition and noise level. Sums and products of them are kept as polynomials,
so that the coefficient of every network in a composed guider is known before anything is evaluated: where it is zero,
the network is not called.

A schedule may depend on the range of levels, and its user need not know that: it takes the space of the direction that
it is multiplied with.
"""

import abc
import itertools
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, TypeAlias, Union, cast, final

import torch
from torch import Tensor, nn

from guideplug.config import Strategy, short
from guideplug.denoise.condition import Condition
from guideplug.denoise.space import Space

__all__ = ["Level", "Number", "Polynomial", "Scalar", "Weight", "WeightSchedule", "polynomial"]

Number: TypeAlias = float | int
Level: TypeAlias = float | Tensor
Monomial: TypeAlias = tuple["Weight", ...]
Scalar: TypeAlias = Union[Number, "Weight", "WeightSchedule", "Polynomial"]


_created = itertools.count()


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

    def __init__(self) -> None:
        super().__init__()
        self._number = next(_created)

    @property
    def order(self) -> tuple[int, int, str]:
        """Where it stands in a product: those that are equal stand at one place, others as they were made."""
        return 1, self._number, ""

    def within(self, space: Space) -> "Weight":
        """The weight as a factor of denoisers of this space: itself, unless it waits to be told the range of levels."""
        return self


class WeightSchedule(_Arithmetic, Strategy):
    """A guidance weight that is a function of the noise level, for any option that takes a weight: w(sigma).

    A schedule is a final frozen attrs class whose fields are its options. It knows no guider: where the option is a
    weight, off at 1, so are its values, and where it is another strength, they are that.
    """

    kind: ClassVar[str] = "weight"

    @abc.abstractmethod
    def at(self, sigma: Level, space: Space) -> Level:
        """The weight: a float for a float, for a tensor a tensor of its shape, on its device, without looking into it.

        Args:
            sigma: the noise level in data units, which may lie outside the space's range.
            space: of the denoisers that are weighed; its range of levels is what a trajectory passes through.
        """

    @property
    @abc.abstractmethod
    def least(self) -> float:
        """A bound below all its weights, for options that refuse small ones."""

    def __str__(self) -> str:
        return short(self)


@final
class Scheduled(Weight):
    """A weight schedule as a factor; those of equal schedules and spaces are equal, so that their terms are one."""

    def __init__(self, schedule: WeightSchedule, space: Space | None = None) -> None:
        super().__init__()
        self.schedule, self.space = schedule, space

    def forward(self, condition: Condition, sigma: Level, toward: Level | None) -> Level:
        """The schedule's weight, in float32 at least."""
        assert self.space is not None  # a direction says it, and what has no direction is not evaluated
        if isinstance(sigma, Tensor):
            sigma = sigma.to(torch.promote_types(sigma.dtype, torch.float32))
        return self.schedule.at(sigma, self.space)

    def zero_at(self, sigma: float, toward: float | None) -> bool:
        """Whether the schedule is 0 at the level."""
        return bool(self(None, sigma, toward) == 0.0)

    def within(self, space: Space) -> Weight:
        return self if self.space is not None else Scheduled(self.schedule, space)

    @property
    def order(self) -> tuple[int, int, str]:
        return 0, 0, f"{self.schedule} {self.space}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Scheduled) and (self.schedule, self.space) == (other.schedule, other.space)

    def __hash__(self) -> int:
        return hash((self.schedule, self.space))

    def extra_repr(self) -> str:
        """As printed in a formula."""
        return str(self.schedule)


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

    def within(self, space: Space) -> "Polynomial":
        """The same polynomial as a factor of denoisers of a space."""
        total: dict[Monomial, float] = {}
        for factors, number in self.monomials.items():
            told = _product(weight.within(space) for weight in factors)
            total[told] = total.get(told, 0.0) + number
        return Polynomial(total)


def _is_zero(weight: Weight, sigma: float, toward: Level | None) -> bool:
    return weight.zero_at(sigma, toward if toward is None else float(toward))


def polynomial(value: object) -> Polynomial:
    """The polynomial that a number, weight, schedule or polynomial is.

    Raises:
        TypeError: it is none of these.
    """
    if isinstance(value, Polynomial):
        return value
    if isinstance(value, Weight):
        return Polynomial({(value,): 1.0})
    if isinstance(value, WeightSchedule):
        return Polynomial({(Scheduled(value),): 1.0})
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
            factors = _product((*a, *b))
            total[factors] = total.get(factors, 0.0) + x * y
    return Polynomial(total)


def _product(factors: Iterable[Weight]) -> Monomial:
    """Factors in an order of their own, the same in every process: products are the same to the last bit."""
    return tuple(sorted(factors, key=lambda weight: weight.order))
