"""Budgets, paired differences and words, on numbers made up for the purpose."""

import math
import statistics
from pathlib import Path
from typing import Any

import attrs
import pytest

from guideplug.experiments.comparison.costs import Cost, Price
from guideplug.experiments.comparison.digits import cell, seconds
from guideplug.experiments.comparison.dots import draw_dots
from guideplug.experiments.comparison.grid import Published
from guideplug.experiments.comparison.result import Comparison, Row, Training
from guideplug.experiments.comparison.sentences import arm, sentences
from guideplug.experiments.comparison.tables import markdown
from guideplug.metrics.statistics import confidence_interval
from guideplug.train import Moment, moment_at

SEEDS = (0, 1, 2)
STEPS = (10, 20, 30, 40)
RATE = {"none": (1.0, 100, 0.0), "slow": (2.0, 25, 7.0)}
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
    assert [comparison.limit(budget) for budget in ("time", "examples", "iterations")] == [40.0, 1000, 40]
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
    found = confidence_interval(gaps)
    assert found is not None
    half = 4.302653 * statistics.stdev(gaps) / math.sqrt(3)
    assert (found.mean, found.low, found.high) == pytest.approx((0.2, 0.2 - half, 0.2 + half), abs=1e-6)
    assert not found.clear
    assert confidence_interval([0.1]) is None


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
    assert confidence_interval([1 / 64, 1 / 64, 1 / 64]) is None
    same = confidence_interval([0.0, 0.0, 0.0])
    assert same is not None
    assert not same.clear
    assert confidence_interval([1 / 64, 1 / 64, 2 / 64]) is not None


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
    assert "## At equal examples (1,000 examples back-propagated)" in text
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


BUDGETS_IN_WORDS = {"time": "at equal time", "examples": "at equal examples", "iterations": "at equal iterations"}


def off_by(budget: str, share: float) -> Comparison:
    """The made-up comparison whose slow selector has, with seed 1, spent so much more than the budget, or less.

    Another training ends at the budget; the nearest snapshot of the slow one is `share` off it, the next far away.
    """
    field = {"time": "seconds", "examples": "backpropagated", "iterations": "step"}[budget]
    limit = 1000

    def spent(name: str, seed: int, place: int) -> int:
        if (name, seed) != ("slow", 1):
            return (250, 500, 750, limit)[place]
        near = round(limit * (1 + share))
        return (near - 500, near, near + 800, near + 900)[place]

    before = made()
    numbers = {
        (one.selector, one.seed, one.step): spent(one.selector, one.seed, STEPS.index(one.step))
        for one in before.trainings
    }
    trainings = [
        attrs.evolve(
            one,
            **{
                "seconds": float(one.step),
                "backpropagated": one.step,
                field: numbers[one.selector, one.seed, one.step],
            },
        )
        for one in before.trainings
    ]
    rows = before.rows
    if budget == "iterations":
        rows = [attrs.evolve(row, step=numbers[row.selector, row.seed, row.step]) for row in rows]
    return attrs.evolve(before, trainings=trainings, rows=rows)


@pytest.mark.parametrize("budget", BUDGETS_IN_WORDS)
@pytest.mark.parametrize("share", [-0.2, -0.04, -0.029, 0.0, 0.029, 0.04, 0.2])
def test_an_arm_that_is_more_than_3_percent_off_a_budget_is_not_judged(budget: Any, share: float) -> None:
    found = off_by(budget, share)
    missed = abs(share) > 0.03
    assert list(found.missed(budget)) == ["slow"] * missed
    assert (found.difference(("g", "slow"), ("g", "none"), "good", budget) is None) == missed
    assert found.difference(("g", "none"), ("none", "none"), "good", budget) is not None
    said, text = sentences(found), markdown(found)
    told = [line for line in said if line.lower().startswith(BUDGETS_IN_WORDS[budget])]
    assert any("slow" in line for line in told) != missed
    remark = [line for line in said if line.startswith(f"slow is not comparable {BUDGETS_IN_WORDS[budget]}")]
    assert len(remark) == missed
    if missed:
        percent = f"{100 * abs(share):.3g} % {'more' if share > 0 else 'less'} than the budget of"
        assert percent in remark[0]
        assert "with seed 1 it has spent" in remark[0]
        assert remark[0].endswith("give more --snapshots.")
    section = text.partition(f"## At equal {budget}")[2].partition("## ")[0]
    assert ("†" in section) == missed
    assert ("more than 3 % off the budget" in section) == missed


