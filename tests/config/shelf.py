"""A catalog of one kind, known to nobody else: strategies with every form of option."""

import abc
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import attrs
import pytest

from guideplug.config import (
    Duration,
    Reader,
    Strategy,
    between,
    finite,
    option,
)
from guideplug.errors import ConfigError, GuideplugError, UnknownName, nearest


class Thing(Strategy):
    kind: ClassVar[str] = "thing"

    @abc.abstractmethod
    def do(self) -> None: ...


@attrs.frozen
class Group:
    """Options that belong together."""

    rate: float = option(0.5, help="a rate", validator=between(0, 1))
    count: int = option(1, help="a count")


@attrs.frozen
class Leaf(Thing):
    name = "leaf-thing"
    weight: float = option(2.0, help="w", validator=finite)
    number: int = option(1, help="n")
    flag: bool = option(False, help="f")
    text: str = option("weak", help="t")
    score: Literal["good", "bad", 3] = option("good", help="s")
    pair: tuple[float, int] = option((1.0, 2), help="p")
    many: tuple[float, ...] = option((), help="m")
    until: Duration | None = option(None, help="u")
    maybe: float | None = option(None, help="y")
    word: str | None = option(None, help="o")

    def do(self) -> None: ...


@attrs.frozen
class Wrap(Thing):
    name = "wrap"
    inner: Thing = option(help="what is wrapped")
    group: Group = option(factory=Group, help="options")
    named: Mapping[str, int] = option(factory=dict, help="numbers")

    def do(self) -> None: ...


@attrs.frozen
class Two(Thing):
    name = "two"
    left: Thing = option(help="one")
    right: Thing = option(help="other")

    def __attrs_post_init__(self) -> None:
        if self.left == self.right:
            raise ValueError("left and right are the same: give two things")

    def do(self) -> None: ...


@attrs.frozen
class Optionless(Thing):
    name = "plain"

    def do(self) -> None: ...


@attrs.frozen
class Other(Strategy):
    """Another kind with a name that things have, too."""

    kind: ClassVar[str] = "other"
    name = "plain"
    size: int = option(1, help="s")


class Shelf:
    THINGS: Mapping[str, Any] = {
        **{cls.name: cls for cls in (Leaf, Wrap, Two, Optionless)},
        "wrapped": "wrap(leaf-thing(number=7))",
        "broken": "wrap(leaf-thing",
    }

    def names(self, kind: str) -> list[str]:
        return sorted(self.THINGS) if kind == "thing" else ["plain"] if kind == "other" else []

    def find(self, kind: str, name: str) -> Any:
        if name not in self.names(kind):
            raise UnknownName(f"no {kind} is called {name!r}{nearest(name, self.names(kind))}")
        return Other if kind == "other" else self.THINGS[name]


SHELF = Reader(Shelf())


def thing(text: str) -> Any:
    return SHELF.expression(text, Thing)


def refusal(text: str, error: type[GuideplugError] = ConfigError) -> str:
    with pytest.raises(error) as caught:
        thing(text)
    message = str(caught.value)
    assert "\n" not in message
    return message
