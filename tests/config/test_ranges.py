"""Ranges in expressions, spread out."""

import pytest

from guideplug.config import expand_ranges
from guideplug.errors import ConfigError, ExpressionError


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("cfg", ["cfg"]),
        ("cfg(weight=2)", ["cfg(weight=2)"]),
        ("cfg(weight=1:2:0.5)", ["cfg(weight=1.0)", "cfg(weight=1.5)", "cfg(weight=2.0)"]),
        ("cfg(1:3:1)", ["cfg(1)", "cfg(2)", "cfg(3)"]),
        ("cfg(weight=3:1:-1)", ["cfg(weight=3)", "cfg(weight=2)", "cfg(weight=1)"]),
        ("cfg(weight=1:1.9:0.5)", ["cfg(weight=1.0)", "cfg(weight=1.5)"]),
        (
            "interval(cfg(weight=1:2:1), low=0.1)",
            ["interval(cfg(weight=1), low=0.1)", "interval(cfg(weight=2), low=0.1)"],
        ),
        ("blend([cfg], shares=[1:2:1])", ["blend([cfg], shares=[1])", "blend([cfg], shares=[2])"]),
    ],
)
def test_an_expression_for_each_number(text: str, found: list[str]) -> None:
    assert expand_ranges(text) == found


def test_every_combination_of_several() -> None:
    assert expand_ranges("blend([cfg(1:2:1), x(3:4:1)])") == [
        "blend([cfg(1), x(3)])", "blend([cfg(1), x(4)])", "blend([cfg(2), x(3)])", "blend([cfg(2), x(4)])",
    ]  # fmt: skip


def test_the_papers_weights_are_exact() -> None:
    found = expand_ranges("autoguidance(weight=1:3.5:0.05)")
    assert len(found) == 51
    assert found[22] == "autoguidance(weight=2.1)"
    assert found[-1] == "autoguidance(weight=3.5)"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("cfg(weight=1:2:0)", "has no number"),
        ("cfg(weight=1:2:-1)", "has no number"),
        ("cfg(weight=0:1:0.000001)", "1,000,001 numbers: give a larger step"),
        ("blend([cfg(0:99:1), x(0:99:1)])", "more than 1000 expressions"),
    ],
)
def test_ranges_that_are_none(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        expand_ranges(text)


def test_what_is_no_expression() -> None:
    with pytest.raises(ExpressionError):
        expand_ranges("cfg(weight=1:2:")
