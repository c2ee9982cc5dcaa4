"""The study of loops: its trials, what it says of distances made up for the purpose, its figure, and a tiny whole."""

import csv
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from attrs import evolve
from click.testing import CliRunner
from torch import nn

from guideplug import Findings, Measured, Registry
from guideplug.cli.main import main
from guideplug.experiments.studies import planned
from guideplug_studies import Mad

TINY = (
    "mad(shares=[0.5], omegas=[0, 1], generations=[1, 3], seeds=[0, 1], real=40, duration=6it, budget=2it, batch=32, "
    "samples=32, steps=3)"
)


def fake() -> Any:
    """What the study asks of the task: the real data, and how far they are."""
    distance = SimpleNamespace(name="gaussian-w2", measure=lambda arm, context: float(arm.samples.mean()))
    return SimpleNamespace(size=lambda: 4, items=lambda ids: (torch.full((len(ids), 2), 0.07), None),
                           metrics=lambda: (distance,))  # fmt: skip


def findings(values: dict[tuple[float, float], dict[int, list[float]]]) -> Findings:
    """Distances of repetitions 0, 1, 2, by (share, omega) and generation."""
    rows = [
        Measured(
            {"share": share, "omega": omega, "generation": number, "seed": seed},
            fake(),
            {"gaussian-w2": value, "other": None},
            {"gaussian-w2": 0.02},
            1.0,
            lambda: None,
            list,
            lambda role: nn.Identity(),
        )
        for (share, omega), loop in values.items()
        for number, several in loop.items()
        for seed, value in enumerate(several)
    ]
    return Findings(rows, {"gaussian-w2": "lower", "other": "lower"})


START, GROWN = [0.10, 0.11, 0.12], [0.30, 0.32, 0.31]
KEPT, SMALLER = [0.09, 0.10, 0.11], [0.20, 0.22, 0.21]


def test_a_chain_for_each_loop_strength_and_repetition_a_generation_at_a_time() -> None:
    study = Mad(shares=(0.25, 0.5), omegas=(0.0, 1.0), generations=(4, 1), seeds=(5, 6))
    trials = study.trials()
    assert len(trials) == 3 * 2 * 2 * 2
    assert [trial.axes["generation"] for trial in trials] == [1] * 12 + [4] * 12
    by = {tuple(trial.axes.values()): trial.run for trial in trials}
    plain, guided, fully = by[0.25, 0.0, 4, 6], by[0.5, 1.0, 4, 6], by[1.0, 1.0, 4, 6]
    assert plain["models"] == {"main": "generation(number=4, synthetic=333, seed=6)"}
    assert plain["guider"] == "none"
    assert guided["guider"] == "sims(omega=1)"
    assert guided["models"]["synthetic"] == "auxiliary(of=main)"  # type: ignore[index]
    assert "synthetic=1000, seed=6, guider=sims(omega=1)" in guided["models"]["main"]  # type: ignore[index]
    assert "synthetic=1000, seed=6, real=false" in fully["models"]["main"]  # type: ignore[index]
    assert fully["task"] == "gaussian(count=1000, data_seed=6)"


def test_its_trials_can_be_carried_out() -> None:
    study = Mad(shares=(0.25, 0.5), omegas=(0.0, 1.0), generations=(1, 3), seeds=(5,))
    plan = planned(study, Registry.installed(), {"device": "cpu", "threads": 1})
    assert {type(config.task).__name__ for config in plan.configs} == {"Gaussian"}
    # Each loop, plain or guided, has two generations, and a copy of each where it is guided; first copies that were
    # tuned on 1,000 samples are one, of the loop of half and of the fully synthetic one. All stand on one network of
    # the real data.
    assert len(plan.networks) == 3 * (2 + 4) - 1 + 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shares": (0.5, 1.0)}, "shares has 1: a share of synthetic data is between 0 and 1, both excluded"),
        ({"shares": (0.0,)}, "shares has 0"),
        ({"shares": (), "fully": False}, "shares is empty: give at least one"),
        ({"omegas": (0.5, -1.0)}, "omegas has -1: omega is finite and at least 0"),
        ({"omegas": ()}, "omegas is empty"),
        ({"seeds": ()}, "seeds is empty"),
        ({"generations": (1,)}, r"generations are \[1\]: give 1, and later ones"),
        ({"generations": (2, 3)}, r"generations are \[2, 3\]: give 1, and later ones"),
    ],
)
def test_options_that_fit_no_experiment_are_refused_in_a_line(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}[^\n]*$"):
        Mad(**options)


