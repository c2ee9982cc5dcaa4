"""Budgets, paired differences and words, on numbers made up for the purpose."""

import math
import statistics
from pathlib import Path
from typing import Any

import attrs
import pytest

from guideplug.compare.costs import Cost, Price
from guideplug.compare.digits import cell, seconds
from guideplug.compare.dots import draw_dots
from guideplug.compare.grid import Published
from guideplug.compare.result import Comparison, Row, Training
from guideplug.compare.tables import markdown
from guideplug.compare.words import sentences
from guideplug.paired import interval
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
        Training(name, seed, step, step * rate, 3.0, reference, 1.0, step * 100, 0, step * examples)
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
        "costs": {name: Cost(Price(rate, rate, rate), Price(1.0, 1.0, 1.0)) for name, (rate, _, _) in RATE.items()},
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
    found = comparison.difference(("g", "none"), ("none", "none"), "good", "iterations")
    assert found is not None
    assert found.clear
    assert found.mean == pytest.approx(0.101)


def test_each_arm_is_compared_with_those_that_differ_in_one_thing() -> None:
    assert made().pairs == [
        (("none", "slow"), ("none", "none")),
        (("g", "slow"), ("g", "none")),
        (("g", "none"), ("none", "none")),
        (("g", "slow"), ("none", "slow")),
    ]


def test_random_selection_is_a_baseline_too() -> None:
    found = made(guiders=("none",), selectors=("none", "slow", "random(filter_ratio=0.5)"))
    assert found.baselines == ["none", "random(filter_ratio=0.5)"]
    unguided = [(one, other) for (_, one), (_, other) in found.pairs]
    assert unguided == [
        ("slow", "none"), ("random(filter_ratio=0.5)", "none"), ("slow", "random(filter_ratio=0.5)")
    ]  # fmt: skip


def test_seeds_that_agree_to_the_last_digit_are_no_interval() -> None:
    """One sample of 64 more in each of three seeds is a step of the metric, not a certainty."""
    assert interval([1 / 64, 1 / 64, 1 / 64]) is None
    same = interval([0.0, 0.0, 0.0])
    assert same is not None
    assert not same.clear
    assert interval([1 / 64, 1 / 64, 2 / 64]) is not None


def test_words_follow_the_intervals() -> None:
    said = sentences(made(lambda guider, selector, seed, step: seed * 1.0 + (0.5 + seed / 100) * (guider == "g")))
    assert any(
        "At equal time, g with no selection is better than unguided with no selection in good" in s for s in said
    )
    assert any("no metric can tell unguided with slow from unguided with no selection" in s for s in said)
    worse = sentences(made(lambda guider, selector, seed, step: -(0.5 + seed / 100) * (selector == "slow")))
    assert any("unguided with slow is worse than unguided with no selection in good; 1 of 2" in s for s in worse)
    # (2 + 2 + 3 + 3) x 2 metrics: where two budgets choose the same snapshots, an interval is one
    assert "of 20 different ones about 1 would leave out 0 by chance" in said[-1]


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


def test_a_moment_between_two_is_exact_in_examples() -> None:
    history = [Moment(0, 0.0, 0, 0, 0, 0), Moment(30, 6.0, 30, 300, 300, 60), Moment(100, 13.0, 30, 1000, 300, 760)]
    assert moment_at(history, 15) == Moment(15, 3.0, 15, 150, 150, 30)
    assert moment_at(history, 30) == Moment(30, 6.0, 30, 300, 300, 60)
    assert moment_at(history, 65) == Moment(65, 9.5, 30, 650, 300, 410)
    assert moment_at(history, 100) == history[-1]
    with pytest.raises(ValueError, match="does not reach step 101"):
        moment_at(history, 101)


def sped(rate: dict[str, float], **changes: Any) -> Comparison:
    """The made-up comparison with other seconds of a step; the reference of the second takes 7 s."""
    before = made()
    trainings = [attrs.evolve(one, seconds=one.step * rate[one.selector]) for one in before.trainings]
    return attrs.evolve(before, trainings=trainings, **changes)


