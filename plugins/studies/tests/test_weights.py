"""The weights study: its points, the best weight and the held-out value, on numbers made up for the purpose."""

import csv
import math
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from torch import nn

from guideplug import ConfigError, Expression, Findings, Measured, Registry, held_out_interval
from guideplug.cli.main import main
from guideplug.experiments.studies import planned
from guideplug_studies import Weights
from guideplug_studies.curves import curve, points

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
    text = "zip(blend([cfg(weight=1.5:2.5:0.5), autoguidance(weight=2:4:1)], shares=[0.25, 0.75]))"
    found = [trial.run["guider"] for trial in Weights(guiders=(Expression(text),), seeds=(0,)).trials()[1:]]
    assert found == [
        f"blend([cfg(weight={a}), autoguidance(weight={b})], shares=[0.25, 0.75])"
        for a, b in ((1.5, 2), (2.0, 3), (2.5, 4))
    ]


def test_a_grid_is_refused_with_the_expression_of_pairs() -> None:
    text = "blend([cfg(weight=1.5:2.5:0.5), autoguidance(weight=2:4:1)])"
    with pytest.raises(
        ConfigError, match=r"study 'weights' of guideplug-studies \S+: .* is a grid of 2 axes, and"
    ) as caught:
        planned(Weights(guiders=(Expression(text),), seeds=(0,)), Registry.installed(), {"device": "cpu"})
    assert "and a curve has one" in str(caught.value)
    assert f"write 'zip({text})'" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_of_a_study_that_meant_pairs_is_refused_when_it_is_resumed(tmp_path: Path) -> None:
    text = "blend([cfg(weight=1.5:2.5:0.5), autoguidance(weight=1.5:2.5:0.5)])"
    (tmp_path / "study.toml").write_text(f'study = "weights(guiders=[{text!r}], seeds=[0])"\nthreads = 1\n')
    found = CliRunner().invoke(main, ["study", "--resume", str(tmp_path)], prog_name="guideplug")
    assert found.exit_code == 2
    (line,) = found.stderr.splitlines()
    assert f"is a grid of 2 axes, and a curve has one; for ranges side by side write 'zip({text})'" in line


def test_the_held_out_value_is_at_the_weight_that_the_others_choose() -> None:
    found = findings({0: [1.0, 5.0, 9.0], 1: [8.0, 2.0, 9.0], 2: [8.0, 3.0, 9.0]}, {0: 4.0, 1: 4.0, 2: 4.0})
    one = curve(found, str(GUIDER), "m")
    weights = one.candidates(found, "m")
    assert weights.best() == 2.0  # means 17/3, 10/3, 9
    assert weights.best_of_each() == {0: 1.5, 1: 2.0, 2: 2.0}
    # Without seed 0, 2.0 is best; without 1 or 2 the means at 2.0 are 4 and 3.5, and 4.5 at 1.5.
    assert weights.held_out() == {0: 5.0, 1: 2.0, 2: 3.0}
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
    assert curve(gaps, str(GUIDER), "m").candidates(gaps, "m").best() == 2.0


def test_its_figure_has_a_panel_for_each_metric(tmp_path: Path) -> None:
    report = Weights(guiders=(GUIDER,)).report(findings({0: [1.0, 2.0, 90.0]}, {0: 1.5}))
    report.figures["weights"](tmp_path / "w.png")
    assert (tmp_path / "w.png").read_bytes().startswith(b"\x89PNG")
    assert len(list(csv.reader(report.tables["weights"].csv().splitlines()))) == 2


@pytest.mark.slow
def test_the_networks_of_the_defaults() -> None:
    plan = planned(Weights(seeds=(0,)), Registry.installed(), {"device": "cpu", "threads": 1})
    assert len(plan.networks) == 4  # main, weak, unconditional, synthetic
    assert {type(config.task).__name__ for config in plan.configs} == {"Tree"}


def test_a_role_that_no_guide_has_is_refused() -> None:
    study = Weights(guiders=(GUIDER,), seeds=(0,), guide_seeds=(1,), roles=("strong",))
    with pytest.raises(ConfigError, match="options are set of strong, and its roles are main, weak"):
        planned(study, Registry.installed(), {"device": "cpu"})


def truthful(found: Findings) -> Findings:
    """The same with a metric that is to be near to 0, which is its truth."""
    return Findings(found.rows, {"m": "truth"})


def without(found: Findings, **axes: Any) -> Findings:
    """Findings that have no values at some axes."""
    rows = [row(None, **one.axes) if axes.items() <= one.axes.items() else one for one in found.rows]
    return Findings(rows, found.better)


WHOLE = findings({0: [1.0, 2.0, 9.0], 1: [1.5, 2.0, 9.0], 2: [1.2, 2.0, 9.0]}, {0: 4.0, 1: 4.0, 2: 4.0})
THREE = Weights(guiders=(GUIDER,), seeds=(0, 1, 2))


