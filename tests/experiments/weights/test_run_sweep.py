"""`guideplug sample` with a range: every weight is what a run at that weight alone would be, and costs no more."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import guideplug
from guideplug import ConfigError, RunResult, WeightSweep
from guideplug.errors import DivergenceError
from guideplug.experiments.weights import sweep as module

RANGE = "autoguidance(weight=1:2:0.5)"


def arrays(path: Path | str) -> dict[str, Any]:
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


def record(folder: str) -> Any:
    return json.loads(Path(folder, "weights.json").read_text())


def test_each_weight_has_the_samples_and_the_metrics_of_a_run_at_that_weight(first: Path) -> None:
    swept = record("swept")
    assert [arm["weight"] for arm in swept["weights"]] == [1.0, 1.5, 2.0]
    arm = swept["weights"][2]
    alone = guideplug.sample_run(first, "autoguidance(weight=2.0)", out="alone")
    assert isinstance(alone, RunResult)
    theirs, ours = arrays("alone/samples.npz"), arrays("swept/samples/2.npz")
    assert np.array_equal(ours["guided"], theirs["guided"])
    assert np.array_equal(ours["start"], theirs["start"])
    assert np.array_equal(arrays("swept/samples/unguided.npz")["unguided"], theirs["unguided"])
    assert arm["metrics"] == alone.metrics["arms"]["guided"]
    assert arm["differences"] == alone.metrics["differences"]
    assert swept["unguided"]["metrics"] == alone.metrics["arms"]["unguided"]
    assert swept["truth"] == alone.metrics["arms"]["truth"]
    whole = alone.metrics["evaluations"]["guided"]
    off, second, third = swept["weights"]
    assert off["evaluations"]["main"]["calls"] == 0  # the unguided samples
    assert np.array_equal(arrays("swept/samples/1.npz")["guided"], theirs["unguided"])
    assert second["evaluations"]["main"]["calls"] == whole["main"]["calls"] - 1  # the start is that of unguided samples
    assert second["evaluations"]["weak"] == whole["weak"]
    assert third["evaluations"]["weak"]["calls"] == whole["weak"]["calls"] - 1


@pytest.mark.slow
def test_a_guider_that_begins_late_shares_all_that_is_before(first: Path) -> None:
    sweep = guideplug.sample_run(first, "interval(autoguidance(weight=2:3:1), high=0.5)", out="late")
    assert isinstance(sweep, WeightSweep)
    unguided = sweep.unguided.evaluations["main"]["calls"]
    assert all(arm.evaluations["main"]["calls"] < unguided - 1 for arm in sweep.arms)


def test_the_folder_has_tables_figures_and_a_page(first: Path) -> None:
    printed = Path("printed").read_text()
    assert "page: swept/report.html" in printed
    for name in ("samples", "metrics"):
        assert f"figure: swept/figures/{name}.png" in printed
    rows = list(csv.DictReader(Path("swept/weights.csv").read_text().splitlines()))
    assert {row["arm"] for row in rows} == {"truth", "unguided", "weight 1", "weight 1.5", "weight 2"}
    assert Path("swept/weights.md").read_text().count("\n| ") == 7
    page = Path("swept/report.html").read_text()
    assert "Metrics at each weight" in page
    assert page.count("data:image/png") >= 2
    events = [json.loads(line) for line in Path("swept/events.jsonl").read_text().splitlines()]
    assert events[0]["arms"] == ["unguided", "weight 1", "weight 1.5", "weight 2"]
    assert events[-1]["status"] == "finished"


@pytest.mark.slow
def test_json_is_the_file_and_diverged_weights_cost_themselves_alone(
    command: Any, first: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = module.draw_arms_of_run

    def diverging(*rest: Any, **options: Any) -> Any:
        if options["guider"] is not None and options["guider"].weight == 1.5:
            raise DivergenceError("samples diverged")
        return draw(*rest, **options)

    monkeypatch.setattr(module, "draw_arms_of_run", diverging)
    swept = json.loads(command("sample", first, "--guider", RANGE, "--out", "diverging", "--json").stdout)
    assert swept == record("diverging")
    assert [bool(arm["metrics"]) for arm in swept["weights"]] == [True, False, True]
    assert swept["weights"][1]["diverged"] == "samples diverged"
    assert "diverged at weight 1.5" in swept["words"][-1]


@pytest.mark.slow
def test_from_python_a_range_is_swept(first: Path) -> None:
    sweep = guideplug.sample_run(first, "autoguidance(weight=2:3:1)", out="python")
    assert isinstance(sweep, WeightSweep)
    assert sweep.weights == [2.0, 3.0]
    name = sweep.table[0].name
    assert sweep.curve(name) == [(arm.weight, arm.metrics[name]) for arm in sweep.arms]
    assert "weight" in repr(sweep)
    assert record("python")["command"].startswith("guideplug.sample_run(")


@pytest.mark.parametrize(
    ("guider", "message"),
    [
        ("blend([cfg(weight=1:3:1), autoguidance(weight=1:2:1)])", "grid of 2 axes"),
        ("autoguidance(weight=1:1:1)", "one number"),
        ("autoguidance(weight=3:1:1)", "below its start"),
        ("autoguidance(wait=1:2:1)", "wait"),
        ("zip(autoguidance)", "no range"),
    ],
)
def test_a_range_that_cannot_be_swept_is_refused_before_any_work(
    command: Any, first: Path, guider: str, message: str
) -> None:
    assert message in command("sample", first, "--guider", guider, "--out", "refused", code=2).stderr
    assert not Path("refused").exists()
    with pytest.raises(ConfigError, match=message):
        guideplug.sample_run(first, guider, out="refused")
