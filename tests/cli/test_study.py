"""`guideplug study`: from the command line to tables and figures; resumed, in several processes, and misused."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

import pytest

from guideplug.files.atomic import whole_file

TOY = Path(__file__).with_name("toy.py")
GUIDEPLUG = (sys.executable, "-c", "from guideplug.cli import main; main()")
SMALL = ("--plugin", TOY, "--device", "cpu")
NOTING = ("--plugin", Path(__file__).with_name("noting.py"), "--executor", "noting")
WEIGHTS = "weights(task=toy, guiders=[autoguidance(weight=1.5:2.5:0.5)], seeds=[0, 1, 2])"


def trials(folder: str) -> list[dict[str, str]]:
    return list(csv.DictReader((Path(folder) / "trials.csv").read_text().splitlines()))


def test_without_a_name_it_lists_what_there_is(cli: Any) -> None:
    lines = cli("study", "--plugin", TOY).stdout.splitlines()
    found = {line.split("  ")[0].strip(): line for line in lines[:-1]}
    assert {"figure1", "toy-widths", "weights"} <= set(found)
    assert all(line.rstrip().endswith((".", ").")) for line in found.values())


def test_it_leaves_tables_figure_and_json(cli: Any) -> None:
    said = cli("study", WEIGHTS, *SMALL, "--out", "w").stdout
    there = {path.name for path in Path("w").iterdir()}
    tables = {"weights.md", "weights.csv", "weights.png", "trials.csv"}
    kept = {"study.toml", "study.json", "events.jsonl", "report.html", "checksums.sha256", "trials", "code"}
    assert there == kept | tables
    assert len(trials("w")) == 3 * (1 + 3)  # seeds, unguided and three weights
    assert Path("w/weights.png").read_bytes().startswith(b"\x89PNG")
    rows = list(csv.DictReader(Path("w/weights.csv").read_text().splitlines()))
    assert [row["metric"] for row in rows] == ["distance ↓", "balance ↑"]
    assert all(row["best w"] in ("1.5", "2", "2.5") for row in rows)
    assert "autoguidance" in said
    assert "folder: w" in said
    assert json.loads(Path("w/study.json").read_text())["study"] == cli.json("study", "--resume", "w")["study"]


def test_its_trials_are_what_runs_give(cli: Any) -> None:
    cli("study", WEIGHTS, *SMALL, "--out", "w")
    cli.toy("--guider", "autoguidance(weight=2)", "--seed", "1", "--out", "r")
    measured = json.loads(Path("r/metrics.json").read_text())["arms"]
    (found,) = [row for row in trials("w") if row["seed"] == "1" and row["weight"] == "2.0"]
    assert float(found["distance"]) == measured["guided"]["distance"]
    (plain,) = [row for row in trials("w") if row["seed"] == "1" and row["guider"] == "none"]
    assert float(plain["distance"]) == measured["unguided"]["distance"]
    assert float(found["outputs per sample"]) == 2 * float(plain["outputs per sample"])


def test_guides_may_have_seeds_of_their_own(cli: Any) -> None:
    text = "weights(task=toy, guiders=[autoguidance(weight=2:3:1)], seeds=[0], guide_seeds=[5, 6])"
    cli("study", text, *SMALL, "--out", "w")
    found = {(row["guide"], row["weight"]): row["distance"] for row in trials("w")}
    assert found["5", "2.0"] != found["6", "2.0"]
    cli.toy("--guider", "autoguidance(weight=2)", "--set", "models.weak.seed=6", "--out", "r")
    measured = json.loads(Path("r/metrics.json").read_text())["arms"]["guided"]["distance"]
    assert float(found["6", "2.0"]) == measured


@pytest.mark.slow
def test_several_processes_and_one_give_the_same_numbers(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    cli("study", WEIGHTS, *SMALL, "--out", "one")
    monkeypatch.setenv("GUIDEPLUG_STORE", str(cli.store) + "2")
    cli("study", WEIGHTS, *SMALL, "--out", "two", "--jobs", "2")
    assert trials("one") == trials("two")


def test_networks_and_trials_that_are_there_are_not_done_again(cli: Any) -> None:
    cli("study", WEIGHTS, *SMALL, "--out", "w")
    networks = {path: path.stat().st_mtime_ns for path in cli.store.rglob("*.safetensors")}
    before = trials("w")
    Path("w/trials/3.json").unlink()
    untouched = {path: path.stat().st_mtime_ns for path in Path("w/trials").iterdir()}
    cli("study", "--resume", "w")
    assert {path: path.stat().st_mtime_ns for path in cli.store.rglob("*.safetensors")} == networks
    assert {path: path.stat().st_mtime_ns for path in untouched} == untouched
    assert trials("w") == before


@pytest.mark.proof
def test_a_killed_study_goes_on_and_ends_the_same(cli: Any) -> None:
    cli("study", WEIGHTS, *SMALL, "--out", "whole")
    environment = {**os.environ, "GUIDEPLUG_STORE": str(cli.store) + "2", "TOY_PAUSE": "0.02"}
    command = [*GUIDEPLUG, "study", WEIGHTS, *map(str, SMALL), "--out", "killed"]
    process = subprocess.Popen(command, env=environment, cwd=cli.cwd, stdout=subprocess.DEVNULL)
    until = time.monotonic() + 120
    while not (Path("killed/trials").is_dir() and any(Path("killed/trials").glob("*.json"))):
        assert time.monotonic() < until
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 128 + signal.SIGTERM
    assert len(list(Path("killed/trials").glob("*.json"))) < 12
    cli("study", "--resume", "killed")
    assert trials("killed") == trials("whole")


def test_a_study_draws_its_samples_and_asks_for_its_networks(cli: Any) -> None:
    cli("study", "toy-widths", *SMALL, "--out", "w")
    assert {"widths.png", "widths.csv", "0.npz"} <= {path.name for path in Path("w").rglob("*")}
    rows = list(csv.DictReader(Path("w/widths.csv").read_text().splitlines()))
    assert [row["parameters"] for row in rows] == ["74", "146"]  # 9 w + 2: of the networks themselves


def test_figure_one_of_any_task_and_guiders(cli: Any) -> None:
    cli("study", "figure1(task=toy, guiders=[autoguidance, truncation(weight=1.2)], samples=16)", *SMALL, "--out", "f")
    assert {"figure1.md", "figure1.png", "figure1-metrics.csv"} <= {path.name for path in Path("f").iterdir()}
    rows = list(csv.DictReader(Path("f/figure1-metrics.csv").read_text().splitlines()))
    assert [row[""] for row in rows] == ["true samples", "unguided", "autoguidance", "truncation(weight=1.2)"]


def test_its_options_can_be_set(cli: Any) -> None:
    cli("study", "toy-widths", "--set", "widths=[3]", *SMALL, "--out", "w")
    assert [row["width"] for row in trials("w")] == ["3"]
    assert "toy-widths(widths=[3], broken=false)" in Path("w/study.toml").read_text()


def test_dry_run_says_what_there_is_to_do_and_does_nothing(cli: Any) -> None:
    said = cli("study", WEIGHTS, *SMALL, "--dry-run").stdout
    assert "# 12 trials of 32 samples each" in said
    assert "# 6 networks, of which the store has 0" in said
    assert not cli.files()


@pytest.mark.parametrize(
    ("typed", "wanted"),
    [
        (["weigths"], "did you mean 'weights'"),
        (["weights(seeds=[])", "--device", "cpu"], "has no trial"),
        (["weights(seeds=[0, 0])"], "two trials stand at"),
        (["weights(guiders=[autoguidance])"], "has no range"),
        (["weights(guiders=[autoguidance(weight=1:2)])"], "range (1:3:0.5)"),
        (["weights(guiders=[nonsense(weight=1:2:0.5)])"], "nonsense"),
        (["weights(guiders=[blend([cfg(weight=1:3:1), cfg(weight=1:2:1)])])"], "is a grid of 2 axes"),
        (
            ["weights(task=toy, guiders=[autoguidance(weight=1:2:1, model=other)], guide_seeds=[1])"],
            "its roles are main, other",
        ),
        (["weights", "--set", "sedes=[1]"], "did you mean 'seeds'"),
        (["weights", "--set", "seeds=one"], "seeds"),
        (["weights", "--jobs", "0"], "--jobs 0"),
        (["weights", "--resume", "nowhere"], "leave out STUDY"),
        (["weights(guiders=[cfg(1:2:0.5)])"], "without the name of its option: write it, as in weight=1:2:0.5"),
    ],
)
def test_mistakes_are_one_line_and_nothing_is_done(cli: Any, typed: list[str], wanted: str) -> None:
    assert wanted in cli.error("study", *typed, "--plugin", TOY)
    assert not cli.files()


def test_a_folder_that_is_none_of_a_study(cli: Any) -> None:
    assert "is not the folder of a study" in cli.error("study", "--resume", "nowhere")


def test_trials_of_another_run_are_refused_before_any_work(cli: Any) -> None:
    """Another option of the same study at the same place: nothing of the old run is told as the new one's."""
    text = "weights(task=toy, guiders=[autoguidance(weight=2:3:1)], seeds=[0], samples={})"
    cli("study", text.format(16), *SMALL, "--out", "w")
    path = Path("w/study.toml")
    Path("w/trials/1.json").unlink()
    changed = path.read_text().replace("samples=16", "samples=8")
    with whole_file(path) as file:
        file.write(changed.encode())
    assert "is not of the run that" in cli.error("study", "--resume", "w", code=1)
    assert not Path("w/trials/1.json").exists()