def test_verdicts_follow_from_the_numbers() -> None:
    found = findings(
        {
            (0.5, 0.0): {1: START, 8: GROWN},
            (0.5, 1.0): {1: START, 8: KEPT},
            (0.5, 2.0): {1: START, 8: [0.5, 0.51, 0.53]},
            (1.0, 0.0): {1: START, 8: GROWN},
            (1.0, 1.0): {1: START, 8: SMALLER},
            (1.0, 2.0): {1: START, 8: [0.2, 0.4, 0.33]},
        }
    )
    report = Mad(shares=(0.5,), omegas=(0.0, 1.0, 2.0), generations=(1, 8)).report(found)
    rows = report.tables["mad"].rows
    assert [row[-1] for row in rows] == ["degrades", "prevents", "worse", "degrades", "mitigates", "not told apart"]
    assert rows[0][4] == "+0.2 [+0.175, +0.225]"
    assert rows[1][5] == "-0.01 [-0.01, -0.01]"
    assert rows[0][5] == "-"
    said = "\n".join(report.sentences)
    assert "50 % synthetic, standard: degrades; gaussian-w2 0.110 at generation 1, 0.310 at 8" in said
    assert "50 % synthetic, SIMS at its best omega, 1: prevents" in said
    assert (
        "SIMS keeps the last generation as near as the standard's first in: 50 % synthetic; not shown for: fully"
        in said
    )
    assert "0.020 for 2,048 true samples, 0.070 for the 1,000 real data" in said


def test_a_better_omega_is_found_in_each_loop() -> None:
    rows = {(0.5, 0.0): {1: START, 8: GROWN}, (0.5, 1.0): {1: START, 8: GROWN}, (0.5, 2.0): {1: START, 8: SMALLER}}
    report = Mad(shares=(0.5,), fully=False, generations=(1, 8)).report(findings(rows))
    assert any("SIMS at its best omega, 2" in sentence for sentence in report.sentences)


def test_one_repetition_gives_no_verdict() -> None:
    report = Mad(shares=(0.5,), generations=(1, 8), seeds=(0,)).report(
        findings({(0.5, 0.0): {1: [0.1], 8: [0.3]}, (0.5, 1.0): {1: [0.1], 8: [0.2]}})
    )
    assert [row[-1] for row in report.tables["mad"].rows] == ["-", "-"]
    assert report.sentences[-1] == "one repetition: no interval"


def test_its_figure_has_a_panel_for_each_loop(tmp_path: Path) -> None:
    found = findings({(0.5, 0.0): {1: START, 8: GROWN}, (1.0, 0.0): {1: START, 8: GROWN}})
    Mad(shares=(0.5,), omegas=(0.0,), generations=(1, 8)).report(found).figures["mad"](tmp_path / "m.png")
    assert (tmp_path / "m.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_it_runs_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GUIDEPLUG_STORE", str(tmp_path / "store"))
    result = CliRunner().invoke(main, ["study", TINY, "--device", "cpu", "--out", "m"], prog_name="guideplug")
    assert result.exit_code == 0, result.output
    trials = list(csv.DictReader(Path("m/trials.csv").read_text().splitlines()))
    assert len(trials) == 2 * 2 * 2 * 2
    first = {
        row["gaussian-w2"] for row in trials if (row["generation"], row["omega"], row["seed"]) == ("1", "0.0", "0")
    }
    assert len(first) == 1  # all loops begin with one model
    assert Path("m/mad.png").is_file()
    assert Path("m/mad-last.csv").is_file()


def missing(loop: dict[int, list[float]], number: int) -> Any:
    """A loop that has no values at a generation."""
    return {**loop, number: [None] * 3}


LOOPS: dict[tuple[float, float], Any] = {(0.5, 0.0): {1: START, 8: GROWN}, (0.5, 1.0): {1: START, 8: KEPT},
                                         (0.5, 2.0): {1: START, 8: SMALLER}}  # fmt: skip
ENDS = Mad(shares=(0.5,), fully=False, omegas=(0.0, 1.0, 2.0), generations=(1, 8))


def test_an_ending_without_values_is_left_out_and_named(tmp_path: Path) -> None:
    report = ENDS.report(findings({**LOOPS, (0.5, 1.0): missing(LOOPS[0.5, 1.0], 8)}))
    assert [row[-1] for row in report.tables["mad"].rows] == ["degrades", "-", "mitigates"]
    assert "50 % synthetic, SIMS at omega 1: gaussian-w2 has no value at generation 8" in report.sentences
    assert any("SIMS at its best omega, 2" in line for line in report.sentences)
    report.figures["mad"](tmp_path / "m.png")
    assert (tmp_path / "m.png").is_file()


def test_a_standard_loop_without_values_is_named(tmp_path: Path) -> None:
    report = ENDS.report(findings({**LOOPS, (0.5, 0.0): missing(LOOPS[0.5, 0.0], 1)}))
    assert report.sentences[0] == "50 % synthetic, standard: gaussian-w2 has no value at generation 1"
    report.figures["mad"](tmp_path / "m.png")


def test_without_any_value_there_is_no_figure() -> None:
    found = findings({key: missing(missing(loop, 1), 8) for key, loop in LOOPS.items()})
    rows = [evolve(row, truth={"gaussian-w2": None}) for row in found.rows]
    report = ENDS.report(Findings(rows, found.better))
    assert not report.figures
    assert not [line for line in report.sentences if line.startswith("the floor")]


def test_omegas_keep_all_their_digits() -> None:
    trial = Mad(shares=(0.5,), omegas=(0.12345678,), seeds=(0,), lr=0.031234567).trials()[0]
    assert trial.run["guider"] == "sims(omega=0.12345678)"
    assert "guider=sims(omega=0.12345678)" in trial.run["models"]["main"]  # type: ignore[index]
    assert "lr=0.031234567" in trial.run["models"]["main"]  # type: ignore[index]