def test_a_budget_is_missed_where_the_first_snapshot_has_spent_too_much() -> None:
    """The budget is 40 s; ten steps of the slow one take 70 s, and the gap to its next snapshot is 70 s."""
    assert sped({"none": 1.0, "slow": 7.0}).missed("time") == {}  # over by 30 s, half a gap is 35 s
    far = sped({"none": 1.0, "slow": 9.0})  # over by 50 s, half a gap is 45 s
    assert {name: (miss.spent, miss.limit) for name, miss in far.missed("time").items()} == {"slow": (90.0, 40.0)}
    assert far.missed("examples") == far.missed("iterations") == {}
    assert far.difference(("g", "slow"), ("g", "none"), "good", "time") is None
    said = sentences(far)
    assert any(line.startswith("At equal time, no metric can tell g with no selection from") for line in said)
    assert not any(line.startswith("At equal time") and "slow" in line for line in said)
    assert (
        "slow is not comparable at equal time: its first snapshot has spent 90.0 s, and the budget is 40.0 s; give "
        "more --snapshots."
    ) in said
    text = markdown(far)
    assert "| unguided with slow | 90.0 s † |" in text
    assert "| At equal time | g with slow | g with no selection | † | † |" in text
    assert "| unguided with slow | 360.0 s |" not in text
    assert "† not comparable at equal time" in text


def test_a_single_snapshot_is_near_within_a_twentieth() -> None:
    lone = [one for one in sped({"none": 1.0, "slow": 1.04}).trainings if one.step == 40]
    assert made(trainings=lone).missed("time") == {}
    lone = [one for one in sped({"none": 1.0, "slow": 1.06}).trainings if one.step == 40]
    assert list(made(trainings=lone).missed("time")) == ["slow"]


def test_a_reference_that_takes_longer_than_the_budget() -> None:
    before = made(charge_reference=True)
    dear = [attrs.evolve(one, reference=one.reference * 9) for one in before.trainings]
    found = attrs.evolve(before, trainings=dear)
    assert any("its reference alone took 63.0 s, and the budget is 40.0 s" in line for line in sentences(found))
    free = attrs.evolve(found, charge_reference=False)
    assert not any("reference" in line for line in sentences(free))


def test_where_the_first_arm_misses_nothing_is_told() -> None:
    found = attrs.evolve(sped({"none": 1.0, "slow": 9.0}), selectors=("slow", "none"))
    said = sentences(found)
    told = [line for line in said if line.startswith("At equal time")]
    assert told  # how guided and unguided samples of one training differ
    assert not any("slow" in line for line in told)
    assert any("slow is not comparable at equal time" in line and "no selector is told of" in line for line in said)


GUIDED = ("g", "none"), ("none", "none")
NEAR = {"good": {"better": "truth", "aspect": "fidelity"}, "bad": {"better": "lower", "aspect": "coverage"}}


def test_a_metric_that_should_be_near_the_truth_is_compared_by_its_distance() -> None:
    """The truth is 1.5: 1.9 + noise is nearer than 1.0, though higher, and 3.0 is further away."""
    for value, word in ((1.9, "better"), (3.0, "worse")):
        found = made(
            lambda guider, selector, seed, step, value=value: (value if guider == "g" else 1.0) + seed / 100,
            metrics=NEAR,
        )
        assert any(
            f"g with no selection is {word} than unguided with no selection in good" in s for s in sentences(found)
        )
        difference = found.difference(("g", "none"), ("none", "none"), "good", "time")
        assert difference is not None
        gaps = [abs(value + seed / 100 - 1.5) - abs(1.0 + seed / 100 - 1.5) for seed in SEEDS]
        assert difference.mean == pytest.approx(statistics.fmean(gaps))
    assert made(metrics=NEAR, truth={"good": None}).difference(*GUIDED, "good", "time") is None
    assert "≈ the difference of the distances" in markdown(made(metrics=NEAR))


def test_metrics_without_an_interval_are_a_class_of_their_own() -> None:
    comparison = made(lambda guider, selector, seed, step: seed + (0.5 + seed / 100) * (guider == "g"))
    rows = [
        attrs.evolve(row, metrics={**row.metrics, "bad": 1.0 if row.seed == 0 else None}) for row in comparison.rows
    ]
    found = attrs.evolve(comparison, rows=rows)
    said = sentences(found)
    assert any("better than unguided with no selection in good; 1 of 2 have no interval" in s for s in said)
    assert any("every interval holds 0 (1 of 2 metrics have no interval)" in s for s in said)
    assert "of 10 different ones" in said[-1]
    text = markdown(found)
    assert "no interval" in text
    assert "| 1.0000 (n 1) |" in text
    few = [attrs.evolve(row, metrics={"good": None, "bad": row.metrics["bad"]}) for row in rows]
    none = sentences(attrs.evolve(comparison, rows=few))
    assert "At equal time, no metric has an interval for unguided with slow, g with no selection beside" in none[0]
    assert none[-1].startswith("No interval exists")


