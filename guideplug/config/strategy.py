"""What every strategy is: a final, frozen attrs class whose fields are its options.

A strategy has a ``name``, a ``kind`` (guider, weight, selector, sampler, denoiser, task, recipe, metric), and the paper
it comes from. Its fields are made with `option`, which keeps help and unit beside the default, so that the command
line, the documentation and the error messages tell the same story.
"""

import abc
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NewType, TypeVar

import attrs

__all__ = [
    "Expression",
    "Source",
    "Strategy",
    "at_least",
    "between",
    "decides_nothing",
    "finite",
    "non_negative",
    "option",
    "positive",
]

Expression = NewType("Expression", str)
"""An option that holds a constructor expression as text, such as a guider with a range; quotes may be left out."""

Validator = Callable[[Any, "attrs.Attribute[Any]", Any], Any]


@attrs.frozen
class Source:
    """Where a method comes from: enough to find it and to cite it."""

    authors: str
    year: int
    title: str
    url: str
    equation: str = ""

    def __str__(self) -> str:
        where = f", {self.equation}" if self.equation else ""
        return f"{self.authors} {self.year}, {self.title!r}, {self.url}{where}"


class Strategy(abc.ABC):
    """A plugin's class: guider, weight schedule, selector, sampler, denoiser, task, recipe or metric."""

    kind: ClassVar[str]
    """Which hook it is offered through; set by the abstract class of the kind."""
    name: ClassVar[str]
    """What users call it: lower case, words joined by ``-``."""
    source: ClassVar[Source | None] = None
    """The paper and equation, or None for what needs no reference."""
    decides: ClassVar[bool] = True
    """Whether networks or samples may depend on it; see `decides_nothing`."""

    @classmethod
    def summary(cls) -> str:
        """The first line of its docstring, or its name where it has none."""
        return (cls.__doc__ or cls.name).strip().splitlines()[0]

    @classmethod
    def example(cls, folder: Path) -> Mapping[str, Any]:
        """Values for the options that must be given, with which ``guideplug plugins check`` tries it.

        Needed only for what it cannot choose by itself: texts, files, code. Numbers and other strategies it can.

        Args:
            folder: a new folder, for files that the options name.
        """
        return {}


T = TypeVar("T")


def decides_nothing(what: T) -> T:
    """Mark a method, or a class, that shows, measures or reports, so that no network depends on it.

    Its code is no part of a network's identity, nor is that of the methods that override it, unless something that
    does decide names it. The mark is read from the source (`guideplug.store.source`); a class also has
    ``decides`` false.
    """
    if isinstance(what, type):
        what.decides = False  # type: ignore[attr-defined]
    return what


def option(
    default: Any = attrs.NOTHING,
    *,
    help: str,
    unit: str = "",
    validator: Validator | Sequence[Validator] = (),
    factory: Callable[[], Any] | None = None,
    converter: Callable[[Any], Any] | None = None,
    identity: bool = True,
    decides: bool | None = None,
) -> Any:
    """A field of a strategy, with its help and its unit.

    Args:
        default: the value when none is given; without one the option must be given.
        help: what it does, in a sentence without a full stop.
        unit: the unit of the value, such as "data units" or "iterations".
        validator: attrs validators; `positive`, `non_negative`, `finite`, `at_least` and `between` are here.
        factory: makes the default, instead of ``default``.
        converter: applied to the given value before validation.
        identity: False where it changes no weight, only what is stored beside: no part of a recipe's identity.
        decides: the old spelling of ``identity``, which goes with the next release.
    """
    if decides is not None:
        warnings.warn(
            "option(decides=) is called option(identity=): the old name goes with the next release",
            DeprecationWarning,
            stacklevel=2,
        )
        identity = decides
    checks = list(validator) if isinstance(validator, Sequence) else [validator]
    return attrs.field(
        default=attrs.Factory(factory) if factory is not None else default,
        validator=checks or None,
        converter=converter,
        metadata={"help": help, "unit": unit, "identity": identity},
    )


def _fail(attribute: "attrs.Attribute[Any]", value: object, rule: str) -> None:
    raise ValueError(f"{attribute.name} is {value!r}: it must be {rule}")


def finite(instance: object, attribute: "attrs.Attribute[Any]", value: object) -> None:
    """Refuse NaN and infinity; values that are not numbers pass."""
    if isinstance(value, int | float) and not math.isfinite(value):
        _fail(attribute, value, "a finite number")


def positive(instance: object, attribute: "attrs.Attribute[Any]", value: float) -> None:
    """Refuse what is not a finite number above 0."""
    if not 0 < value < math.inf:
        _fail(attribute, value, "positive and finite")


def non_negative(instance: object, attribute: "attrs.Attribute[Any]", value: Any) -> None:
    """Refuse what is not a finite number of at least 0, and a weight schedule that falls below 0."""
    least = getattr(value, "least", value)
    if not 0 <= least < math.inf:
        shown = repr(value) if least is value else f"{value}, which falls to {least:g}"
        raise ValueError(f"{attribute.name} is {shown}: it must be finite and at least 0")


def at_least(low: float) -> Validator:
    """Refuse numbers below ``low``."""

    def check(instance: object, attribute: "attrs.Attribute[Any]", value: float) -> None:
        if not value >= low:
            _fail(attribute, value, f"at least {low:g}")

    return check


def between(low: float, high: float, *, ends: bool = True) -> Validator:
    """Refuse numbers outside [low, high], or outside (low, high) without the ends."""

    def check(instance: object, attribute: "attrs.Attribute[Any]", value: float) -> None:
        inside = low <= value <= high if ends else low < value < high
        if not inside:
            _fail(attribute, value, f"between {low:g} and {high:g}{'' if ends else ', both excluded'}")

    return check
