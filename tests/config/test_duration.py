"""Durations: how they are written, what is none, and parts of them."""

import math
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shelf import refusal

from guideplug.config import (
    Duration,
    format_value,
)
from guideplug.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "amount", "unit"),
    [
        ("512it", 512, "it"),
        ("3.3Mex", 3_300_000, "ex"),
        ("0.1kit", 100, "it"),
        ("4.096kit", 4096, "it"),
        ("1e3it", 1000, "it"),
        ("90s", 90, "s"),
        ("0.5s", 0.5, "s"),
        ("10m", 600, "s"),
        ("10min", 600, "s"),
        ("2h", 7200, "s"),
        ("  512it ", 512, "it"),
    ],
)
def test_durations(text: str, amount: float, unit: Any) -> None:
    duration = Duration.of(text)
    assert duration == Duration(amount, unit)
    assert Duration.of(str(duration)) == duration
    assert Duration.of(format_value(duration.quantity)) == duration
    assert Duration.of(duration) is duration


@pytest.mark.parametrize(
    "value",
    ["512", "12x", "it", "5 it", "", "512it s", "1d", "3Mit2", "1:2:3it", "nan", "infit", "[1it]", 5, 5.0, None],
)
def test_what_is_no_duration(value: object) -> None:
    with pytest.raises(ConfigError, match="no duration"):
        Duration.of(value)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("0it", "a duration of 0it: it must be positive"),
        ("-5it", "a duration of -5it: it must be positive"),
        ("0s", "a duration of 0s: it must be positive"),
        ("1.5it", "a duration of 1.5it: iterations and examples are whole numbers"),
        ("0.0001kex", "a duration of 0.1ex: iterations and examples are whole numbers"),
    ],
)
def test_durations_out_of_range(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match="a duration of") as caught:
        Duration.of(text)
    assert str(caught.value) == reason
    assert refusal(f"leaf-thing(until={text})") == f"thing.until: {reason}"


@pytest.mark.parametrize("text", ["nonsense", "f(1)", "[1, 2]", "1:2:1", "true", "3q"])
def test_what_is_no_duration_is_shown_as_it_is_typed(text: str) -> None:
    with pytest.raises(ConfigError, match=rf"^{re.escape(text)} is no duration: write"):
        Duration.of(text)


def test_a_duration_that_is_not_finite_is_refused() -> None:
    for amount in (math.nan, math.inf, -math.inf):
        with pytest.raises(ValueError, match="it must be positive"):
            Duration(amount, "s")


@given(st.integers(1, 10**7), st.integers(1, 1000))
def test_a_part_of_a_whole_duration_is_rounded_up(amount: int, parts: int) -> None:
    assert Duration(amount, "it").part(1 / parts).amount == -(-amount // parts)
    assert Duration(amount, "ex").part(1 / parts).unit == "ex"
    assert Duration(amount, "it").part(1) == Duration(amount, "it")


def test_parts() -> None:
    assert Duration(4096, "it").part(1 / 8) == Duration(512, "it")
    assert Duration(100, "it").part(0.55) == Duration(55, "it")  # 55.00000000000001
    assert Duration(1, "it").part(1e-12) == Duration(1, "it")
    assert Duration(1, "s").part(1 / 8) == Duration(0.125, "s")