def test_an_omega_beside_other_options_is_drawn_at_its_weight() -> None:
    found = points("sims(omega=0.5:1.5:0.5, model=weak)")
    assert [weight for weight, _ in found] == [1.5, 2.0, 2.5]
    assert found[1][1] == "sims(omega=1.0, model=weak)"
    assert [weight for weight, _ in points(GUIDER)] == [1.5, 2.0, 2.5]


def test_seeds_on_both_sides_of_the_truth_do_not_cancel_out() -> None:
    found = truthful(findings({0: [3.0, 1.0, 9.0], 1: [-3.0, 1.0, 9.0]}, {0: 4.0, 1: 4.0}))
    assert curve(found, str(GUIDER), "m").candidates(found, "m").best() == 2.0


def test_a_seed_without_an_unguided_value_is_not_paired(tmp_path: Path) -> None:
    report = THREE.report(without(WHOLE, guider="none", seed=1))
    (cells,) = report.tables["weights"].rows
    assert (cells[2], cells[5]) == ([4.0, 4.0], [1.0, 1.5, 1.2])
    assert str(cells[6]).startswith("-2.9 [")
    report.figures["weights"](tmp_path / "w.png")


def test_without_any_unguided_value_there_are_curves_and_no_differences(tmp_path: Path) -> None:
    report = THREE.report(without(WHOLE, guider="none"))
    assert report.tables["weights"].rows[0][6:] == ["-", "-"]
    report.figures["weights"](tmp_path / "w.png")
    assert (tmp_path / "w.png").is_file()


def test_a_metric_of_unguided_samples_alone_has_no_panel() -> None:
    report = THREE.report(without(WHOLE, guider=str(GUIDER)))
    assert not report.tables["weights"].rows
    assert not report.figures
    assert report.sentences[0] == "autoguidance: no metric has values of it at one weight for every seed"


def test_a_guide_without_a_value_leaves_its_seed_without_one() -> None:
    rows = [
        row(value, guider=str(GUIDER), weight=weight, seed=0, guide=guide)
        for weight, values in ((1.5, (1.0, None)), (2.0, (2.0, 4.0)))
        for guide, value in zip(("0", "1"), values, strict=True)
    ]
    assert curve(Findings(rows, {"m": "lower"}), str(GUIDER), "m").values == {2.0: {0: 3.0}}


def test_what_is_not_told_is_said_of_held_out_values_and_not_of_one_seed() -> None:
    noisy = findings({0: [1.0, 5.0, 9.0], 1: [8.0, 2.0, 9.0], 2: [8.0, 3.0, 9.0]}, {0: 4.0, 1: 4.0, 2: 4.0})
    assert THREE.report(noisy).sentences[0] == "autoguidance: no metric tells it from unguided, held out"
    one = Weights(guiders=(GUIDER,), seeds=(0,)).report(findings({0: [1.0, 2.0, 3.0]}, {0: 4.0}))
    assert one.sentences[0] == "autoguidance: of one seed nothing can be told"


def test_each_row_is_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    own = Weights._row
    monkeypatch.setattr(Weights, "_row", lambda *args: asked.append(args) or own(*args))  # type: ignore[func-returns-value]
    THREE.report(WHOLE)
    assert len(asked) == 1


def crossed(guides: tuple[int, ...]) -> Findings:
    """Clear differences of trainings that share guides."""
    rows = []
    for seed in range(4):
        rows.append(row(0.9, guider="none", weight=1.0, seed=seed, guide="own"))
        for weight in (1.5, 2.0, 2.5):
            value = 0.1 * weight + 0.01 * seed
            rows += [row(value, guider=str(GUIDER), weight=weight, seed=seed, guide=str(guide)) for guide in guides]
    return Findings(rows, {"m": "lower"})


@pytest.mark.parametrize(("guides", "about"), [((0,), "for this guide"), ((0, 1), "for these guides")])
def test_intervals_over_trainings_that_share_guides_say_so(guides: tuple[int, ...], about: str) -> None:
    study = Weights(guiders=(GUIDER,), seeds=(0, 1, 2, 3), guide_seeds=guides)
    said = study.report(crossed(guides)).sentences
    assert said[0].startswith(f"autoguidance, {about}: better than unguided in m")
    assert f"intervals are {about}: every training is guided by the same {len(guides)}" in said[-1]
    own = Weights(guiders=(GUIDER,), seeds=(0, 1, 2, 3)).report(findings({0: [1.0, 2.0, 3.0]}, {0: 4.0}))
    assert not any("guides" in line or "this guide" in line for line in own.sentences)


def test_the_interval_of_held_out_values_is_widened() -> None:
    held, plain = [5.0, 2.0, 3.0], 4.0
    found = findings({0: [1.0, 5.0, 9.0], 1: [8.0, 2.0, 9.0], 2: [8.0, 3.0, 9.0]}, {0: 4.0, 1: 4.0, 2: 4.0})
    (cells,) = THREE.report(found).tables["weights"].rows
    gap = held_out_interval([value - plain for value in held])
    assert cells[6] == f"{gap.mean:+.3g} [{gap.low:+.3g}, {gap.high:+.3g}]"
    assert "widened since held-out values depend on each other" in THREE.report(found).sentences[-1]
