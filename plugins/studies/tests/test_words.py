"""Which metrics are told, and how differences and numbers are written."""

import pytest
from torch import nn

from guideplug import Difference, Findings, Measured
from guideplug_studies.words import TOLD, exact, metrics_told, told


def findings(**values: float | None) -> Findings:
    row = Measured({}, None, values, {}, 1.0, list, list, lambda role: nn.Identity())  # type: ignore[arg-type]
    return Findings([row], dict.fromkeys(values, "lower"))


def test_wanted_metrics_are_told_in_their_order_and_without_those_that_have_no_value() -> None:
    assert metrics_told(findings(a=1.0, b=2.0, c=None), ("c", "b", "a")) == ["b", "a"]
    assert metrics_told(findings(a=1.0, c=None), ("c",)) == []


def test_names_that_are_not_there_are_refused_but_the_default_ones() -> None:
    with pytest.raises(ValueError, match=r"^metrics has 'd': there are a, c$"):
        metrics_told(findings(a=1.0, c=None), ("a", "d"))
    assert metrics_told(findings(a=1.0, c=None), TOLD) == ["a"]
    assert metrics_told(findings(recall=1.0, a=1.0), TOLD) == ["recall"]


def test_differences_are_told_as_values() -> None:
    gap = Difference(-0.12345, -0.2, -0.1, 3)
    assert told(gap, "lower") == "-0.123 [-0.2, -0.1]"
    assert told(gap, "higher", digits=2) == "+0.12 [+0.1, +0.2]"
    assert told(None, "higher") == "-"


def test_numbers_keep_all_their_digits() -> None:
    assert [exact(number) for number in (2, 2.0, 0.12345678, 0.0004)] == ["2", "2", "0.12345678", "0.0004"]
