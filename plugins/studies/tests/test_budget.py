"""The study of budgets: its trials, what it says of made-up findings, its figure, a tiny run."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from torch import nn

from guideplug import Expression, Findings, FineTune, Measured, Registry, Snapshot, Synthetic, Train
from guideplug.experiments.studies import markdown, planned, run_study, write_report
from guideplug.run.failure import Failures
from guideplug.store import Store
from guideplug_studies import Budget

REGISTRY = Registry.installed()
SMALL = {"denoiser": "tree-mlp(hidden=4)", "duration": "2it", "batch": 16, "device": "cpu", "threads": 1}
STUDY = Budget(budgets=(10, 20, 40), omegas=(0.5, 1.0, 2.0), metrics=("m",))
NOISE = {0: 0.0, 1: 0.02, 2: -0.01}
"""What differs between the seeds."""


def made_up(value: Callable[[int, float], float], better: str = "lower", study: Budget = STUDY) -> Findings:
    """Findings whose metric is a function of budget and omega, (0, 0) unguided, and of the seed a little."""
    rows = []
    for trial in study.trials():
        axes: Any = trial.axes
        here = value(axes["budget"], axes["omega"]) + (1 + axes["omega"]) * NOISE[axes["seed"]]
        here += axes["budget"] * axes["seed"] / 1000  # so that no difference is equal for all seeds
        rows.append(Measured(axes, None, {"m": here}, {"m": 0.0}, 1.0, list, list, lambda role: nn.Identity()))  # type: ignore[arg-type]
    return Findings(rows, {"m": better})


def as_in_the_paper(budget: int, omega: float) -> float:
    """2 unguided, 1 at (20, 1), worse on all sides."""
    return 2.0 if budget == 0 else 1.0 + abs(budget - 20) / 20 + abs(omega - 1)


def table_of(found: Findings, name: str = "budget", study: Budget = STUDY) -> list[dict[str, Any]]:
    table = study.report(found).tables[name]
    return [dict(zip(table.columns, row, strict=True)) for row in table.rows]


@pytest.mark.slow
def test_the_copies_are_snapshots_of_one_fine_tuning_a_seed() -> None:
    plan = planned(Budget(), REGISTRY, {"device": "cpu"})
    assert len(plan.trials) == 3 * (1 + 4 * 4)
    kinds = [type(network.recipe) for network in plan.networks]
    assert (kinds.count(Train), kinds.count(FineTune), kinds.count(Snapshot), len(kinds)) == (3, 3, 3 * 4, 3 * 6)
    tunings = set()
    for trial, config in zip(plan.trials, plan.configs, strict=True):
        if trial.axes["guider"] == "none":
            continue
        copy = config.models["synthetic"]
        assert isinstance(copy, Snapshot)
        assert copy.at is not None
        assert copy.at.amount == trial.axes["budget"]
        assert isinstance(copy.of, FineTune)
        assert copy.of.of == config.main
        assert isinstance(copy.of.on, Synthetic)
        assert (copy.of.seed, copy.of.on.seed, config.main.seed) == (trial.axes["seed"],) * 3  # type: ignore[attr-defined]
        assert config.guider.omega == trial.axes["omega"]  # type: ignore[union-attr]
        tunings.add((copy.of.seed, copy.of.options.steps, copy.of.options.lr))
    assert tunings == {(seed, 768, 0.0004) for seed in (0, 1, 2)}


@pytest.mark.slow
def test_its_copy_is_that_of_the_guider_by_default() -> None:
    """The defaults for digits are SIMS's own: as many samples as there are data, a tenth of the learning rate."""
    config = planned(Budget(seeds=(0,)), REGISTRY, {"device": "cpu"}).configs[-1]
    copy: Any = config.models["synthetic"]
    (own,) = planned(Budget(seeds=(0,), budgets=(188,), omegas=(1.0,)), REGISTRY, {"device": "cpu"}).configs[1:]
    needed = REGISTRY.find("guider", "sims")().needs(own.task, own.main)["synthetic"]  # type: ignore[operator]
    assert str(needed).startswith(f"fine-tune(of=main, on=synthetic(of=main, count={copy.of.on.count}, seed=0)")
    assert f"lr={copy.of.options.lr:g}, schedule=constant, warmup=0, seed=0)" in str(needed)


def test_omega_is_set_inside_other_guiders() -> None:
    study = evolve(STUDY, guiders=(Expression("interval(sims, high=1)"),), seeds=(0,), omegas=(3.0,))
    config = planned(study, REGISTRY, {"device": "cpu"}).configs[-1]
    assert config.guider.guider.omega == 3.0  # type: ignore[union-attr]


def test_a_stopping_point_between_the_ends_is_told() -> None:
    (row,) = table_of(made_up(as_in_the_paper))
    assert (row["best budget"], row["best omega"], row["verdict"]) == ("20", "1", "better")
    assert row["unguided"] == pytest.approx([2.0, 2.02, 1.99])
    assert row["held out"] == pytest.approx([1.0, 1.06, 1.02])
    (said, _) = STUDY.report(made_up(as_in_the_paper)).sentences
    assert "sims, m: best at 20 iterations and omega 1, better than unguided" in said
    assert "between the ends, and better than 10 iterations, better than 40 iterations" in said
    assert "best omega by budget 10: 1, 20: 1, 40: 1" in said


def test_ends_of_the_grid_are_told() -> None:
    def endless(budget: int, omega: float) -> float:
        return 2.0 - 0.01 * budget * omega

    said = STUDY.report(made_up(endless)).sentences[0]
    assert "best at 40 iterations and omega 2" in said
    assert "the longest budget, so the grid shows no stopping point" in said
    assert said.endswith("the largest omega of the grid")