def test_it_goes_on_where_a_local_executor_runs_its_jobs(cli: Any) -> None:
    cli("study", "toy-widths", *SMALL, "--out", "w")
    before, config = trials("w"), tomllib.loads(Path("w/study.toml").read_text())
    Path("w/trials/1.json").unlink()
    kept = Path("w/trials/0.json").stat().st_mtime_ns
    cli("study", "--resume", "w", *NOTING)
    assert Path("jobs.txt").read_text().split("\n") == ["trial 1, width 16", ""]
    assert Path("w/trials/0.json").stat().st_mtime_ns == kept
    config["plugins"].append("./code/noting/noting.py")
    assert (trials("w"), tomllib.loads(Path("w/study.toml").read_text())) == (before, config)


def test_sampling_that_diverges_is_a_finding(cli: Any) -> None:
    said = cli("study", "toy-widths", "--set", "broken=true", *SMALL, "--out", "w").stdout
    assert [row["distance"] == "" for row in trials("w")] == [False, True]
    assert "1 of 2 trials diverged and have no values: width 16:" in " ".join(said.split())
    assert "trials diverged" in Path("w/toy-widths.md").read_text()


def test_json_of_what_does_nothing(cli: Any) -> None:
    assert {"toy-widths", "weights"} <= {one["name"] for one in cli.json("study", "--plugin", TOY)}
    found = cli.json("study", WEIGHTS, *SMALL, "--dry-run")
    assert (found["trials"], found["networks"], found["found"]) == (12, 6, 0)


def test_networks_of_trials_that_are_done_are_not_made_again(cli: Any) -> None:
    cli("study", WEIGHTS, *SMALL, "--out", "w")
    shutil.rmtree(cli.store)
    Path("w/trials/11.json").unlink()  # guided, of the last seed
    cli("study", "--resume", "w")
    assert len(cli.json("store", "list")) == 2  # main and weak of that seed, of six
