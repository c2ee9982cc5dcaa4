"""Candidates chosen on other seeds, against the slow definition; how often their intervals are wrong."""

import math
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guideplug import Candidates, confidence_interval, held_out_interval

TABLES = st.integers(1, 5).flatmap(
    lambda seeds: st.lists(
        st.lists(st.integers(-5, 5).map(float), min_size=seeds, max_size=seeds), min_size=1, max_size=6
    )
)


def rows(table: list[list[float]]) -> dict[int, dict[int, float]]:
    return {place: dict(enumerate(row)) for place, row in enumerate(table)}


@given(TABLES)
def test_each_seed_has_the_value_of_what_is_best_on_the_others(table: list[list[float]]) -> None:
    found = Candidates(rows(table), abs)
    for seed in range(len(table[0])):
        others = [one for one in range(len(table[0])) if one != seed] or [seed]
        means = [statistics.fmean(abs(row[one]) for one in others) for row in table]
        place = means.index(min(means))  # of equal ones the first
        assert found.chosen()[seed] == place
        assert found.held_out()[seed] == table[place][seed]
        assert found.best_of_each()[seed] == min(range(len(table)), key=lambda one: abs(table[one][seed]))
    assert found.best() == min(range(len(table)), key=lambda one: statistics.fmean(map(abs, table[one])))


def test_the_own_value_does_not_choose() -> None:
    """With its own value among those that choose, each seed would take the candidate that is lucky there."""
    lucky = {"a": {0: -100.0, 1: 1.0, 2: 1.0}, "b": {0: 0.0, 1: 0.0, 2: 0.0}}
    assert Candidates(lucky, lambda value: value).held_out() == {0: 0.0, 1: 1.0, 2: 1.0}


def test_a_candidate_without_a_value_at_a_seed_is_not_chosen() -> None:
    found = Candidates({"a": {0: -9.0}, "b": {0: 1.0, 1: 2.0}}, lambda value: value)
    assert found.held_out() == {0: 1.0, 1: 2.0}
    assert list(Candidates(found.values, found.distance, (0,)).whole) == ["a", "b"]
    with pytest.raises(ValueError, match="no candidate has a value at every seed"):
        Candidates({"a": {0: 1.0}, "b": {1: 1.0}}, lambda value: value).held_out()


def test_the_interval_is_students_with_the_corrected_variance() -> None:
    gaps = [0.3, 0.1, 0.4, 0.2, 0.9]
    found = held_out_interval(gaps)
    assert found is not None
    variance = statistics.variance(gaps) * (1 / 5 + 1 / 4)
    half = 2.776445 * math.sqrt(variance)
    assert (found.mean, found.low, found.high) == pytest.approx((0.38, 0.38 - half, 0.38 + half), abs=1e-6)
    assert found.count == 5
    assert held_out_interval([0.1]) is None
    assert held_out_interval([0.1, 0.1, 0.1]) is None


@pytest.mark.slow
@pytest.mark.parametrize(("seeds", "seed"), [(5, 1), (8, 2)])
def test_false_differences_are_few_where_no_candidate_is_better(seeds: int, seed: int) -> None:
    """Ten candidates along a curve whose neighbours are alike; 2,000 repetitions, standard error .5 %."""
    generator = np.random.default_rng(seed)
    place = np.arange(10)
    factor = np.linalg.cholesky(np.exp(-0.5 * (place[:, None] - place) ** 2) + 1e-9 * np.eye(10))
    rates = {confidence_interval: 0, held_out_interval: 0}
    repetitions = 2_000
    for values in generator.standard_normal((repetitions, seeds, 10)) @ factor.T:
        gaps = list(Candidates(rows(values.T.tolist()), lambda value: value).held_out().values())
        for method in rates:
            gap = method(gaps)
            assert gap is not None
            rates[method] += gap.clear
    assert rates[held_out_interval] <= 0.07 * repetitions
    assert rates[confidence_interval] > 0.1 * repetitions
