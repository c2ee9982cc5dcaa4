"""Folders and a store that guideplug 0.1 wrote: every command that takes one still works, or refuses it in one line.

`tests/kept` has a finished run, an interrupted run, an interrupted comparison, a finished study, and their store. The
study is of the toy task, whose file ``/TOY.py`` stands for.
"""

import hashlib
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

KEPT = Path(__file__).parents[1] / "kept"
TOY = Path(__file__).with_name("toy.py")


@pytest.fixture(autouse=True)
def kept(cli: Any) -> None:
    """Copies of them, in the working folder and as the store."""
    for folder in ("finished", "interrupted", "comparison", "study"):
        shutil.copytree(KEPT / folder, folder)
    shutil.copytree(KEPT / "store", cli.store)
    file = Path("study/study.toml")
    before = hashlib.sha256(file.read_bytes()).hexdigest()
    file.write_text(file.read_text().replace("/TOY.py", str(TOY)))
    sums = Path("study/checksums.sha256")
    sums.write_text(sums.read_text().replace(before, hashlib.sha256(file.read_bytes()).hexdigest()))


def test_a_finished_run_is_shown_cited_and_measured(cli: Any) -> None:
    assert Path(cli("report", "finished").stdout.strip().rpartition(" ")[2]).name == "report.html"
    assert "@misc" in cli("cite", "finished").stdout
    arms = cli.json("evaluate", "finished/samples.npz", "--task", "mixture")["arms"]
    kept = json.loads(Path("finished/metrics.json").read_text())["arms"]
    assert arms["guided"] == pytest.approx(kept["guided"], nan_ok=True)


def test_a_finished_run_is_guided_anew_to_the_same_bits(cli: Any) -> None:
    guider = "autoguidance(weight=1.5)"
    cli("sample", "finished", "--guider", guider, "--set", "threads=1", "--device", "cpu", "--out", "again")
    assert Path("again/samples.npz").read_bytes() == Path("finished/samples.npz").read_bytes()


def test_a_finished_run_is_not_resumed(cli: Any) -> None:
    assert "the run is finished" in cli.error("run", "--resume", "finished")


def test_an_interrupted_run_is_refused_under_other_code(cli: Any) -> None:
    message = cli.error("run", "--resume", "interrupted")
    assert "the code of guideplug" in message
    assert "is not what the run began with" in message


def test_a_comparison_of_before_is_refused_by_the_key_that_is_gone(cli: Any) -> None:
    message = cli.error("compare", "--resume", "comparison")
    assert "has the key 'moments', which is gone" in message
    assert "give snapshots, such as snapshots = 100" in message
    assert "cannot be resumed: give its configuration without the key to a new comparison" in message


@pytest.mark.slow
def test_cells_have_the_file_names_of_before(cli: Any) -> None:
    """A cell is known by its place in the grid: number of the selector, seed, step."""
    before = {path.name for path in Path("comparison/cells").iterdir()}
    assert before == {"0-0-4.json", "0-0-8.json"}
    text = Path("comparison/compare.toml").read_text()
    Path("same.toml").write_text("".join(line for line in text.splitlines(True) if not line.startswith("moments")))
    cli("compare", "same.toml", "--trust", "--out", "again")
    names = {path.name for path in Path("again/cells").iterdir()}
    assert before < names
    places = [re.fullmatch(r"([01])-([01])-(\d+)\.json", name) for name in names]
    assert all(places), names


def test_a_study_is_shown_and_resumed(cli: Any) -> None:
    kept = json.loads(Path("study/study.json").read_text())
    cli("report", "study")
    message = cli("study", "--resume", "study", "--trust", code=1).stderr.splitlines()[-1]
    assert "remove study/trials and resume" in message  # a trial is of the code that it was measured with
    shutil.rmtree("study/trials")
    again = json.loads(cli("study", "--resume", "study", "--trust", "--json").stdout)
    assert again["tables"] == kept["tables"]


def test_its_store_is_listed_and_whole(cli: Any) -> None:
    listed = cli("store", "list").stdout
    assert "mixture-mlp" in listed
    cli("store", "verify")
