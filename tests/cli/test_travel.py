"""Folders that travel: moved, with the code that they were made with gone, they run, and give the same bits."""

import json
import shutil
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from guideplug.run.folder import RunFolder

TOY = Path(__file__).with_name("toy.py")
NETS = """
from guideplug import wrap
from .layers import offset

def build(domain):
    import scales
    from _toy import ToyDenoiser
    return ToyDenoiser(scales.WIDTH, domain.num_labels is not None)

def score(x, sigma, condition):
    return offset(x)
"""


@pytest.fixture
def project(cli: Any) -> Path:
    """A plugin that imports from beside it, and a network's and a classifier's code that do."""
    folder = cli.cwd / "project"
    (folder / "deep").mkdir(parents=True)
    (folder / "_toy.py").write_text(TOY.read_text())
    (folder / "toy_one.py").write_text("from _toy import *\n")
    (folder / "nets.py").write_text(NETS)
    (folder / "layers.py").write_text("from deep import shift\ndef offset(x): return -shift.BY * x.square().sum(1)\n")
    (folder / "deep" / "__init__.py").write_text("")
    (folder / "deep" / "shift.py").write_text("BY = 0.5\n")
    (folder / "scales.py").write_text("WIDTH = 4\n")
    return folder


SMALL = ("--task", "toy", "--batch", "8", "--samples", "8", "--device", "cpu", "--set", "threads=1")


def moved(cli: Any, project: Path, monkeypatch: pytest.MonkeyPatch, *folders: str) -> Path:
    """The folders elsewhere, for another user with another store; what they were made with is gone."""
    away = cli.cwd.parent / "away"
    away.mkdir()
    for folder in folders:
        shutil.move(cli.cwd / folder, away / folder)
    shutil.rmtree(project)
    shutil.rmtree(cli.store)
    monkeypatch.chdir(away)
    return away


def samples(folder: Path) -> dict[str, Any]:
    with np.load(folder / "samples.npz") as arrays:
        return dict(arrays)


def equal(one: Path, two: Path) -> bool:
    before, after = samples(one), samples(two)
    return before.keys() == after.keys() and all(np.array_equal(before[name], after[name]) for name in before)


@pytest.mark.slow
def test_a_run_travels(cli: Any, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = f"{project}/nets.py"
    run = ("--plugin", project / "toy_one.py", *SMALL, "--duration", "4it", "--denoiser", f"python('{code}:build')")
    cli("run", *run, "--guider", f"classifier('{code}:score', scale=0.1)", "--out", "run")
    text = Path("run/config.toml").read_text()
    assert str(project) not in text
    assert tomllib.loads(text)["plugins"] == ["./code/toy_one/toy_one.py"]
    copies = {str(path.relative_to("run/code")) for path in Path("run/code").rglob("*") if path.is_file()}
    assert copies == {
        "toy_one/toy_one.py", "toy_one/_toy.py", "nets/nets.py", "nets/layers.py", "nets/deep/__init__.py",
        "nets/deep/shift.py", "nets/scales.py", "nets/_toy.py",
    }  # fmt: skip
    noted = Path("run/checksums.sha256").read_text()
    assert all(f"code/{copy}" in noted for copy in copies)
    assert str(project) not in Path("run/denoisers/main.json").read_text()

    away = moved(cli, project, monkeypatch, "run")
    cli("run", "run/config.toml", "--out", "again")  # trusted by its bytes
    assert equal(away / "run", away / "again")
    cli("sample", "run", "--out", "guided")
    assert equal(away / "run", away / "guided")
    cli("sample", "--plugin", "run/code/toy_one/toy_one.py", "--task", "toy", "--samples", "8", "--device", "cpu",
        "--model", "main=run/denoisers/main.safetensors", "--set", "threads=1", "--out", "own")  # fmt: skip
    cli("cite", "run")
    RunFolder(Path("run")).update_record(status="interrupted")
    cli("run", "--resume", "run")
    identities = [json.loads((away / one / "run.json").read_text())["networks"] for one in ("run", "again")]
    assert identities[0] == identities[1]

    (cli.cwd.parent / "trusted").unlink()
    assert "run/code/toy_one/" in cli.error("run", "run/config.toml", "--out", "no")
    cli("run", "run/config.toml", "--trust", "--out", "trusting")
    shift = away / "run/code/nets/deep/shift.py"
    shift.write_text("BY = 0.7\n")
    for command in (("run", "run/config.toml"), ("sample", "run")):
        assert "shift.py is damaged: it is not what was written" in cli.error(*command, "--trust", "--out", "x", code=1)


@pytest.mark.slow
def test_a_comparison_travels(cli: Any, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = f"{project}/nets.py"
    cli("compare", "--plugin", project / "toy_one.py", *SMALL, "--duration", "4it", "--snapshots", "2", "--guider",
        "none", "--guider", f"classifier('{code}:score', scale=0.1)", "--out", "grid")  # fmt: skip
    assert str(project) not in Path("grid/compare.toml").read_text()
    before = json.loads(Path("grid/compare.json").read_text())
    away = moved(cli, project, monkeypatch, "grid")
    cells = {path: path.read_bytes() for path in (away / "grid" / "cells").iterdir()}
    cli("compare", "--resume", "grid")
    assert {path: path.read_bytes() for path in cells} == cells  # nothing is measured anew
    cli("compare", "grid/compare.toml", "--out", "again")
    after = json.loads(Path("again/compare.json").read_text())
    assert [cell["metrics"] for cell in measures(before)] == [cell["metrics"] for cell in measures(after)]


def measures(comparison: Any) -> list[Any]:
    return [row for row in comparison.get("curves", []) if "metrics" in row]


def test_a_study_travels(cli: Any, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cli("study", "toy-widths(widths=[4])", "--plugin", project / "toy_one.py", "--device", "cpu", "--out", "widths")
    assert tomllib.loads(Path("widths/study.toml").read_text())["plugins"] == ["./code/toy_one/toy_one.py"]
    away = moved(cli, project, monkeypatch, "widths")
    trials = {path: path.read_bytes() for path in (away / "widths" / "trials").iterdir()}
    cli("study", "--resume", "widths")
    assert {path: path.read_bytes() for path in trials} == trials
