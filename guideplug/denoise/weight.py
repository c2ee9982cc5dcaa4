"""Guidance weights as values: numbers, schedules, modules, and their polynomials.

A guider's weight is a number, a schedule (an option, and a function of the noise level), or a module (a weight per
condition and noise level). Their sums and products are polynomials, so that the coefficient of every network in a
composed guider is known before the evaluation: a network with coefficient zero is not called.

Weights and schedules take one value, `WeightInput`: the level, the next one, the step, the space and the condition.
"""

import abc
import itertools
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, TypeAlias, Union, cast, final

import torch
from attrs import evolve
from torch import Tensor, nn

from guideplug.config import Strategy, breach, described, short
from guideplug.denoise.api1 import adapt_schedule, adapt_weight
from guideplug.denoise.weight_input import Level, WeightInput

__all__ = ["Number", "Polynomial", "Scalar", "Weight", "WeightSchedule", "polynomial"]

Number: TypeAlias = float | int
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
    """A guidance weight as a module: a function of the condition, the noise level and the sampler's step."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        adapt_weight(cls)

    @abc.abstractmethod
    def forward(self, at: WeightInput) -> Level:
        """The weight: a float if computed on the host, else a tensor, scalar or (B,)."""

    in_steps: ClassVar[bool] = False
    """Whether it is defined in the steps of a sampler alone, those that are a `LinearStep`; it raises elsewhere."""

    def zero_at(self, at: WeightInput) -> bool:
        """Whether the weight is 0 for every condition, so that its term need not be evaluated.

        Called with a float ``at.sigma``, possibly before the condition is known; computed on the host.
        """
        return False

    def __init__(self) -> None:
        super().__init__()
        self._number = next(_created)

    @property
    def order(self) -> tuple[int, int, str]:
        """The sort key in a product: equal weights have equal keys, others the order of their creation."""
        return 1, self._number, ""


class WeightSchedule(_Arithmetic, Strategy):
    """A guidance weight as a function w(sigma) of the noise level, or of the step, for any option that takes a weight.

    A schedule is a final frozen attrs class whose fields are its options. It is independent of the guider: its values
    have the meaning of the option, such as a weight, off at 1, or another strength.
    """

    kind: ClassVar[str] = "weight"
    per_row: ClassVar[bool] = False
    """Whether `at` gives a weight per row of x, (rows,), at a float level too."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        adapt_schedule(cls)

    @abc.abstractmethod
    def at(self, at: WeightInput) -> Level:
        """The weight: a float for a float level; for a tensor, a tensor of its shape and device, unread on the host."""

    @property
    @abc.abstractmethod
    def least(self) -> float:
        """A lower bound of its weights, for the validators of options."""

    def __str__(self) -> str:
        return short(self)


@final
class Scheduled(Weight):
    """A weight schedule as a factor; equal schedules give equal factors, whose terms are summed."""

    def __init__(self, schedule: WeightSchedule) -> None:
        super().__init__()
        self.schedule = schedule
        self._least = schedule.least
        if isinstance(self._least, bool) or not isinstance(self._least, int | float):
            raise breach(schedule, f"has {described(self._least)} for its least: give a number")

    def forward(self, at: WeightInput) -> Level:
        """The schedule's weight, in float32 at least."""
        if isinstance(at.sigma, Tensor):
            at = evolve(at, sigma=at.sigma.to(torch.promote_types(at.sigma.dtype, torch.float32)))
        weight = self.schedule.at(at)
        if self.schedule.per_row:
            return weight
        if type(weight) is not float or not isinstance(at.sigma, float) or not self._least <= weight < math.inf:
            self._check(weight, at)
        return weight

    def _check(self, weight: object, at: WeightInput) -> None:
        """Refuse what is no weight; the values of a tensor are not read.

        Raises:
            ContractError: it is no number, not finite, below its bound, or a tensor of another shape than the levels.
        """
        sigma = at.sigma
        if isinstance(sigma, Tensor):
            if not isinstance(weight, Tensor) or weight.shape != sigma.shape or not weight.is_floating_point():
                raise breach(
                    self.schedule, f"gave {described(weight)} for {described(sigma)}: return a tensor of its shape"
                )
        elif isinstance(weight, bool) or not isinstance(weight, int | float):
            raise breach(self.schedule, f"gave {described(weight)} at sigma {sigma:.4g}: return a float for a float")
        elif not math.isfinite(weight):
            raise breach(self.schedule, f"gave {weight} at sigma {sigma:.4g}: return finite weights")
        elif weight < self._least:
            raise breach(
                self.schedule, f"gave {weight:g} at sigma {sigma:.4g}, below its least, {self._least:g}: name a bound"
            )

    def zero_at(self, at: WeightInput) -> bool:
        """Whether the schedule is 0 there."""
        return not self.schedule.per_row and bool(self.forward(at) == 0.0)

    @property
    def order(self) -> tuple[int, int, str]:
        return 0, 0, str(self.schedule)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Scheduled) and self.schedule == other.schedule

    def __hash__(self) -> int:
        return hash(self.schedule)

    def extra_repr(self) -> str:
        """The options as printed in a formula."""
        return str(self.schedule)


class Polynomial(_Arithmetic):
    """A sum of products of weights, each with a numeric coefficient. Immutable."""

    def __init__(self, monomials: Mapping[Monomial, float]) -> None:
        self.monomials = {factors: number for factors, number in monomials.items() if number != 0.0}

    @property
    def constant(self) -> float | None:
        """The number, if the polynomial is constant; else None."""
        if not self.monomials:
            return 0.0
        if len(self.monomials) == 1 and () in self.monomials:
            return self.monomials[()]
        return None

    @property
    def weights(self) -> list[Weight]:
        """The distinct weights in it."""
        return list(dict.fromkeys(weight for factors in self.monomials for weight in factors))

    def value(self, at: WeightInput, known: dict[Weight, Level] | None = None) -> Level:
        """The value: a float if computed on the host, else a tensor. Each weight is evaluated once.

        A product with a factor that is 0 at a float level (`Weight.zero_at`) is 0, and its other factors are not
        evaluated.
        """
        known = {} if known is None else known
        total: Any = 0.0
        for factors, number in self.monomials.items():
            if isinstance(at.sigma, float) and any(weight.zero_at(at) for weight in factors):
                continue
            product: Any = number
            for weight in factors:
                if weight not in known:
                    known[weight] = weight(at)
                product = product * known[weight]
            total = total + product
        sum_of_products: Level = total
        return sum_of_products


def polynomial(value: object) -> Polynomial:
    """A number, weight, schedule or polynomial as a polynomial.

    Raises:
        TypeError: the value is none of these.
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
        return cast(Polynomial, NotImplemented)  # left to the other operand: a direction can be scaled
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
    """Factors in an order that is the same in every process, so that products are equal to the last bit."""
    return tuple(sorted(factors, key=lambda weight: weight.order))
