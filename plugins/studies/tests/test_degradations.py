"""The study of degradations: its trials, its verdicts on made-up findings, its figure, a tiny run."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from torch import nn

from guideplug import Degraded, Expression, Findings, Measured, Registry, Train
from guideplug.experiments.studies import markdown, planned, run_study, write_report
from guideplug.run.failure import Failures
from guideplug.store import Store
from guideplug_studies import Degradations

REGISTRY = Registry.installed()
SMALL = {"denoiser": "tree-mlp(hidden=4)", "duration": "2it", "batch": 16, "device": "cpu", "threads": 1}
STUDY = Degradations(guider=Expression("autoguidance(weight=2:3:1)"), samples=8, metrics=("m",))
NOISE = {0: 0.0, 1: 0.02, 2: -0.01}
"""What differs between the seeds."""


def made_up(value: Callable[[str, str, float], float], better: str = "lower", study: Degradations = STUDY) -> Findings:
    """Findings of a study whose metric is a function of D_1, D_0 and w, and of the seed a little."""
    rows = [
        Measured(
            trial.axes,
            None,
            {"m": at(value, trial.axes)},
            {"m": 0.0},
            1.0,
            list,
            list,
            lambda role: nn.Identity(),  # type: ignore[arg-type]
        )
        for trial in study.trials()
    ]
    return Findings(rows, {"m": better})


def at(value: Callable[[str, str, float], float], axes: Mapping[str, Any]) -> float:
    """A value that is the function's, and its seed's deviation, which grows with the weight."""
    weight = float(axes["weight"])
    return value(axes["main"], axes["guide"], weight) + weight * NOISE[axes["seed"]]


def as_in_the_paper(main: str, guide: str, weight: float) -> float:
    """2 undegraded, 4 degraded; the same degradation restores 2 at w = 2, another does harm."""
    if main == "none":
        return 2.0
    if guide in ("none", main):
        return 4.0 if weight == 1 else 2.0 + abs(weight - 2)
    return 4.0 + weight


def rows_of(found: Findings, study: Degradations = STUDY) -> dict[tuple[str, str], dict[str, Any]]:
    table = study.report(found).tables["degradations"]
    rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    return {(str(row["D_1"]).split()[0], str(row["D_0"]).split()[0]): row for row in rows}


@pytest.mark.slow
def test_every_pair_is_of_one_training_a_seed() -> None:
    plan = planned(Degradations(), REGISTRY, {"device": "cpu"})
    assert len(plan.trials) == 3 * (1 + 2 + 4 * 8)
    assert [type(network.recipe) for network in plan.networks] == [Train] * 3
    for trial, config in zip(plan.trials, plan.configs, strict=True):
        main = config.main
        if trial.axes["main"] == "none":
            assert isinstance(main, Train)
            continue
        assert isinstance(main, Degraded)
        assert isinstance(main.of, Train)
        assert main.of.seed == main.seed == trial.axes["seed"]
        assert (main.dropout, main.noise) == ((0.05, 0.0) if trial.axes["main"] == "dropout" else (0.0, 0.1))
        if trial.axes["guide"] != "none":
            weak = config.models["weak"]
            assert isinstance(weak, Degraded)
            assert weak.of == main.of
            assert (weak.dropout, weak.noise) == ((0.1, 0.0) if trial.axes["guide"] == "dropout" else (0.0, 0.2))


def test_digits_offer_dropout_too() -> None:
    study = Degradations(task=REGISTRY.find("task", "digits")(), seeds=(0,), guider=STUDY.guider)  # type: ignore[operator]
    assert len(planned(study, REGISTRY, {"device": "cpu"}).trials) == 1 + 2 + 4 * 2


def test_weight_one_is_not_run_twice() -> None:
    study = evolve(STUDY, guider=Expression("autoguidance(weight=1:2:1)"), seeds=(0,))
    assert [trial.axes["weight"] for trial in study.trials() if trial.axes["guide"] != "none"] == [2.0] * 4


def test_the_papers_outcome_is_told_as_such() -> None:
    rows = rows_of(made_up(as_in_the_paper))
    for kind in ("dropout", "noise"):
        same = rows[kind, kind]
        assert (same["best w"], same["restored"]) == ("2", "100 %")
        assert same["verdict"] == "better, not told from undegraded"
        assert same["guided, held out"] == pytest.approx([2.0, 2.04, 1.98])
        assert same["D_1 alone"] == pytest.approx([4.0, 4.02, 3.99])
    for pair in (("dropout", "noise"), ("noise", "dropout")):
        assert (rows[pair]["best w"], rows[pair]["restored"], rows[pair]["verdict"]) == ("1", "0 %", "off is best")


def test_another_outcome_is_told_too() -> None:
    def other(main: str, guide: str, weight: float) -> float:
        """Half of the loss restored by the same, all and more by another; noise costs nothing."""
        if main == "none" or (main == "noise" and weight == 1):
            return 2.0
        if weight == 1:
            return 4.0
        return (3.0 if guide == main else 1.0) if main == "dropout" else 5.0

    report = STUDY.report(made_up(other))
    rows = rows_of(made_up(other))
    assert (rows["dropout", "dropout"]["restored"], rows["dropout", "dropout"]["verdict"]) == (
        "49 %",
        "better, not restored",
    )
    assert rows["dropout", "noise"]["verdict"] == "better than undegraded"
    assert rows["noise", "noise"]["restored"] == "-"
    assert "no loss is told that could be restored: m by noise" in report.sentences
    assert any(
        "D_1 dropout, D_0 dropout" in line and "better, not restored: m (w 2, 49 %" in line for line in report.sentences
    )


def test_higher_is_better_the_other_way_round() -> None:
    rows = rows_of(made_up(lambda *where: -as_in_the_paper(*where), better="higher"))
    assert (rows["noise", "noise"]["best w"], rows["noise", "noise"]["restored"]) == ("2", "100 %")
    assert rows["noise", "noise"]["gain, 95 %"].startswith("+2 [+1.94")


def test_values_are_of_the_weight_that_is_best_on_the_other_seeds() -> None:
    rows = rows_of(made_up(lambda main, guide, weight: 2.0 if main == "none" else 4.0))
    row = rows["noise", "noise"]  # what the seeds differ by grows with w, and for seeds 0 and 2 that is down
    assert row["best w"] == "1"
    assert row["guided, held out"] == pytest.approx([4.0, 4.0 + 3 * 0.02, 4.0 - 0.01])


def test_one_seed_has_no_interval() -> None:
    study = evolve(STUDY, seeds=(0,))
    report = study.report(made_up(as_in_the_paper, study=study))
    assert report.tables["degradations"].rows[0][-3:] == ["-", "-", "-"]
    assert "one seed" in report.sentences[-1]


def test_weights_without_a_value_are_left_out() -> None:
    found = made_up(as_in_the_paper)
    rows = [
        row if row.axes["weight"] != 2.0 or row.axes["seed"] != 2 else evolve(row, metrics={"m": None})
        for row in found.rows
    ]
    row = rows_of(Findings(rows, found.better))["noise", "noise"]
    assert row["best w"] == "3"
    assert len(row["guided, held out"]) == 3


def test_its_figure_is_drawn(tmp_path: Path) -> None:
    STUDY.report(made_up(as_in_the_paper)).figures["degradations"](tmp_path / "f.png")
    assert (tmp_path / "f.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_a_tiny_one_is_carried_out(tmp_path: Path) -> None:
    study = evolve(STUDY, seeds=(1,), metrics=("inside outline", "sliced W2"))
    plan = planned(study, REGISTRY, SMALL)
    (tmp_path / "trials").mkdir()
    found = run_study(plan, REGISTRY, tmp_path, Store(tmp_path / "store"))
    failures = Failures()
    report, paths = write_report(plan, found, tmp_path, failures)
    files = {file.name for file in paths}
    assert failures.listed == []
    assert {"degradations.md", "degradations.csv", "degradations.png"} <= files
    assert (tmp_path / "degradations.png").read_bytes().startswith(b"\x89PNG")
    assert "| sliced W2 ↓ | dropout 5 % | noise 20 % |" in markdown(plan, found, report)
    plain = found.where(main="none").values("sliced W2")
    assert plain != found.where(main="noise", guide="none").values("sliced W2")
    assert len(report.tables["degradations"].rows) == 2 * 4


def test_an_omega_of_1_is_a_weight_of_2() -> None:
    study = evolve(STUDY, guider=Expression("sims(omega=0.5:1.5:0.5, model=weak)"), seeds=(0,))
    trials = [trial for trial in study.trials() if trial.axes["guide"] != "none"]
    assert [trial.axes["weight"] for trial in trials] == [1.5, 2.0, 2.5] * 4
    assert trials[1].run["guider"] == "sims(omega=1.0, model=weak)"


def without(found: Findings, **axes: Any) -> Findings:
    """Findings that have no values at some axes."""
    rows = [evolve(row, metrics={"m": None}) if axes.items() <= row.axes.items() else row for row in found.rows]
    return Findings(rows, found.better)


def test_without_undegraded_values_there_is_no_figure() -> None:
    report = STUDY.report(without(made_up(as_in_the_paper), main="none"))
    assert not report.tables["degradations"].rows
    assert not report.figures


def test_a_degradation_without_values_has_no_panel_and_the_legend_is_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from matplotlib.figure import Figure

    labels: list[str] = []
    own = Figure.legend

    def legend(self: Figure, handles: Any, named: list[str], **options: Any) -> Any:
        labels.extend(named)
        return own(self, handles, named, **options)

    monkeypatch.setattr(Figure, "legend", legend)
    report = STUDY.report(without(made_up(as_in_the_paper), main="dropout"))
    assert len(report.tables["degradations"].rows) == 2
    report.figures["degradations"](tmp_path / "f.png")
    assert "D_1 alone" in labels