def test_guidance_that_never_helps_is_told() -> None:
    (row,) = table_of(made_up(lambda budget, omega: 2.0 + budget))
    assert row["verdict"] == "worse"
    assert "worse than unguided even there" in STUDY.report(made_up(lambda budget, omega: 2.0 + budget)).sentences[0]


def test_higher_is_better_the_other_way_round() -> None:
    (row,) = table_of(made_up(lambda *where: -as_in_the_paper(*where), better="higher"))
    assert (row["best budget"], row["best omega"], row["verdict"]) == ("20", "1", "better")
    assert row["difference, 95 %"].startswith("+")


def test_each_seed_has_its_own_best_place_and_is_held_out_of_the_common_one() -> None:
    def flat(budget: int, omega: float) -> float:
        return 2.0 - 0.002 * omega

    rows = table_of(made_up(flat), "budget-seeds")
    assert [row["best omega"] for row in rows] == ["2", "0.5", "2"]
    (row,) = table_of(made_up(flat))
    assert (row["best budget"], row["best omega"]) == ("10", "0.5")
    assert row["held out"][1] == pytest.approx(2.0 - 0.004 + 3 * 0.02 + 0.01)  # omega 2 is best on seeds 0 and 2


def test_one_seed_has_no_interval() -> None:
    study = evolve(STUDY, seeds=(0,))
    report = study.report(made_up(as_in_the_paper, study=study))
    assert report.tables["budget"].rows[0][-2:] == ["-", "-"]
    assert "one seed" in report.sentences[-1]


def test_places_without_a_value_are_left_out() -> None:
    found = made_up(as_in_the_paper)
    rows = [
        row if row.axes["omega"] != 1.0 or row.axes["seed"] != 2 else evolve(row, metrics={"m": None})
        for row in found.rows
    ]
    (row,) = table_of(Findings(rows, found.better))
    assert row["best omega"] != "1"
    assert len(row["held out"]) == 3


def test_its_figure_is_drawn_of_several_guiders(tmp_path: Path) -> None:
    study = evolve(STUDY, guiders=(Expression("sims"), Expression("interval(sims, high=1)")))
    study.report(made_up(as_in_the_paper, study=study)).figures["budget"](tmp_path / "f.png")
    assert (tmp_path / "f.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("options", [{"budgets": ()}, {"budgets": (0,)}, {"omegas": (0.0,)}, {"omegas": ()}])
def test_no_budgets_or_omegas_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        evolve(STUDY, **options)


@pytest.mark.slow
def test_a_tiny_one_is_carried_out(tmp_path: Path) -> None:
    study = Budget(
        task=Expression("tree"), budgets=(2, 4), omegas=(1.0,), count=8, seeds=(0, 1), samples=8,
        metrics=("branch KL", "sliced W2"),
    )  # fmt: skip
    plan = planned(study, REGISTRY, SMALL)
    (tmp_path / "trials").mkdir()
    found = run_study(plan, REGISTRY, tmp_path, Store(tmp_path / "store"))
    failures = Failures()
    report, paths = write_report(plan, found, tmp_path, failures)
    files = {file.name for file in paths}
    assert failures.listed == []
    assert {"budget.md", "budget.csv", "budget-seeds.csv", "budget.png"} <= files
    assert (tmp_path / "budget.png").read_bytes().startswith(b"\x89PNG")
    assert "| branch KL ↓ | sims |" in markdown(plan, found, report)
    assert len(report.tables["budget-seeds"].rows) == 2 * 2


def without(found: Findings, guided: bool, **axes: Any) -> Findings:
    """Findings that have no values at some axes of the guided rows, or of the unguided."""
    rows = [
        evolve(row, metrics={"m": None})
        if (row.axes["guider"] != "none") is guided and axes.items() <= row.axes.items()
        else row
        for row in found.rows
    ]
    return Findings(rows, found.better)


@pytest.mark.parametrize("guided", [True, False])
def test_where_nothing_can_be_compared_there_is_no_figure(guided: bool) -> None:
    report = STUDY.report(without(made_up(as_in_the_paper), guided))
    assert not report.tables["budget"].rows
    assert not report.figures


def test_places_without_a_value_have_a_dash_on_the_map(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib.axes import Axes

    texts: list[str] = []
    own = Axes.text

    def text(self: Axes, x: float, y: float, said: str, **options: Any) -> Any:
        texts.append(said)
        return own(self, x, y, said, **options)

    monkeypatch.setattr(Axes, "text", text)
    found = without(made_up(as_in_the_paper), True, seed=1, budget=10, omega=2.0)
    STUDY.report(found).figures["budget"](tmp_path / "f.png")
    assert texts.count("-") == 1
    assert not [one for one in texts if "nan" in one]


def test_seeds_on_both_sides_of_the_truth_do_not_cancel_out() -> None:
    found = made_up(as_in_the_paper, better="truth")
    rows = [
        evolve(row, metrics={"m": (-3.0, 0.0, 3.0)[int(row.axes["seed"])]})
        if (row.axes["budget"], row.axes["omega"]) == (40, 2.0)
        else row
        for row in found.rows
    ]
    (row,) = table_of(Findings(rows, found.better))
    assert (row["best budget"], row["best omega"]) == ("20", "1")


def test_a_metric_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match="metrics has 'n': there are m"):
        evolve(STUDY, metrics=("m", "n")).report(made_up(as_in_the_paper))
