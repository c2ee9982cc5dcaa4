"""Runs from the command line: guided, with and without labels, measured again; and that training learns the data."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from guideplug.cli.main import main

TINY = ("--duration", "8it", "--batch", "96", "--samples", "48", "--device", "cpu", "--set", "threads=1")
SHORT = ("--duration", "200it", "--batch", "512", "--samples", "512", "--device", "cpu", "--set", "threads=1")
SMALL = ("--denoiser", "mixture-mlp(width=8, layers=1)", "--set", "sampler.num_steps=3")


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GUIDEPLUG_STORE", str(tmp_path / "store"))


def call(*args: object, code: int = 0) -> Result:
    result = CliRunner().invoke(main, [str(arg) for arg in args], prog_name="guideplug")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result


@pytest.mark.parametrize(
    ("task", "guider", "selector"),
    [
        pytest.param("gaussian(count=40)", "sims", "none", marks=pytest.mark.slow),
        pytest.param("gaussian(count=none)", "autoguidance", "early-jest", marks=pytest.mark.slow),
        ("mixture", "blend([cfg, sims])", "early-jest"),
        ("mixture(labels=false, count=40)", "autoguidance", "none"),
    ],
)
def test_a_run(task: str, guider: str, selector: str) -> None:
    call("run", "--task", task, *SMALL, *TINY, "--guider", guider, "--selector", selector, "--out", "run")
    found = json.loads(Path("run/metrics.json").read_text())
    assert set(found["arms"]) == {"truth", "exact", "unguided", "guided"}
    guided = found["arms"]["guided"]
    without = {"class-accuracy"} if "labels=false" in task else set()
    assert {name for name, value in guided.items() if value is None} == without
    assert Path(f"run/figures/{task.partition('(')[0]}.png").stat().st_size > 20_000
    again = call("evaluate", "run/samples.npz", "--task", task, "--json")
    measured = json.loads(again.stdout)["arms"]["guided"]
    for name in guided.keys() - without:
        assert measured[name] == pytest.approx(guided[name], rel=1e-4, abs=1e-6)


def test_without_labels_cfg_is_refused_before_anything_is_trained() -> None:
    refused = call("run", "--task", "mixture(labels=false)", "--guider", "cfg", "--dry-run", code=2)
    assert "has no null condition" in refused.stderr


def test_a_short_training_learns_the_classes() -> None:
    """200 steps, a second: far from the 2,000 of the default, and far from nothing."""
    call("run", "--task", "mixture", *SHORT, "--out", "run")
    arms = json.loads(Path("run/metrics.json").read_text())["arms"]
    assert arms["unguided"]["class-accuracy"] > 0.85
    assert arms["unguided"]["inside"] > 0.6
    assert arms["unguided"]["mmd"] < 0.05
