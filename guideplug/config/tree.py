"""The values of constructor expressions as a tree, and the tree as text.

Nodes are validated on construction, so that every node has a text that parses to it. A node's span is its position in
the text, and is ignored in comparisons.
"""

import re
import sys
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from guideplug.errors import ExpressionError

__all__ = [
    "CONSTANTS",
    "CONTROL",
    "ESCAPES",
    "PAIRED",
    "WORD",
    "Call",
    "Keyword",
    "ListValue",
    "Literal",
    "Plain",
    "Quantity",
    "Range",
    "Span",
    "Value",
    "Word",
    "field_name",
    "format_value",
    "is_name",
    "strategy_name",
]

Span: TypeAlias = tuple[int, int]

WORD = re.compile(r"(?!\.[0-9])[A-Za-z_.~/][A-Za-z0-9_.~/:+-]*")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*")
CONSTANTS: Final[dict[str, bool | None]] = {"true": True, "false": False, "none": None}
PAIRED: Final = "zip"
"""The name of the construct whose ranges vary together; reserved, not a name of strategies."""
ESCAPES: Final = {"\\": "\\", "'": "'", '"': '"', "n": "\n", "t": "\t"}
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def strategy_name(text: str) -> str:
    """The canonical spelling of a strategy's name: `early_jest` and `early-jest` are `early-jest`."""
    return text.replace("_", "-")


def field_name(text: str) -> str:
    """The canonical spelling of a field's keyword: `filter-ratio` and `filter_ratio` are `filter_ratio`."""
    return text.replace("-", "_")


def is_name(text: str) -> bool:
    """Whether a text may name a strategy or an option."""
    return bool(_NAME.fullmatch(text)) and text.lower() not in {*CONSTANTS, "inf", "nan"}


def _is_word(text: str) -> bool:
    return bool(WORD.fullmatch(text)) and text.lower() not in {*CONSTANTS, "inf", "nan"}


def _fits(number: object) -> bool:
    """Whether a number is an int or float (no bool) that is finite as a float."""
    return (type(number) is int or type(number) is float) and abs(number) <= sys.float_info.max


@dataclass(frozen=True, slots=True)
class _Node:
    span: Span = field(default=(0, 0), compare=False, repr=False, kw_only=True)


@dataclass(frozen=True, slots=True)
class Word(_Node):
    """A bare word: a strategy without options, or a string, depending on the expected type."""

    text: str

    def __post_init__(self) -> None:
        if not _is_word(self.text):
            raise ValueError(f"{self.text!r} is no bare word; use Literal")


class UnwritableText(ExpressionError, ValueError):
    """A text with a control character, which no expression can hold."""


@dataclass(frozen=True, slots=True, eq=False)
class Literal(_Node):
    """A quoted string, a number, true, false or none; 1, 1.0 and true differ, and nan equals itself."""

    value: str | int | float | bool | None

    def __post_init__(self) -> None:
        value = self.value
        if type(value) not in (str, int, float, bool, type(None)):
            raise ValueError(f"{value!r} is no string, number, boolean or none")
        if isinstance(value, str) and CONTROL.search(value):
            raise UnwritableText(f"{value!r} holds a control character, which no text can hold: rename it")
        if type(value) is int and not _fits(value):
            raise ValueError("an integer that is too large for a float")

    def __eq__(self, other: object) -> bool:
        return repr(self.value) == repr(other.value) if isinstance(other, Literal) else NotImplemented

    def __hash__(self) -> int:
        return hash(repr(self.value))


@dataclass(frozen=True, slots=True)
class ListValue(_Node):
    """Values in square brackets."""

    items: tuple["Value", ...]


@dataclass(frozen=True, slots=True)
class Quantity(_Node):
    """A number and its unit, such as `512it`; not interpreted here."""

    number: int | float
    unit: str

    def __post_init__(self) -> None:
        if not _fits(self.number) or not re.fullmatch("[A-Za-z]+", self.unit):
            raise ValueError(f"({self.number!r}, {self.unit!r}) is no finite number and a unit of letters")


@dataclass(frozen=True, slots=True)
class Range(_Node):
    """`start:stop:step`; not expanded here."""

    start: int | float
    stop: int | float
    step: int | float

    def __post_init__(self) -> None:
        if not all(map(_fits, (self.start, self.stop, self.step))):
            raise ValueError(f"{self!r} is not made of three finite numbers")


@dataclass(frozen=True, slots=True)
class Keyword(_Node):
    """One named argument; its span covers name and value."""

    name: str
    value: "Value"

    def __post_init__(self) -> None:
        if not is_name(self.name) or self.name != field_name(self.name):
            raise ValueError(f"{self.name!r} is no canonical field name")


@dataclass(frozen=True, slots=True)
class Call(_Node):
    """A strategy with options: its canonical name, positional arguments, and keywords (no two of one name)."""

    name: str
    args: tuple["Value", ...] = ()
    kwargs: tuple[Keyword, ...] = ()

    def __post_init__(self) -> None:
        if not is_name(self.name) or self.name != strategy_name(self.name):
            raise ValueError(f"{self.name!r} is no canonical strategy name")
        if len({keyword.name for keyword in self.kwargs}) < len(self.kwargs):
            raise ValueError(f"{self.name} repeats a keyword")


Value: TypeAlias = Call | ListValue | Literal | Quantity | Range | Word
Plain: TypeAlias = "str | int | float | bool | list[Plain | Value] | tuple[Plain | Value, ...] | None"


def _quoted(text: str) -> str:
    quote = '"' if "'" in text and '"' not in text else "'"
    names = {
        character: "\\" + letter for letter, character in ESCAPES.items() if character not in "'\"" or letter == quote
    }
    return quote + "".join(names.get(character, character) for character in text) + quote


def format_value(value: "Value | Plain") -> str:
    """The canonical text of a tree, or of a plain Python value (with trees in its lists).

    `parse(format_value(tree)) == tree` for every tree within the limits of length and nesting. A plain string is quoted
    only if it would not parse as a word of the same text. Raises `ValueError` for a string with a control
    character and for an integer that no float can hold, `TypeError` for values of other types.
    """
    match value:
        case Call(name, args, kwargs):
            inside = [*map(format_value, args), *(f"{key.name}={format_value(key.value)}" for key in kwargs)]
            return f"{name}({', '.join(inside)})"
        case ListValue(items):
            return f"[{', '.join(map(format_value, items))}]"
        case list() | tuple():
            return f"[{', '.join(map(format_value, value))}]"
        case Word(text):
            return text
        case Quantity(number, unit):
            return f"{number!r}{unit}"
        case Range(start, stop, step):
            return f"{start!r}:{stop!r}:{step!r}"
        case Literal(str(text)):
            return _quoted(text)
        case Literal(bool() | None as constant):
            return str(constant).lower()
        case Literal(number):
            return repr(number)
        case str():
            return format_value(Word(text) if _is_word(text := str.__str__(value)) else Literal(text))
        case bool() | None:
            return format_value(Literal(value))
        case int():
            return format_value(Literal(int(value)))
        case float():
            return format_value(Literal(float(value)))  # also NumPy's, whose repr is not a number
    raise TypeError(f"{type(value).__name__} is no value of an expression")
