"""Runs from the command line on a file: guided, selected, measured again; and files that stop one before it begins."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from guideplug.cli.main import main

TINY = ("--duration", "8it", "--batch", "96", "--device", "cpu", "--set", "threads=1", "--set", "sampler.num_steps=3")
NETWORK = ("--denoiser", "points-mlp(width=16, blocks=1)")


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    monkeypatch.setenv("GUIDEPLUG_STORE", str(tmp_path / "store"))


def call(*args: object, code: int = 0) -> Result:
    result = CliRunner().invoke(main, [str(arg) for arg in args], prog_name="guideplug")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result


@pytest.mark.parametrize("guider", ["autoguidance", "cfg"])
def test_a_run_on_labelled_rows(guider: str, rings: Path) -> None:
    task = f"points('{rings}', label=ring)"
    call("run", "--task", task, *NETWORK, *TINY, "--guider", guider, "--selector", "early-jest", "--out", "run")
    found = json.loads(Path("run/metrics.json").read_text())
    assert set(found["arms"]) == {"truth", "unguided", "guided"}
    assert all(value is not None for arm in found["arms"].values() for value in arm.values())
    assert found["samples"] == 80
    with np.load("run/samples.npz") as arrays:
        east = arrays["unguided"][:, 0]
        assert np.bincount(arrays["condition"]).tolist() == [40, 40]
    assert 600 < np.median(east) < 1400  # the file's units
    assert Path("run/figures/points.png").is_file()
    again = call("evaluate", "run/samples.npz", "--task", task, "--json")
    assert json.loads(again.stdout)["arms"]["guided"] == pytest.approx(found["arms"]["guided"], rel=1e-4)


def test_a_run_on_rows_without_classes(cloud: Path) -> None:
    call("run", "--task", f"points('{cloud}')", *NETWORK, *TINY, "--guider", "autoguidance", "--out", "run")
    found = json.loads(Path("run/metrics.json").read_text())
    assert found["arms"]["guided"]["class accuracy"] is None
    assert found["arms"]["guided"]["sliced W2"] > 0
    refused = call("run", "--task", f"points('{cloud}')", "--guider", "cfg", "--dry-run", code=2)
    assert "has no null condition" in refused.stderr
    sampled = call("sample", "run", "--guider", "autoguidance(weight=1.5)", "--samples", "12", "--out", "more")
    assert "Traceback" not in sampled.output


def test_a_bad_file_stops_a_run_before_anything_is_made(rings: Path) -> None:
    bad = Path("bad.csv")
    bad.write_text(rings.read_text().replace("\n", "\n1,x,inner\n", 1))
    result = call("run", "--task", "points(bad.csv, label=ring)", *TINY, code=2)
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"error: {bad.absolute()}, line 2, column 'north': 'x' is not a number")
    assert sorted(path.name for path in Path().iterdir()) == ["bad.csv"]
    missing = call("run", "--task", "points(none.csv)", code=2)
    assert missing.stderr == f"error: {Path('none.csv').absolute()} does not exist: check the path\n"
    unknown = call("run", "--task", "points(bad.csv, label=rings)", code=2)
    assert "label is 'rings', no column is called so (did you mean 'ring'?)" in unknown.stderr


@pytest.mark.slow
def test_an_edited_file_never_finds_the_old_network(rings: Path) -> None:
    own = Path("own.csv")
    own.write_text(rings.read_text())
    command = ("run", "--task", "points(own.csv, label=ring)", *NETWORK, *TINY)
    call(*command, "--out", "first")
    call(*command, "--out", "second")
    assert json.loads(Path("second/metrics.json").read_text())["found"] == ["main"]
    own.write_text(rings.read_text().replace("1000", "1001"))
    own.write_text("\n".join(own.read_text().splitlines()[:-1]))
    call(*command, "--out", "third")
    assert json.loads(Path("third/metrics.json").read_text())["found"] == []
