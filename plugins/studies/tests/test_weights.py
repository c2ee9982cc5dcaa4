"""The weights study: its points, the best weight and the held-out value, on numbers made up for the purpose."""

import csv
import math
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from guideplug import ConfigError, Expression, Findings, Measured, Registry
from guideplug.laboratory import planned
from guideplug_studies import Weights
from guideplug_studies.curves import curve

GUIDER = Expression("autoguidance(weight=1.5:2.5:0.5)")


def row(value: float | None, **axes: Any) -> Measured:
    return Measured(axes, None, {"m": value}, {"m": 0.0}, 1.0, list, list, lambda role: nn.Identity())  # type: ignore[arg-type]


def findings(values: dict[int, list[float]], unguided: dict[int, float], better: str = "lower") -> Findings:
    """Seeds' values at weights 1.5, 2, 2.5."""
    rows = []
    for seed, several in values.items():
        rows.append(row(unguided[seed], guider="none", weight=1.0, seed=seed, guide="own"))
        for weight, value in zip((1.5, 2.0, 2.5), several, strict=True):
            rows.append(row(value, guider=str(GUIDER), weight=weight, seed=seed, guide="own"))
    return Findings(rows, {"m": better})


def test_a_curve_for_each_guider_at_the_same_weights() -> None:
    study = Weights(guiders=(GUIDER, Expression("sims(omega=0.5:1.5:0.5)")), seeds=(3, 4))
    trials = study.trials()
    assert len(trials) == 2 * (1 + 3 + 3)
    weights = {(str(trial.axes["guider"])[:4], trial.axes["weight"]) for trial in trials}
    assert weights == {("none", 1.0)} | {(name, w) for name in ("auto", "sims") for w in (1.5, 2.0, 2.5)}
    sims = next(trial for trial in trials if trial.axes["weight"] == 2.5 and "sims" in str(trial.axes["guider"]))
    assert sims.run["guider"] == "sims(omega=1.5)"


def test_a_blend_is_one_curve() -> None:
    text = "blend([cfg(weight=1.5:2.5:0.5), autoguidance(weight=2:4:1)], shares=[0.25, 0.75])"
    found = [trial.run["guider"] for trial in Weights(guiders=(Expression(text),), seeds=(0,)).trials()[1:]]
    assert found == [
        f"blend([cfg(weight={a}), autoguidance(weight={b})], shares=[0.25, 0.75])"
        for a, b in ((1.5, 2), (2.0, 3), (2.5, 4))
    ]


def test_the_held_out_value_is_at_the_weight_that_the_others_choose() -> None:
    found = findings({0: [1.0, 5.0, 9.0], 1: [8.0, 2.0, 9.0], 2: [8.0, 3.0, 9.0]}, {0: 4.0, 1: 4.0, 2: 4.0})
    one = curve(found, str(GUIDER), "m")
    assert one.best(found, "m") == 2.0  # means 17/3, 10/3, 9
    assert one.best_of_each(found, "m") == [1.5, 2.0, 2.0]
    # Without seed 0, 2.0 is best; without 1 or 2 the means at 2.0 are 4 and 3.5, and 4.5 at 1.5.
    assert one.held_out(found, "m") == {0: 5.0, 1: 2.0, 2: 3.0}
    (cells,) = Weights(guiders=(GUIDER,), seeds=(0, 1, 2)).report(found).tables["weights"].rows
    assert cells[5] == [5.0, 2.0, 3.0]
    assert str(cells[6]).startswith("-0.667 [")
    assert cells[7] == "-"


def test_a_clear_difference_is_told_whichever_way_is_better() -> None:
    values = {seed: [0.1 + 0.001 * seed, 0.5, 0.6] for seed in range(4)}
    plain = dict.fromkeys(range(4), 0.3)
    study = Weights(guiders=(GUIDER,), seeds=(0, 1, 2, 3))
    lower, higher = (study.report(findings(values, plain, better)) for better in ("lower", "higher"))
    assert lower.tables["weights"].rows[0][7] == "better"
    assert "better than unguided in m (w 1.5)" in lower.sentences[0]
    assert higher.tables["weights"].rows[0][3] == "2.5"
    # Equal for all seeds: an interval without width says nothing.
    assert higher.tables["weights"].rows[0][7] == "-"


def test_weights_without_a_value_for_every_seed_are_not_chosen() -> None:
    found = findings({0: [1.0, 5.0, 9.0], 1: [math.nan, 2.0, 9.0]}, {0: 4.0, 1: 4.0})
    rows = [row(None, **one.axes) if one.metrics["m"] != one.metrics["m"] else one for one in found.rows]
    gaps = Findings(rows, found.better)
    assert curve(gaps, str(GUIDER), "m").best(gaps, "m") == 2.0


def test_its_figure_has_a_panel_for_each_metric(tmp_path: Path) -> None:
    report = Weights(guiders=(GUIDER,)).report(findings({0: [1.0, 2.0, 90.0]}, {0: 1.5}))
    report.figures["weights"](tmp_path / "w.png")
    assert (tmp_path / "w.png").read_bytes().startswith(b"\x89PNG")
    assert len(list(csv.reader(report.tables["weights"].csv().splitlines()))) == 2


def test_the_networks_of_the_defaults() -> None:
    plan = planned(Weights(seeds=(0,)), Registry.installed(), {"device": "cpu", "threads": 1})
    assert len(plan.networks) == 4  # main, weak, unconditional, synthetic
    assert {type(config.task).__name__ for config in plan.configs} == {"Tree"}


def test_a_role_that_no_guide_has_is_refused() -> None:
    study = Weights(guiders=(GUIDER,), seeds=(0,), guide_seeds=(1,), roles=("strong",))
    with pytest.raises(ConfigError, match="options are set of strong, and its roles are main, weak"):
        planned(study, Registry.installed(), {"device": "cpu"})
