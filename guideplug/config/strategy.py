"""Strategies: final, frozen attrs classes whose fields are their options.

A strategy has a ``name``, a ``kind`` (guider, weight, selector, sampler, denoiser, task, recipe, metric), and the
source of its method. Its fields are declared with `option`, which holds help and unit beside the default, for the
command line, the documentation and error messages.
"""

import abc
import functools
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, NewType, TypeVar

import attrs

from guideplug.config.listed import with_lists
from guideplug.config.option_type import check_type
from guideplug.errors import brief, nearest

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
    "up_to",
]

Expression = NewType("Expression", str)
"""An option that holds a constructor expression as text, such as a guider with a range; quotes are optional."""

Validator = Callable[[Any, "attrs.Attribute[Any]", Any], Any]

MOST_WHOLE = 2**63 - 1
LARGEST, SMALLEST = (2 - 2**-23) * 2.0**127, 2.0**-126
"""The largest and the smallest positive number of single precision, without the denormal ones."""


@attrs.frozen
class Source:
    """The source of a method, with the data of a citation."""

    authors: str
    year: int
    title: str
    url: str
    equation: str = ""

    def __str__(self) -> str:
        where = f", {self.equation}" if self.equation else ""
        return f"{self.authors} {self.year}, {self.title!r}, {self.url}{where}"


class StrategyClass(abc.ABCMeta):
    """The class of strategies' classes: a misspelt or a missing option is named, with what there is."""

    def __call__(cls, *values: Any, **options: Any) -> Any:
        """An instance.

        Raises:
            TypeError: an option is unknown, missing, or of the wrong type.
            ValueError: a value is refused.
        """
        values, options = with_lists(cls, values, options)
        try:
            return super().__call__(*values, **options)
        except TypeError:
            if fault := _fault(cls, len(values), options):
                raise TypeError(fault) from None
            raise


def _fault(cls: type, places: int, options: Mapping[str, Any]) -> str:
    """What is wrong with the names of options; empty if they fit."""
    if not attrs.has(cls):
        return ""
    fields = {one.alias: one for one in attrs.fields(cls) if one.init}
    known = ", ".join(map(str, fields)) or "none"
    for name in options:
        if name not in fields:
            return f"{cls.__name__} has no option {name!r}{nearest(name, map(str, fields))}; it has {known}"
    if places > len(fields):
        return f"{cls.__name__} takes {len(fields)} options, {places} were given: {known}"
    rest = list(fields.items())[places:]
    missing = [str(name) for name, one in rest if one.default is attrs.NOTHING and name not in options]
    if missing:
        return f"{cls.__name__} needs {' and '.join(missing)}: write {cls.__name__}({missing[0]}=...)"
    return ""


class Strategy(metaclass=StrategyClass):
    """A plugin's class: guider, weight schedule, selector, sampler, denoiser, task, recipe or metric."""

    kind: ClassVar[str]
    """The kind, and the hook of plugins for it; set by the abstract class of the kind."""
    name: ClassVar[str]
    """The name in expressions: lower case, words joined by ``-``."""
    source: ClassVar[Source | None] = None
    """The paper and equation, or None if no reference is needed."""
    decides: ClassVar[bool] = True
    """Whether networks or samples may depend on it; see `decides_nothing`."""
    of_list: ClassVar["Callable[[tuple[float, ...]], Strategy] | None"] = None
    """What a list of numbers stands for, where a strategy of the kind is expected."""

    @property
    def as_list(self) -> Sequence[float] | None:
        """The list of numbers that it is written as; None for one that is written by its name."""
        return None

    @classmethod
    def summary(cls) -> str:
        """The first line of the docstring, or the name without one."""
        return (cls.__doc__ or cls.name).strip().splitlines()[0]

    @classmethod
    def example(cls, folder: Path) -> Mapping[str, Any]:
        """Values of the required options for ``guideplug plugins check``.

        Needed only for texts, files and code; the command chooses numbers and other strategies itself.

        Args:
            folder: a new folder for files named by the options.
        """
        return {}


T = TypeVar("T")


def decides_nothing(what: T) -> T:
    """Mark a method or a class that shows, measures or reports: no network depends on it.

    Its code, and that of overriding methods, is excluded from the identities of networks, unless code that is included
    names it. The mark is read from the source (`guideplug.store.source`); a class also has ``decides`` false.
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
    identity: bool | Literal["unless default"] = True,
    alias: str | None = None,
    decides: bool | None = None,
) -> Any:
    """A field of a strategy, with its help and its unit.

    Args:
        default: the default value; without one the option is required.
        help: its meaning, in a sentence without a full stop; bounds of `up_to` are added.
        unit: the unit of the value, such as "data units" or "iterations".
        validator: attrs validators; `positive`, `non_negative`, `finite`, `at_least`, `between` and `up_to` are here.
            Numbers that no network can compute with are refused too: see `representable`.
        factory: a function that returns the default, instead of ``default``.
        converter: applied to the given value before validation.
        identity: False if it changes no weight, only further stored files: excluded from a recipe's identity. "unless
            default" for an option added later, whose default is what was done before: excluded at that value, so that
            networks stored before are found.
        alias: the name of the option, where the class has a method of that name; by default the attribute's.
        decides: the old spelling of ``identity``, removed in the next release.
    """
    if decides is not None:
        warnings.warn(
            "option(decides=) is called option(identity=): the old name goes with the next release",
            DeprecationWarning,
            stacklevel=2,
        )
        identity = decides
    checks = list(validator) if isinstance(validator, Sequence) else [validator]
    bounds = [check.bounds for check in checks if isinstance(check, _UpTo)]
    return attrs.field(
        default=attrs.Factory(factory) if factory is not None else default,
        validator=[check_type, *checks, representable],
        converter=None if converter is None else _leaving_others(converter),
        alias=alias,
        metadata={"help": "; ".join([help, *bounds]), "unit": unit, "identity": identity},
    )


def _leaving_others(converter: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A converter that leaves what it cannot convert to the check of its type."""

    @functools.wraps(converter)
    def converted(value: Any) -> Any:
        try:
            return converter(value)
        except (TypeError, AttributeError):
            return value

    return converted