def test_the_number_of_seeds_stands_where_it_is_less_than_all() -> None:
    comparison = made()
    rows = [
        attrs.evolve(row, metrics={**row.metrics, "bad": None if row.seed == 0 else row.metrics["bad"]})
        for row in comparison.rows
    ]
    text = markdown(attrs.evolve(comparison, rows=rows))
    assert "1.0000 ± 0.0000 (n 2)" in text
    assert "[+0, +0] (n 2)" in text
    assert "(n 3)" not in text


@pytest.mark.parametrize(
    ("values", "count", "text"),
    [
        ([1.0, 3.0], 2, "2.0000 ± 1.0000"),
        ([1.0], 1, "1.0000"),
        ([1.0], 3, "1.0000 (n 1)"),
        ([], 3, "-"),
        ([1e-5, 3e-5], 2, "2.0e-05 ± 1.0e-05"),
        ([-0.00012], 1, "-1.2e-04"),
        ([0.0], 1, "0.0000"),
        ([123.4], 1, "123.4"),
        ([12345678.0], 1, "1.2e+07"),
    ],
)
def test_numbers_keep_their_digits(values: list[float], count: int, text: str) -> None:
    assert cell(values, count) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.0432, "0.043 s"), (0.000012, "1.2e-05 s"), (0.5, "0.5 s"), (12.34, "12.3 s"), (0.0, "0 s")]
)
def test_short_times_keep_their_digits(value: float, text: str) -> None:
    assert seconds(value) == text


def test_a_schedule_that_needs_the_end_is_told_where_it_matters() -> None:
    assert any(
        "schedule, cosine, needs the end: at equal time and at equal examples snapshots before it" in line
        for line in sentences(made(needs_end="cosine"))
    )
    ends = [one for one in made().trainings if one.step == 40]
    assert not any("schedule" in line for line in sentences(made(needs_end="cosine", trainings=ends)))
    assert not any("schedule" in line for line in sentences(made()))


def test_a_busy_machine_and_unknown_costs_are_told() -> None:
    found = made(busy=["an iteration with slow: 5 ms (4 to 9)"], unknown={"none": (), "slow": ("load",)})
    said, text = sentences(found), markdown(found)
    assert "The machine was busy while iterations were measured: an iteration with slow: 5 ms (4 to 9)." in said
    assert any("slow scores with comes from load: nobody knows" in line for line in said)
    assert "| 7.0 + unknown |" in text
    free = [attrs.evolve(one, reference=0.0) for one in found.trainings]
    assert "| unknown |" in markdown(attrs.evolve(found, trainings=free))


def test_what_selection_costs_is_told() -> None:
    phases = {"data": 0.1, "score": 0.3, "select": 0.05, "learn": 0.55, "evaluations": 5120.0, "selecting": 0.25}
    assert "| slow | 10.0 | 30.0 | 5.0 | 55.0 | 5,120 | 25.0 | - |" in markdown(made(phases={"slow": phases}))


def test_dots_show_every_seed_and_hollow_what_misses_a_budget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib.axes import Axes

    drawn: list[tuple[list[float], int, Any]] = []
    scatter = Axes.scatter

    def noted(self: Any, x: Any, y: Any, **style: Any) -> Any:
        drawn.append((list(x), y[0], style["facecolors"]))
        return scatter(self, x, y, **style)

    monkeypatch.setattr(Axes, "scatter", noted)
    draw_dots(sped({"none": 1.0, "slow": 9.0}), tmp_path / "dots.png", ["good"])
    assert (tmp_path / "dots.png").stat().st_size > 10_000
    assert len(drawn) == 4 * 3  # arms, budgets
    values = list(made().values("none", "none", "good", "time").values())
    assert (values, 0, "C0") in drawn
    assert sum(face == "none" for _, _, face in drawn) == 2  # both guiders of the slow selector, at equal time
    assert {face for _, place, face in drawn if place == 2} == {"none", "C1"}


def test_a_selector_that_hardly_selects_and_one_that_chooses_blindly_are_told() -> None:
    found = made(phases={"none": {"selecting": 0.0}, "slow": {"selecting": 0.01, "effective": 0.5}})
    assert any("slow was on in 1.0 % of the iterations" in line for line in sentences(found))
    found = made(phases={"none": {"selecting": 0.0}, "slow": {"selecting": 0.5, "effective": 0.991}})
    assert any("slow chose nearly at random" in line and "0.991" in line for line in sentences(found))
    found = made(phases={"none": {"selecting": 0.0}, "slow": {"selecting": 0.5, "effective": 0.9}})
    assert not any("slow chose" in line or "was on" in line for line in sentences(found))
