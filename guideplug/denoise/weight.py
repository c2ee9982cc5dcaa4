"""Guidance weights as values: numbers, schedules, modules, and their polynomials.

A guider's weight may be a plain number, a schedule, which is an option like a number and a function of the noise level,
or a module that gives a weight for each condition and noise level. Sums and products of them are kept as polynomials,
so that the coefficient of every network in a composed guider is known before anything is evaluated: where it is zero,
the network is not called.

Weights and schedules see one value, `WeightInput`: the level, the next one, the step, the space and the condition.
"""

import abc
import itertools
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, TypeAlias, Union, cast, final

import torch
from attrs import evolve
from torch import Tensor, nn

from guideplug.config import Strategy, short
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
    """A guidance weight that is a module: of the condition, the noise level, the step that the sampler is in."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        adapt_weight(cls)

    @abc.abstractmethod
    def forward(self, at: WeightInput) -> Level:
        """The weight: a float where it is decided on the host, else a tensor, scalar or (B,)."""

    def zero_at(self, at: WeightInput) -> bool:
        """Whether the weight is 0 there whatever the condition, so that its term need not be evaluated.

        Asked where ``at.sigma`` is a float, sometimes before there is a condition, and answered without a device.
        """
        return False

    def __init__(self) -> None:
        super().__init__()
        self._number = next(_created)

    @property
    def order(self) -> tuple[int, int, str]:
        """Where it stands in a product: those that are equal stand at one place, others as they were made."""
        return 1, self._number, ""


class WeightSchedule(_Arithmetic, Strategy):
    """A guidance weight that is a function, for any option that takes a weight: w(sigma), of the step too.

    A schedule is a final frozen attrs class whose fields are its options. It knows no guider: where the option is a
    weight, off at 1, so are its values, and where it is another strength, they are that.
    """

    kind: ClassVar[str] = "weight"

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        adapt_schedule(cls)

    @abc.abstractmethod
    def at(self, at: WeightInput) -> Level:
        """The weight: a float for a float level, for a tensor a tensor of its shape, on its device, not looked into."""

    @property
    @abc.abstractmethod
    def least(self) -> float:
        """A bound below all its weights, for options that refuse small ones."""

    def __str__(self) -> str:
        return short(self)


@final
class Scheduled(Weight):
    """A weight schedule as a factor; those of equal schedules are equal, so that their terms are one."""

    def __init__(self, schedule: WeightSchedule) -> None:
        super().__init__()
        self.schedule = schedule

    def forward(self, at: WeightInput) -> Level:
        """The schedule's weight, in float32 at least."""
        if isinstance(at.sigma, Tensor):
            at = evolve(at, sigma=at.sigma.to(torch.promote_types(at.sigma.dtype, torch.float32)))
        return self.schedule.at(at)

    def zero_at(self, at: WeightInput) -> bool:
        """Whether the schedule is 0 there."""
        return bool(self.forward(at) == 0.0)

    @property
    def order(self) -> tuple[int, int, str]:
        return 0, 0, str(self.schedule)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Scheduled) and self.schedule == other.schedule

    def __hash__(self) -> int:
        return hash(self.schedule)

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

    def value(self, at: WeightInput, known: dict[Weight, Level] | None = None) -> Level:
        """The value there: a float where the host can tell, else a tensor. Each weight is evaluated once.

        A product with a factor that says it is 0 at a float level is 0, and its other factors are not evaluated.
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