def test_the_training_that_is_furthest_off_is_told() -> None:
    found = off_by("time", 0.1)
    trainings = [
        attrs.evolve(one, seconds=one.seconds + 300) if (one.selector, one.seed) == ("slow", 2) else one
        for one in found.trainings
    ]
    miss = attrs.evolve(found, trainings=trainings).missed("time")["slow"]
    assert (miss.seed, miss.spent, miss.limit, miss.apart) == (1, 1100, 1000, 10)
    assert miss.off == pytest.approx(0.1)
    first = [
        attrs.evolve(one, seconds=one.seconds * 3) if one.seed == 2 and one.selector == "slow" else one
        for one in found.trainings
    ]
    assert attrs.evolve(found, trainings=first).missed("time")["slow"].seed == 2  # 750 and 1,500 for 1,000


def test_a_budget_that_even_the_first_snapshot_is_over() -> None:
    far = sped({"none": 1.0, "slow": 9.0})
    assert {name: (miss.spent, miss.limit) for name, miss in far.missed("time").items()} == {"slow": (90.0, 40.0)}
    said, text = sentences(far), markdown(far)
    assert (
        "slow is not comparable at equal time: with seed 0 it has spent 90.0 s, 125 % more than the budget of 40.0 s; "
        "give more --snapshots."
    ) in said
    assert "| unguided with slow | 90.0 s † |" in text
    assert "| At equal time | g with slow | g with no selection | † | † |" in text
    assert "| unguided with slow | 360.0 s |" not in text


def test_more_snapshots_are_no_advice_where_there_is_one_at_each_step() -> None:
    trainings = [attrs.evolve(one, step=one.step // 10) for one in sped({"none": 1.0, "slow": 1.5}).trainings]
    said = [line for line in sentences(made(trainings=trainings)) if "slow is not comparable at equal time" in line]
    assert len(said) == 1
    assert "one iteration is all that lies between its snapshots there; give a longer --duration." in said[0]


def test_a_reference_that_takes_longer_than_the_budget() -> None:
    before = made(charge_reference=True)
    dear = [attrs.evolve(one, reference=one.reference * 9) for one in before.trainings]
    found = attrs.evolve(before, trainings=dear)
    (line,) = [line for line in sentences(found) if "its reference alone" in line]
    assert "its reference alone 63.0 s; give a longer --duration." in line
    free = attrs.evolve(found, charge_reference=False)
    assert not any("reference" in line for line in sentences(free))


def test_what_was_spent_stands_beside_the_values_of_every_budget() -> None:
    found = made()
    text = markdown(found)
    for budget, name in BUDGETS_IN_WORDS.items():
        section = text.partition(f"## {name.capitalize()} (")[2].partition("\n## ")[0]
        for guider, selector in found.arms:
            of = [found.spent(one, budget) for (who, _), one in found.chosen(budget).items() if who == selector]
            mean = statistics.fmean(of)
            shown = f"{mean:.1f} s" if budget == "time" else f"{mean:,.0f}"
            assert f"| {arm(guider, selector)} | {shown}" in section


# Networks that trainings share


def effect(guider: str, selector: str, seed: int, step: int) -> float:
    return seed * 1.0 + (0.5 + seed / 100) * (guider == "g")


def test_intervals_that_rest_on_a_shared_guide_say_so() -> None:
    found = made(effect, shared_guides={"g": ("weak",)})
    said = sentences(found)
    assert (
        "At equal iterations and for this guide, g with no selection is better than unguided with no selection in good"
        in "".join(said)
    )
    for line in said:
        if line.startswith("At equal") and "g with" in line:
            assert "for this guide," in line
        elif line.startswith("At equal"):
            assert "for this" not in line
    assert any(line.startswith("Trainings with different seeds share the guide of g (weak)") for line in said)
    text = markdown(found)
    for line in text.splitlines():
        if line.startswith("| At equal iterations | ") and "[" in line:
            assert (" ‡ |" in line) == ("g with" in line)
    assert "‡ for this guide alone" in text


def test_references_and_several_guides_are_called_what_they_are() -> None:
    found = made(effect, shared_guides={"g": ("weak", "unconditional")}, shared_references={"slow": ("reference",)})
    said = sentences(found)
    assert any(line.startswith("At equal iterations and for these guides and this reference, ") for line in said)
    assert any(line.startswith("At equal iterations and for this reference, ") for line in said)
    assert not any("for this" in line or "‡" in line for line in [*sentences(made(effect)), markdown(made(effect))])
    one = made(
        effect, seeds=(0,), trainings=[t for t in made().trainings if t.seed == 0], shared_guides={"g": ("weak",)}
    )
    assert not any("guide" in line for line in sentences(one))


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
