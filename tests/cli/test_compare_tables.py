"""What `guideplug compare` prints: tables that fit, and few sentences."""

import re
from pathlib import Path
from typing import Any

import attrs
import pytest

from guideplug.cli.compare_tables import WIDTH, grouped, tell
from guideplug.experiments.comparison.result import Comparison, Row, Training

TOY = Path(__file__).with_name("toy.py")
TOYS = ("--plugin", TOY, "--task", "toy", "--device", "cpu")


def comparison(
    guiders: int, selectors: int = 1, seeds: int = 3, metrics: int = 13, name: str = "autoguidance(weight={:.2f})"
) -> Comparison:
    """Arms of which every other is clearly better than the first one in every metric, and the rest clearly worse."""
    seeded, steps = range(seeds), (8, 16)
    guides = ["none", *(name.format(1 + number / 20) for number in range(guiders - 1))]
    selects = ["none", *(f"early-jest(filter_ratio=0.{number + 1})" for number in range(selectors - 1))]
    trainings = [
        Training(one, seed, step, step * (1.0 + i), step, 0.0, 0.0, 64 * step, 0, 64 * step // (1 + i % 2))
        for i, one in enumerate(selects)
        for seed in seeded
        for step in steps
    ]
    names = [f"metric {number}" for number in range(metrics)]
    rows = []
    for j, selector in enumerate(selects):
        for i, guider in enumerate(guides):
            shift = 0.0 if i == j == 0 else 0.3 * (-1) ** (i + j)
            rows += [
                Row(guider, selector, seed, step, dict.fromkeys(names, 1 + shift + 0.001 * seed**2 * (i + j)), 1)
                for seed in seeded
                for step in steps
            ]
    facts = {
        metric: {"better": "lower", "aspect": ("fidelity", "coverage", "accuracy")[number // 5]}
        for number, metric in enumerate(names)
    }
    return Comparison(guides, selects, seeded, trainings, rows, {names[0]: 0.25}, facts, False, {})


def printed(found: Comparison, capsys: pytest.CaptureFixture[str]) -> str:
    tell(found)
    return capsys.readouterr().out


def tables(text: str) -> list[str]:
    return [line for line in text.splitlines() if line[:1] in "┏┃┡│└"]


@pytest.mark.slow
@pytest.mark.parametrize(("guiders", "selectors"), [(32, 1), (8, 4), (1, 32), (2, 2), (1, 1)])
def test_tables_fit_and_leave_no_arm_and_no_metric_out(guiders: int, selectors: int, capsys: Any) -> None:
    found = comparison(guiders, selectors)
    text = printed(found, capsys)
    assert max(map(len, tables(text))) <= WIDTH
    assert "…" not in text
    assert len(tables(text)) > 10
    for metric in found.metrics:
        assert any(re.search(rf"{metric} ↓", line) for line in tables(text)), metric
    for guider, selector in found.arms:
        assert guider == "none" or guider in text
        assert selector == "none" or selector in text
    assert any("true samples" in line for line in tables(text))
    assert "At equal time" in text


def test_arms_go_down_with_their_names_and_what_they_spent(capsys: Any) -> None:
    text = printed(comparison(1, 8), capsys)
    lines = [[cell.strip() for cell in line.split("│")] for line in tables(text)]
    named = [cells for cells in lines if cells[1:2] and cells[1] == "B  early-jest(filter_ratio=0.1)"]
    assert named[0][2:4] == ["8", "16.0 s"]  # it takes twice as long an iteration
    assert "At equal time, 16.0 s of training; 3 seeds" in text


def test_budgets_that_choose_the_same_share_their_tables(capsys: Any) -> None:
    text = printed(comparison(8, metrics=2), capsys)
    titles = [line.strip() for line in text.splitlines() if "; 3 seeds" in line]
    assert titles == [
        "At equal time, examples and iterations: 16.0 s of training, 1,024 examples back-propagated, 16 iterations; "
        "3 seeds"
    ]


def test_few_arms_stand_beside_each_other(capsys: Any) -> None:
    text = printed(comparison(1, 2, metrics=3), capsys)
    head = next(line for line in tables(text) if "early-jest" in line)
    assert [cell.strip() for cell in head.split("┃")[1:-1]] == [
        "", "true samples", "no selection", "early-jest(filter_ratio=0.1)",
    ]  # fmt: skip
    assert "Every arm samples unguided." in text
    assert [line.split("│")[1].strip() for line in tables(text) if line.startswith("│")][3:5] == ["step", "time"]


def test_long_names_get_letters(capsys: Any) -> None:
    text = printed(comparison(3, 3, name="interval(autoguidance(weight={:.2f}), low=0.1, high=4)"), capsys)
    assert "  B  interval(autoguidance(weight=1.00), low=0.1, high=4) with no selection" in text
    assert max(map(len, tables(text))) <= WIDTH


def test_one_seed_is_one_seed(capsys: Any) -> None:
    assert "; 1 seed\n" in re.sub(" +\n", "\n", printed(comparison(2, seeds=1), capsys))


def test_sentences_are_few_and_name_every_arm_of_a_group() -> None:
    found = comparison(32)
    letters = {pair: f"<{number}>" for number, pair in enumerate(found.arms)}
    lines = grouped(found, letters)
    assert len(lines) <= 12
    said = next(line for line in lines if " worse in " in line)
    assert said.startswith("At equal time, examples and iterations, worse in every metric than <0>: ")
    assert said.endswith("than <0>: " + ", ".join(f"<{number}>" for number in range(2, 32, 2)))
    assert "Intervals are 95 %" in lines[-1]


def test_more_sentences_are_in_the_file_and_how_far_they_carry_is_last() -> None:
    found = comparison(1, 32)
    assert len(found.missed("time")) == 30
    lines = grouped(found, {pair: pair[1] for pair in found.arms})
    assert len(lines) == 12
    assert sum(line.startswith("At equal time") for line in lines) == 1
    assert any("not comparable at equal time" in line for line in lines)
    assert lines[-2] == "25 more in tables.md"
    assert lines[-1].startswith("Intervals are 95 %")
    assert len(grouped(found, {pair: pair[1] for pair in found.arms}, most=5)) == 5


def test_metrics_are_named_where_not_all_are_told() -> None:
    found = comparison(8, metrics=3)
    rows = [attrs.evolve(row, metrics={**row.metrics, "metric 1": float(row.seed)}) for row in found.rows]
    letters = dict(zip(found.arms, "ABCDEFGH", strict=True))
    assert grouped(attrs.evolve(found, rows=rows), letters)[:2] == [
        "At equal time, examples and iterations, better in metric 0, metric 2 than A: B, D, F, H",
        "At equal time, examples and iterations, worse in metric 0, metric 2 than A: C, E, G",
    ]
    same = [attrs.evolve(row, metrics={name: float(row.seed) for name in row.metrics}) for row in found.rows]
    alike = "At equal time, examples and iterations, no metric can tell from A: B, C, D, E, F, G, H"
    assert grouped(attrs.evolve(found, rows=same), letters)[0] == alike
