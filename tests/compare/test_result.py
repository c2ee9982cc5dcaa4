"""Budgets, paired differences and words, on numbers made up for the purpose."""

import math
import statistics
from typing import Any

import pytest

from guideplug.compare.costs import Cost, seconds_at
from guideplug.compare.grid import Published
from guideplug.compare.report import cell, markdown
from guideplug.compare.result import Comparison, Row, Training, interval
from guideplug.compare.words import sentences
from guideplug.train import Moment, moment_at

SEEDS = (0, 1, 2)
STEPS = (10, 20, 30, 40)
RATE = {"none": (1.0, 100, 0.0), "slow": (2.0, 20, 7.0)}
"""Of each selector: seconds and examples of a step, and seconds of its reference."""


def made(values: Any = None, **changes: Any) -> Comparison:
    """Two selectors and two guiders; a metric's value is what ``values`` says of (guider, selector, seed, step)."""
    values = values or (
        lambda guider, selector, seed, step: step / 40 + (0.1 if selector == "slow" else 0.0) + seed / 100
    )
    trainings = [
        Training(name, seed, step, step * rate, 3.0, reference, step * 100, 0, step * examples)
        for name, (rate, examples, reference) in RATE.items()
        for seed in SEEDS
        for step in STEPS
    ]
    rows = [
        Row(guider, name, seed, step, {"good": values(guider, name, seed, step), "bad": 1.0}, 63.0)
        for guider in ("none", "g")
        for name in RATE
        for seed in SEEDS
        for step in STEPS
    ]
    facts: dict[str, Any] = {
        "guiders": ("none", "g"),
        "selectors": tuple(RATE),
        "seeds": SEEDS,
        "trainings": trainings,
        "rows": rows,
        "truth": {"good": 1.5, "bad": None},
        "metrics": {
            "good": {"better": "higher", "aspect": "fidelity"},
            "bad": {"better": "lower", "aspect": "coverage"},
        },
        "charge_reference": False,
        "costs": {name: {"iteration": rate} for name, (rate, _, _) in RATE.items()},
    }
    return Comparison(**{**facts, **changes})


def steps_at(comparison: Comparison, budget: Any) -> dict[str, set[int]]:
    found: dict[str, set[int]] = {}
    for (selector, _), training in comparison.chosen(budget).items():
        found.setdefault(selector, set()).add(training.step)
    return found


def test_budgets_are_the_least_that_any_training_ends_with() -> None:
    comparison = made()
    assert [comparison.limit(budget) for budget in ("time", "examples", "iterations")] == [40.0, 800, 40]
    assert steps_at(comparison, "time") == {"none": {40}, "slow": {20}}
    assert steps_at(comparison, "examples") == {"none": {10}, "slow": {40}}
    assert steps_at(comparison, "iterations") == {"none": {40}, "slow": {40}}


def test_a_reference_is_charged_where_that_is_asked_for() -> None:
    charged = made(charge_reference=True)
    assert charged.limit("time") == 40.0
    assert steps_at(charged, "time") == {"none": {40}, "slow": {20}}  # 20 steps are 47 s, 10 are 27 s
    assert charged.spent(charged.trainings[-1], "time") == 87.0
    assert made().spent(made().trainings[-1], "time") == 80.0


def test_values_are_those_of_the_chosen_snapshots() -> None:
    comparison = made()
    assert comparison.values("none", "slow", "good", "time") == pytest.approx({0: 0.6, 1: 0.61, 2: 0.62})
    assert comparison.values("g", "none", "good", "examples") == pytest.approx({0: 0.25, 1: 0.26, 2: 0.27})


def test_the_interval_is_students() -> None:
    """Against the quantile of Student's t with two degrees of freedom, 4.3027."""
    gaps = [0.1, 0.3, 0.2]
    found = interval(gaps)
    assert found is not None
    half = 4.302653 * statistics.stdev(gaps) / math.sqrt(3)
    assert (found.mean, found.low, found.high) == pytest.approx((0.2, 0.2 - half, 0.2 + half), abs=1e-6)
    assert not found.clear
    assert interval([0.1]) is None


def test_differences_are_paired_by_seed() -> None:
    """Seeds that differ by much, and arms by little but always: told apart only when paired."""
    noise = {0: 0.0, 1: 5.0, 2: -3.0}
    comparison = made(lambda guider, selector, seed, step: noise[seed] + (0.1 + seed / 1000) * (guider == "g"))
    found = comparison.difference("g", "none", "good", "iterations")
    assert found is not None
    assert found.clear
    assert found.mean == pytest.approx(0.101)


def test_words_follow_the_intervals() -> None:
    said = sentences(made(lambda guider, selector, seed, step: seed * 1.0 + (0.5 + seed / 100) * (guider == "g")))
    assert any(
        "At equal time, g with no selection is better than unguided with no selection in good" in s for s in said
    )
    assert any("no metric can tell unguided with slow from unguided with no selection" in s for s in said)
    worse = sentences(made(lambda guider, selector, seed, step: -(0.5 + seed / 100) * (selector == "slow")))
    assert any("unguided with slow is worse than unguided with no selection in good; 1 of 2" in s for s in worse)
    assert "of 18 differences about 1 would leave out 0 by chance" in said[-1]


def test_one_seed_tells_nothing() -> None:
    comparison = made(seeds=(0,), trainings=[t for t in made().trainings if t.seed == 0])
    assert sentences(comparison) == [
        "One seed: nothing here says what another would give. Give several, as in --seeds 0,1,2,3,4."
    ]


def test_tables_print_the_published_beside_ours_in_their_standard_deviations() -> None:
    published = [Published("iterations", "none", "none", "good", 0.91, 0.05)]
    text = markdown(made(), published)
    line = next(line for line in text.splitlines() if line.startswith("| published"))
    assert "0.9100 ± 0.0500 (+2.0 std)" in line
    assert text.count("| published") == 1
    assert "## At equal examples (800 examples back-propagated)" in text
    assert cell([1.0, 3.0]) == "2.0000 ± 1.0000"


def test_time_is_counted_by_the_cost_of_iterations() -> None:
    cost = Cost(iteration=0.02, plain=0.01, quartiles=(0.019, 0.021), scores=True)
    assert seconds_at(Moment(100, 9.0, 6400, 1920, 3000), cost, 64) == pytest.approx(30 * 0.02 + 70 * 0.01)
    blind = Cost(iteration=0.005, plain=0.005, quartiles=(0.004, 0.006), scores=False)
    assert seconds_at(Moment(100, 9.0, 1280, 0, 1280), blind, 64) == pytest.approx(0.5)


def test_a_moment_between_two_is_exact_in_examples() -> None:
    history = [Moment(0, 0.0, 0, 0, 0, 0), Moment(30, 6.0, 30, 300, 300, 60), Moment(100, 13.0, 30, 1000, 300, 760)]
    assert moment_at(history, 15) == Moment(15, 3.0, 15, 150, 150, 30)
    assert moment_at(history, 30) == Moment(30, 6.0, 30, 300, 300, 60)
    assert moment_at(history, 65) == Moment(65, 9.5, 30, 650, 300, 410)
    assert moment_at(history, 100) == history[-1]
    with pytest.raises(ValueError, match="does not reach step 101"):
        moment_at(history, 101)
