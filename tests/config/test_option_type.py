"""Options from Python are held to the types that the command line holds them to, of every installed strategy."""

import inspect
from collections.abc import Iterator
from typing import Any, Literal

import attrs
import pytest

from guideplug import ConfigError, Strategy, option
from guideplug.config import Duration
from guideplug.config.option_type import described, fits
from guideplug.registry.registry import Registry

REGISTRY = Registry.installed()
WRONG: tuple[Any, ...] = (
    "no such thing",
    "2",
    2.5,
    -3,
    True,
    None,
    [],
    {},
    (),
    object(),
    b"2",
    1j,
    [object()],
    {"a": object()},
)


def classes() -> Iterator[type[Any]]:
    """Every class that a plugin offers, and the core's."""
    for plugin in REGISTRY.plugins:
        for offer in plugin.offers:
            if isinstance(offer.what, type) and attrs.has(offer.what) and not inspect.isabstract(offer.what):
                yield offer.what


CLASSES = sorted(set(classes()), key=lambda cls: f"{cls.__module__}.{cls.__qualname__}")


def options(cls: type[Any]) -> list["attrs.Attribute[Any]"]:
    attrs.resolve_types(cls, include_extras=True)
    return [one for one in attrs.fields(cls) if one.init and "help" in one.metadata]


def test_there_are_many() -> None:
    assert len(CLASSES) > 60
    assert sum(len(options(cls)) for cls in CLASSES) > 200


def test_every_option_of_every_strategy_refuses_values_of_other_types() -> None:
    cases = 0
    for cls in CLASSES:
        for one in options(cls):
            for value in WRONG:
                try:
                    converted = value if one.converter is None else one.converter(value)  # type: ignore[misc]
                except (ValueError, ConfigError):  # refused already
                    cases += 1
                    continue
                if fits(converted, one.type):
                    continue
                with pytest.raises(TypeError) as error:
                    one.validator(blank(cls), one, converted)  # type: ignore[misc]
                assert str(error.value).startswith(f"{one.alias} is ")
                assert "expected " in str(error.value)
                cases += 1
    assert cases > 2000


def blank(cls: type[Any]) -> Any:
    return object.__new__(cls)


def test_defaults_are_of_their_types() -> None:
    for cls in CLASSES:
        for one in options(cls):
            default = one.default.factory() if hasattr(one.default, "factory") else one.default
            if default is not attrs.NOTHING and not getattr(one.default, "takes_self", False):
                assert fits(default, one.type), f"{cls.__name__}.{one.name}"


def test_every_strategy_names_a_misspelt_option_and_the_nearest() -> None:
    for cls in CLASSES:
        names = [one.alias for one in attrs.fields(cls) if one.init]
        for name in names:
            wrong = f"{name[:-1]}{name[-1]}x"
            with pytest.raises(TypeError, match=f"{cls.__name__} has no option '{wrong}'"):
                cls(**{wrong: 1})
        with pytest.raises(TypeError, match=f"{cls.__name__} takes {len(names)} options"):
            cls(*range(len(names) + 1))


@attrs.frozen
class Example(Strategy):
    """An example."""

    kind, name = "example", "example"
    weight: float = option(1.0, help="a number")
    steps: int | None = option(None, help="steps")
    way: Literal["up", "down"] = option("up", help="way")
    shares: tuple[float, ...] = option((), help="shares", converter=tuple)
    length: Duration = option(Duration(1, "it"), help="length")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"weight": "2"}, "weight is '2': expected a number; write 2 without quotes"),
        ({"weight": True}, "weight is True: expected a number"),
        ({"steps": 2.0}, "steps is 2.0: expected a whole number or none"),
        ({"way": "left"}, "way is 'left': expected one of 'up', 'down'"),
        ({"shares": 3}, "shares is 3: expected a tuple, each a number"),
        ({"shares": ["a"]}, r"shares is \('a',\): expected a tuple, each a number"),
        ({"length": "512it"}, "length is '512it': expected a Duration"),
        ({"wieght": 2}, r"Example has no option 'wieght' \(did you mean 'weight'\?\); it has weight, steps, way"),
    ],
)  # fmt: skip
def test_what_is_said(values: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        Example(**values)


def test_what_is_taken_as_it_is() -> None:
    import numpy as np

    for values in ({"weight": 2}, {"weight": np.float32(2)}, {"steps": np.int64(3)}, {"shares": [1, 2.0]}):
        Example(**values)
    assert Example(weight=2).weight == 2
    with pytest.raises(TypeError, match="weight is 'x'"):
        attrs.evolve(Example(), weight="x")
    assert described(int | None) == "a whole number or none"