def _fail(attribute: "attrs.Attribute[Any]", value: object, rule: str) -> None:
    raise ValueError(f"{attribute.alias} is {_text(value)}: it must be {rule}")


def _text(value: object) -> str:
    """A value in a message; an integer that Python refuses to write in digits by its length."""
    try:
        return brief(repr(value)) if isinstance(value, int) else repr(value)
    except ValueError:
        return f"a whole number of {value.bit_length():,} bits"  # type: ignore[attr-defined]


def representable(instance: object, attribute: "attrs.Attribute[Any]", value: object) -> None:
    """Refuse NaN, whole numbers of more than 64 bits, and numbers outside of single precision; in sequences too.

    Infinity passes, for it may mean that there is no bound; `finite` refuses it.
    """
    if isinstance(value, list | tuple):
        for item in value:
            representable(instance, attribute, item)
    elif isinstance(value, bool):
        return
    elif isinstance(value, int):
        if not -MOST_WHOLE <= value <= MOST_WHOLE:
            _fail(attribute, value, f"at most {MOST_WHOLE:,} in size, as whole numbers of 64 bits are")
    elif isinstance(value, float):
        if math.isnan(value):
            _fail(attribute, value, "a finite number")
        if math.isfinite(value) and abs(value) > LARGEST:
            _fail(attribute, value, f"at most {LARGEST:g} in size, the largest number of single precision")
        if 0 < abs(value) < SMALLEST:
            _fail(attribute, value, f"0, or at least {SMALLEST:g} in size, the smallest number of single precision")


def finite(instance: object, attribute: "attrs.Attribute[Any]", value: object) -> None:
    """Refuse NaN and infinity; values that are not numbers pass."""
    if isinstance(value, float) and not math.isfinite(value):
        _fail(attribute, value, "a finite number")


def positive(instance: object, attribute: "attrs.Attribute[Any]", value: float) -> None:
    """Refuse values other than finite numbers above 0."""
    if not 0 < value < math.inf:
        _fail(attribute, value, "positive and finite")


def non_negative(instance: object, attribute: "attrs.Attribute[Any]", value: Any) -> None:
    """Refuse values other than finite numbers of at least 0, and weight schedules that fall below 0."""
    least = getattr(value, "least", value)
    if not 0 <= least < math.inf:
        shown = repr(value) if least is value else f"{value}, which falls to {least:g}"
        raise ValueError(f"{attribute.alias} is {shown}: it must be finite and at least 0")


def at_least(low: float) -> Validator:
    """Refuse numbers below ``low``."""

    def check(instance: object, attribute: "attrs.Attribute[Any]", value: float) -> None:
        if not value >= low:
            _fail(attribute, value, f"at least {low:g}")

    return check


@attrs.frozen
class _UpTo:
    """The validator of `up_to`."""

    most: int
    least: int

    @property
    def bounds(self) -> str:
        """The bound that the help of an option names."""
        return f"at most {self.most:,}"

    def __call__(self, instance: object, attribute: "attrs.Attribute[Any]", value: object) -> None:
        if isinstance(value, list | tuple):
            for item in value:
                self(instance, attribute, item)
        elif isinstance(value, int) and not self.least <= value <= self.most:
            _fail(attribute, value, f"at least {self.least}" if value < self.least else self.bounds)


def up_to(most: int, *, least: int = 1) -> Validator:
    """Refuse whole numbers below ``least`` or above ``most``, in sequences too; the option's help says the upper bound.

    For options that decide how much is allocated or how often something is repeated. Values that are no whole numbers,
    such as None, pass.
    """
    return _UpTo(most, least)


def between(low: float, high: float, *, ends: bool = True) -> Validator:
    """Refuse numbers outside [low, high], or outside (low, high) without the ends."""

    def check(instance: object, attribute: "attrs.Attribute[Any]", value: float) -> None:
        inside = low <= value <= high if ends else low < value < high
        if not inside:
            bounds = [f"{bound:,}" if isinstance(bound, int) else f"{bound:g}" for bound in (low, high)]
            _fail(attribute, value, f"between {' and '.join(bounds)}{'' if ends else ', both excluded'}")

    return check
