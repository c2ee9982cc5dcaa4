"""Tables and findings of studies, on numbers made up for the purpose."""

import csv
from typing import Any

import pytest
from torch import nn

from guideplug import Findings, Measured, Table, Trial


def row(value: float | None, truth: float | None = 0.5, **axes: Any) -> Measured:
    return Measured(axes, None, {"m": value}, {"m": truth}, 1.0, list, list, lambda role: nn.Identity())  # type: ignore[arg-type]


def findings(better: str = "higher") -> Findings:
    rows = [row(10 * seed + weight, weight=weight, seed=seed) for seed in (0, 1) for weight in (1.0, 2.0)]
    return Findings(rows, {"m": better})


def test_rows_are_chosen_by_their_axes() -> None:
    found = findings()
    assert found.where(weight=2.0).values("m") == [2.0, 12.0]
    assert found.where(weight=2.0, seed=1).values("m") == [12.0]
    assert found.where(weight=3.0).rows == []
    assert found.axis("seed") == [0, 1]
    assert found.where(weight=1.0).by("seed", "m") == {0: 1.0, 1: 11.0}


def test_several_rows_at_one_place_are_refused() -> None:
    with pytest.raises(ValueError, match="several rows have seed 0"):
        findings().by("seed", "m")


def test_values_that_are_missing_are_left_out() -> None:
    found = Findings([row(None, seed=0), row(1.0, seed=1)], {"m": "lower"})
    assert found.values("m") == [1.0]
    assert found.by("seed", "m") == {1: 1.0}


def test_distances_are_to_be_made_small_whichever_way_is_better() -> None:
    assert findings("higher").distance("m", 3.0) == -3.0
    assert findings("lower").distance("m", 3.0) == 3.0
    assert findings("truth").distance("m", 0.2) == pytest.approx(0.3)


def test_several_numbers_are_three_columns_of_csv() -> None:
    table = Table(["name", "m", "n"], [["a, b", [1.0, 3.0], 4], ["c", 2.5, None], ["d", None, 1]])
    rows = list(csv.DictReader(table.csv().splitlines()))
    assert rows[0] == {"name": "a, b", "m": "2.0", "m std": "1.0", "m n": "2", "n": "4"}
    assert rows[1] == {"name": "c", "m": "2.5", "m std": "", "m n": "", "n": ""}
    assert rows[2]["m"] == ""


def test_a_row_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="1 cells for 2 columns"):
        Table(["a", "b"], [["c"]])


def test_a_trial_says_where_it_stands() -> None:
    assert str(Trial({"guider": "cfg", "weight": 2.0, "seed": 1}, {})) == "guider cfg, weight 2, seed 1"


def test_what_is_not_finite_is_nothing() -> None:
    table = Table(["a", "b"], [[float("nan"), [1.0, float("inf"), 3.0]]])
    assert table.rows == [[None, [1.0, 3.0]]]


def test_nearness_to_true_samples_that_have_no_value_is_refused() -> None:
    found = Findings([row(1.0, truth=None, seed=0)], {"m": "truth"})
    with pytest.raises(ValueError, match="metric 'm' is to be near that of true samples"):
        found.distance("m", 1.0)
