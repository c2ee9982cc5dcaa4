"""Ranges in expressions, spread out."""

import shlex

import pytest

from guideplug.config import along_range, expand_ranges, parse, without_ranges
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
    ("text", "numbers"),
    [
        ("0:1e-11:2.5e-12", [0.0, 2.5e-12, 5e-12, 7.5e-12, 1e-11]),
        ("1e-12:3e-12:1e-12", [1e-12, 2e-12, 3e-12]),
        ("0.1:0.4:0.1", [0.1, 0.2, 0.3, 0.4]),
        ("1e300:3e300:1e300", [1e300, 2e300, 3e300]),
        ("0:-0.3:-0.1", [0.0, -0.1, -0.2, -0.3]),
        ("0:1:0.3333333334", [0.0, 0.3333333334, 0.6666666668]),
        ("1:9:100", [1]),
    ],
)
def test_numbers_are_decimals_as_they_are_written(text: str, numbers: list[float]) -> None:
    assert expand_ranges(f"cfg({text})") == [f"cfg({number!r})" for number in numbers]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("cfg(weight=0:1e300:1e-300)", "has far too many numbers"),
        ("cfg(weight=0:1:1e-320)", "has far too many numbers"),
        ("cfg(weight=-1e308:1e308:1e-5)", "has far too many numbers"),
        ("cfg(weight=1:1.0000000000000002:1e-17)", "differ by less than a float can tell"),
        ("cfg(weight=0:999:0.999)", "1,001 numbers: give a larger step"),
        ("cfg(weight=1:2:0)", "1:2:0 has no number: its step is 0"),
        ("cfg(weight=3.0:1:.5)", "3.0:1:.5 has no number: its stop 1 is below its start 3.0; write 1:3.0:.5"),
        ("cfg(weight=1:2:-1)", "its step -1 is negative and leads away from 2; write 1:2:1"),
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


@pytest.mark.parametrize("piece", ["1:x:0.5", "1::2", "1:3", ":3:1", "1:2:3:4", "1:"])
@pytest.mark.parametrize("text", ["cfg(weight={})", "blend([cfg({}), sims])"])
def test_what_was_meant_to_be_a_range(text: str, piece: str) -> None:
    column = text.index("{") + 1
    with pytest.raises(ExpressionError) as caught:
        expand_ranges(text.format(piece))
    assert f"{piece!r} is no number, duration (512it), range (1:3:0.5) or word at column {column}" in str(caught.value)


@pytest.mark.parametrize("text", ["load(path=a:b:c)", "x(path=a:3:1)", "load(path=mine:build)", "load(path='1:x:2')"])
def test_paths_with_colons_are_no_ranges(text: str) -> None:
    assert expand_ranges(text) == [text]


def test_along_a_range_the_first_gives_option_and_number() -> None:
    assert along_range("cfg(weight=1:2:0.5)") == [
        ("weight", 1.0, "cfg(weight=1.0)"), ("weight", 1.5, "cfg(weight=1.5)"), ("weight", 2.0, "cfg(weight=2.0)"),
    ]  # fmt: skip
    both = along_range("zip(blend([sims(omega=0:1:1), cfg(weight=1:3:2)], shares=[0.5, 0.5]))")
    assert both == [
        ("omega", 0.0, "blend([sims(omega=0), cfg(weight=1)], shares=[0.5, 0.5])"),
        ("omega", 1.0, "blend([sims(omega=1), cfg(weight=3)], shares=[0.5, 0.5])"),
    ]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("cfg", "has no range"),
        ("cfg(1:2:0.5)", "without the name of its option: write it, as in weight=1:2:0.5"),
        ("zip(blend([cfg(weight=1:3:1), cfg(weight=1:2:1)]))", "ranges of 3 and 2 numbers"),
        (
            "blend([cfg(weight=1:3:1), cfg(weight=1:2:1)])",
            r"keep one range, or give as many .* of each \(3 and 2 now\)",
        ),
    ],
)
def test_what_cannot_be_walked_along(text: str, wanted: str) -> None:
    with pytest.raises(ConfigError, match=wanted):
        along_range(text)


# Ranges side by side

PAIRS = {
    "zip(blend([cfg(1:2:1), x(3:4:1)]))": ["blend([cfg(1), x(3)])", "blend([cfg(2), x(4)])"],
    "blend([zip(cfg(1:2:1)), x(3:4:1)])": expand_ranges("blend([cfg(1:2:1), x(3:4:1)])"),
    "blend(zip([cfg(1:2:1), x(3:4:1)]), y=5:6:1)": [
        "blend([cfg(1), x(3)], y=5)", "blend([cfg(1), x(3)], y=6)", "blend([cfg(2), x(4)], y=5)",
        "blend([cfg(2), x(4)], y=6)",
    ],
    "a(y=5:6:1, z=zip(b(1:2:1, 3:4:1)))": [
        "a(y=5, z=b(1, 3))", "a(y=5, z=b(2, 4))", "a(y=6, z=b(1, 3))", "a(y=6, z=b(2, 4))",
    ],
    "zip(a(1:2:1, zip(b(3:4:1))))": ["a(1, b(3))", "a(2, b(4))"],
    "cfg(weight=zip(1:2:1))": ["cfg(weight=1)", "cfg(weight=2)"],
}  # fmt: skip


@pytest.mark.parametrize("text", PAIRS)
def test_what_zip_makes_of_a_grid(text: str) -> None:
    assert expand_ranges(text) == PAIRS[text]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("zip(cfg)", r"zip\(cfg\) has no range"),
        ("blend([cfg(1:2:1), zip(cfg(2))])", r"zip\(cfg\(2\)\) has no range"),
        ("zip(cfg(1:2:1), x)", "zip takes one expression"),
        ("zip(of=cfg(1:2:1))", "zip takes one expression"),
        ("zip()", "zip takes one expression"),
        ("zip(blend([cfg(w=1:3:1), x(w=1:2:1)]))", "ranges of 3 and 2 numbers, which go side by side in zip"),
    ],
)
def test_what_zip_refuses(text: str, said: str) -> None:
    for reader in (expand_ranges, along_range):
        with pytest.raises(ConfigError, match=said):
            reader(text)


@pytest.mark.parametrize(
    "text", ["blend([cfg(w=1:3:1), x(w=4:6:1)])", "blend([zip(cfg(w=1:3:1)), 'it`s', x(w=4:6:1)])"]
)
def test_a_grid_where_a_curve_is_due_names_the_pairs(text: str) -> None:
    with pytest.raises(ConfigError, match="grid of 2 axes, and a curve has one") as caught:
        along_range(text)
    assert "\n" not in str(caught.value)
    quoted = str(caught.value).partition("side by side write ")[2]
    (corrected,) = shlex.split(quoted)
    assert parse(corrected) == parse(f"zip({text})")
    assert len(along_range(corrected)) == 3


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("cfg(weight=1:2:0.5)", "cfg"),
        ("cfg(1:2:0.5)", "cfg"),
        ("cfg(zip(1:2:0.5))", "cfg"),
        (
            "zip(blend([cfg(weight=1:2:1), x(y=2, omega=1:2:1)], shares=[0.5, 0.5]))",
            "blend([cfg, x(y=2)], shares=[0.5, 0.5])",
        ),
        ("blend([a(w=1:2:1), b(w=3)])", "blend([a, b(w=3)])"),
    ],
)
def test_the_name_of_a_curve(text: str, name: str) -> None:
    assert without_ranges(text) == name
