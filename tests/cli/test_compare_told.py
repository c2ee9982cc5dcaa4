"""What `guideplug compare` prints: tables that fit, few sentences, where it is, and what there is to do."""

import io
import re
from pathlib import Path
from typing import Any

import attrs
import pytest
from rich.console import Console

from guideplug.cli.compare_progress import CompareProgress
from guideplug.cli.compare_tables import WIDTH, grouped, tell
from guideplug.compare.result import Comparison, Row, Training

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


# Where it is


def lines_of(trainings: int, measured: int) -> list[str]:
    return [
        *(f"trained {n + 1} of {trainings}: none, seed {n}, 1.0 s" for n in range(trainings)),
        "an iteration without selection: 1.5 ms (1.4 to 1.6)",
        "an iteration with jest: 2.5 ms (2.4 to 2.6)",
        *(f"measured {n + 1} of {measured}: none, seed 0, step {n}" for n in range(measured)),
    ]


def followed(found: set[tuple[str, int]], terminal: bool = False) -> str:
    file = io.StringIO()
    told = CompareProgress(Console(file=file, force_terminal=terminal, width=100), found, 12)
    for line in lines_of(12, 48):
        told(line)
    told("something else")
    told.close()
    return file.getvalue()


def test_about_ten_lines_where_there_is_no_terminal() -> None:
    lines = [line.split("] ")[1] for line in followed(set()).splitlines()]
    assert len(lines) == 4 + 1 + 4 + 1
    assert re.fullmatch(r"trained 3 of 12, about 1 s left", lines[0])
    assert lines[3:5] == ["trained 12 of 12", "priced 2 kinds of iterations: 1.5 to 2.5 ms each (costs.json)"]
    assert lines[-2:] == ["measured 48 of 48", "something else"]


def test_what_was_found_was_not_trained() -> None:
    assert "3 of 12 trainings: trained 1, found 2 in the store, about 1 s left" in followed({("none", 0), ("none", 2)})
    every = {("none", seed) for seed in range(12)}
    assert "12 of 12 trainings: found 12 in the store\n" in followed(every)
    assert "trained" not in followed(every)


def test_one_line_on_a_terminal() -> None:
    text = followed(set(), terminal=True)
    assert re.findall(r"\[ +\d+ s\] ([^\n\r]*)", text) == [
        "trained 12 of 12",
        "priced 2 kinds of iterations: 1.5 to 2.5 ms each (costs.json)",
        "measured 48 of 48",
        "something else",
    ]


# What there is to do, and what is pointless


@pytest.mark.slow
def test_a_dry_run_counts_what_the_store_has(cli: Any) -> None:
    arms = (*TOYS, "--selector", "none", "--selector", "toy-half", "--guider", "autoguidance")
    arms = (*arms, "--snapshots", "2")
    told = cli("compare", *arms, "--seeds", "0,1", "--moments", "2", "--dry-run").stdout
    each = "2 snapshots each, measured at 20, 40 and the budgets"
    assert f"# 4 trainings of 40 iterations, {each}; none of them in the store already" in told
    assert "# 2 trainings of references and guides; none of them in the store already" in told
    assert "# up to 8 times 32 samples to measure" in told
    assert re.search(r"# training takes about \d+ s here; ", told)
    assert cli.files() == set()
    cli("compare", *arms, "--seeds", "0", "--moments", "2", "--out", "run")
    told = cli("compare", *arms, "--seeds", "0,1", "--moments", "2", "--dry-run", "--jobs", "2").stdout
    assert "measured at 20, 40 and the budgets; 2 of them in the store already" in told
    assert "# 2 trainings of references and guides; 1 of them in the store already" in told
    assert "in 2 processes, if each has a core" in told
    told = cli("compare", *arms, "--seeds", "0", "--moments", "4", "--dry-run").stdout
    assert "# 2 trainings in the store with other snapshots: done once more for these" in told
    told = cli("compare", *arms, "--seeds", "0", "--moments", "2", "--out", "again").stdout
    assert "2 of 2 trainings: found 2 in the store" in told


def test_one_arm_and_one_seed_are_told_before_any_work(cli: Any) -> None:
    seed, arm = "one seed: no interval can be given; give --seeds 0,1,2", "one arm: there is nothing to compare it with"
    told = cli("compare", *TOYS, "--moments", "1", "--out", "run").stdout
    assert told.startswith(f"{seed}\n{arm}")
    assert "1 seeds" not in told
    assert "no curves: one snapshot an arm; give --moments 8\npage: run/report.html\nfolder: run (tables.md, " in told
    assert not Path("run/figures").exists()
    told = cli("compare", *TOYS, "--dry-run").stdout
    assert f"# {seed}\n# {arm}" in told
    told = cli("compare", *TOYS, "--dry-run", "--seeds", "0,1", "--selector", "none", "--selector", "random").stdout
    assert seed not in told
    assert arm not in told
