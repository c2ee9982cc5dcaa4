"""`guideplug compare` on the toy task: from the command line to tables, resumed after a kill, in several processes."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

import pytest
import tomli_w
import torch

from guideplug.files.atomic import whole_file
from guideplug.files.tensors import write_tensors

TOY = Path(__file__).with_name("toy.py")
GUIDEPLUG = (sys.executable, "-c", "from guideplug.cli import main; main()")
ARMS = ("--selector", "none", "--selector", "toy-half", "--guider", "none", "--guider", "autoguidance")
SMALL = ("--plugin", TOY, "--task", "toy", "--device", "cpu", "--snapshots", "4", "--seeds", "0,1")


def numbers(folder: str) -> dict[str, Any]:
    """Everything in a comparison's JSON but what depends on clocks."""
    found = json.loads(Path(folder, "compare.json").read_text())
    by_clock = {"costs", "limits", "differences", "chosen", "words", "busy", "missed", "phases"}
    clocked = ("seconds", "clocked", "reference", "reference_clocked")
    trainings = [{key: value for key, value in row.items() if key not in clocked} for row in found["trainings"]]
    rows = sorted(found["rows"], key=lambda row: (row["guider"], row["selector"], row["seed"], row["step"]))
    return {**{key: value for key, value in found.items() if key not in by_clock}, "trainings": trainings, "rows": rows}


@pytest.fixture
def first(cli: Any) -> Path:
    cli("compare", *SMALL, *ARMS, "--out", "first")
    return Path("first")


def test_it_leaves_tables_values_and_figures(first: Path) -> None:
    there = {str(path.relative_to(first)) for path in first.rglob("*") if path.is_file()}
    assert {"compare.toml", "compare.json", "tables.md", "values.csv", "costs.json", "budgets.png"} <= there
    assert "figures/distance.png" in there
    rows = list(csv.DictReader((first / "values.csv").read_text().splitlines()))
    assert len(rows) == 2 * 2 * 2 * 4 * 2  # guiders, selectors, seeds, moments, metrics
    assert {row["equal iterations"] for row in rows if row["step"] == "40"} == {"1"}
    assert {row["equal iterations"] for row in rows if row["step"] != "40"} == {"0"}
    text = (first / "tables.md").read_text()
    assert text.count("| autoguidance with toy-half |") == 3 + 3 * 2  # three budgets, and its differences to two others


@pytest.mark.slow
def test_budgets_choose_among_all_snapshots_and_curves_are_measured_at_eight(cli: Any) -> None:
    """Half of the examples of a step: 40 steps of it are as many examples as 20 without."""
    dense = (*SMALL[: SMALL.index("--snapshots")], "--seeds", "0,1", "--no-curves")
    cli("compare", *dense, "--selector", "none", "--selector", "toy-half", "--out", "dense")
    found = json.loads(Path("dense/compare.json").read_text())
    assert {row["step"] for row in found["trainings"]} == set(range(1, 41))
    chosen = {(row["selector"], row["step"], row["spent"]) for row in found["chosen"]["examples"]}
    assert chosen == {("none", 20, 1280), ("toy-half", 40, 1280)}
    cli("compare", *[one for one in dense if one != "--no-curves"], "--selector", "none", "--out", "curves")
    assert {row["step"] for row in numbers("curves")["rows"]} == {5, 10, 15, 20, 25, 30, 35, 40}


@pytest.mark.slow
def test_what_it_measures_is_what_a_run_measures(cli: Any, first: Path) -> None:
    run = cli.json(
        "run", "--plugin", TOY, "--task", "toy", "--device", "cpu", "--set", "threads=1", "--seed", "1",
        "--guider", "autoguidance", "--selector", "toy-half",
    )  # fmt: skip
    found = numbers("first")["rows"]
    ours = {
        row["guider"]: row["metrics"]
        for row in found
        if (row["selector"], row["seed"], row["step"]) == ("toy-half", 1, 40)
    }
    assert ours == {"none": run["arms"]["unguided"], "autoguidance": run["arms"]["guided"]}
    assert "main" in run["found"]  # and trained once for both


@pytest.mark.slow
def test_earlier_snapshots_are_shorter_trainings_under_a_constant_learning_rate(cli: Any, first: Path) -> None:
    run = cli.json(
        "run", "--plugin", TOY, "--task", "toy", "--device", "cpu", "--set", "threads=1", "--duration", "20it"
    )
    (row,) = [
        row
        for row in numbers("first")["rows"]
        if (row["guider"], row["selector"], row["seed"], row["step"]) == ("none", "none", 0, 20)
    ]
    assert row["metrics"] == run["arms"]["unguided"]


@pytest.mark.slow
def test_examples_are_counted(first: Path) -> None:
    trainings = {(row["selector"], row["seed"], row["step"]): row for row in numbers("first")["trainings"]}
    assert trainings["none", 0, 20] | {} == {
        "selector": "none", "seed": 0, "step": 20, "seen": 1280, "scored": 0, "backpropagated": 1280,
    }  # fmt: skip
    half = trainings["toy-half", 1, 10]
    assert (half["seen"], half["scored"], half["backpropagated"]) == (640, 640, 320)
    chosen = json.loads((first / "compare.json").read_text())["chosen"]["examples"]
    assert {(row["selector"], row["step"]) for row in chosen} == {("none", 20), ("toy-half", 40)}


@pytest.mark.slow
def test_two_processes_change_no_number(cli: Any, first: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GUIDEPLUG_STORE", str(cli.store) + "-other")
    cli("compare", *SMALL, *ARMS, "--out", "second", "--jobs", "2")
    assert numbers("second") == numbers("first")


@pytest.mark.slow
def test_a_killed_one_goes_on(cli: Any, first: Path) -> None:
    command = [sys.executable, "-c", "from guideplug.cli import main; main()", "compare", *map(str, SMALL), *ARMS]
    environment = {**os.environ, "GUIDEPLUG_STORE": str(cli.store) + "-other", "TOY_PAUSE": "0.01"}
    process = subprocess.Popen([*command, "--out", "second"], env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    while len(list(Path("second").glob("cells/*.json"))) < 3:
        time.sleep(0.02)
        assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    done = {path.name for path in Path("second/cells").iterdir()}
    assert 3 <= len(done) < 16
    stamps = {path.name: path.stat().st_mtime_ns for path in Path("second/cells").glob("*.json")}
    os.environ["GUIDEPLUG_STORE"] = environment["GUIDEPLUG_STORE"]
    cli("compare", "--resume", "second")
    assert numbers("second") == numbers("first")
    assert {name: Path("second/cells", name).stat().st_mtime_ns for name in stamps} == stamps


@pytest.mark.proof
def test_ctrl_c_stops_it_at_once_and_says_how_to_go_on(cli: Any) -> None:
    command = [sys.executable, "-c", "from guideplug.cli import main; main()", "compare", *map(str, SMALL), *ARMS]
    environment = {**os.environ, "GUIDEPLUG_STORE": str(cli.store), "TOY_PAUSE": "0.05"}
    process = subprocess.Popen(
        [*command, "--out", "run", "--jobs", "2"], env=environment, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    while not list(cli.store.glob("*.partial")):
        time.sleep(0.1)
        assert process.poll() is None
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said.strip().splitlines()[-1] == "interrupted; go on with: guideplug compare --resume run"
    os.environ.pop("TOY_PAUSE", None)
    cli("compare", "--resume", "run")


@pytest.mark.slow
def test_its_configuration_repeats_it(cli: Any, first: Path) -> None:
    cli("compare", "first/compare.toml", "--out", "second")
    assert tomllib.loads(Path("second/compare.toml").read_text()) == tomllib.loads((first / "compare.toml").read_text())
    assert numbers("second") == numbers("first")


@pytest.mark.slow
def test_one_reference_for_all_seeds(cli: Any) -> None:
    told = cli("compare", *SMALL, *ARMS, "--set", "models.weak.seed=5", "--no-curves", "--out", "run").stdout
    examples = told.index("At equal examples, 1,280 examples back-propagated; 2 seeds")
    assert re.search(r"At equal (time and )?iterations[,:] .*40 iterations; 2 seeds", told)  # the clock decides which
    assert examples
    rows = [[part.strip() for part in line.split("│")] for line in told[examples:].splitlines()]
    assert [row[2] for row in rows if row[1:2] == ["unguided with no selection"]] == ["20", "40"]
    again = tomllib.loads(Path("run/compare.toml").read_text())
    assert again["sets"] == ["models.weak.seed=5"]
    assert again["curves"] is False
    cli("compare", "run/compare.toml", "--dry-run")


def test_a_range_is_several_arms(cli: Any) -> None:
    found = cli.json("compare", *SMALL, "--guider", "autoguidance(weight=1:3:1)", "--no-curves", "--out", "run")
    assert found["guiders"] == ["autoguidance(weight=1.0)", "autoguidance", "autoguidance(weight=3.0)"]


FAILING = {
    "one arm": (
        ["--selector", "none", "--selector", "toy-broken(how=duplicate, after=3)"],
        "error: selector 'toy-broken' of the local file",
    ),
    "every arm": (["--selector", "toy-half", "--set", "train.lr=1e30"], "error: training 'toy-half, seed "),
}


@pytest.mark.proof
@pytest.mark.parametrize("which", FAILING)
def test_arms_that_fail_end_several_processes_as_they_end_one(
    cli: Any, monkeypatch: pytest.MonkeyPatch, which: str
) -> None:
    """The others are told to stop, and none is left waiting. Of several that fail the first to do so is told."""
    arms, begin = FAILING[which]
    said = []
    for jobs in (1, 2):
        monkeypatch.setenv("GUIDEPLUG_STORE", f"{cli.store}-{jobs}")
        process = subprocess.run(
            [*GUIDEPLUG, "compare", *map(str, SMALL), *arms, "--jobs", str(jobs), "--out", f"run{jobs}"],
            stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, timeout=120,
        )  # fmt: skip
        assert process.returncode == 1
        said.append(process.stderr)
    assert all(line.startswith(begin) and line.count("\n") == 1 for line in said)
    assert which == "every arm" or said[0] == said[1]


@pytest.mark.proof
def test_a_process_that_is_killed_is_told_in_one_line_and_resumed(cli: Any) -> None:
    process = subprocess.Popen(
        [*GUIDEPLUG, "compare", *map(str, SMALL), *ARMS, "--out", "run", "--jobs", "2"],
        env={**os.environ, "TOY_PAUSE": "0.1"}, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    while not list(cli.store.glob("*.partial")):
        time.sleep(0.1)
        assert process.poll() is None
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    workers = [int(one) for one in children if b"spawn_main" in Path(f"/proc/{one}/cmdline").read_bytes()]
    os.kill(workers[0], signal.SIGKILL)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "ended by signal 9 (SIGKILL) while it was at" in said
    assert "--resume" in said
    assert said.count("\n") == 1
    cli("compare", "--resume", "run")


REFERENCES = {
    "a snapshot of the training without selection": ("snapshot(of=main, at=4it)", 4, 0, ()),
    "a copy of it, trained further": ("fine-tune(of=main, on=toy, duration=20it)", 40, 20, ()),
    "a file": ("weak.safetensors", 0, 0, ("load",)),
}
"""Of each: iterations without selection like those of the main training, iterations of its own, what nobody knows."""


@pytest.mark.slow
@pytest.mark.parametrize("which", REFERENCES)
def test_what_a_reference_cost_that_is_no_training(cli: Any, which: str) -> None:
    recipe, shared, own, unknown = REFERENCES[which]
    if recipe.endswith("safetensors"):
        layers = torch.nn.ModuleDict(
            {"layers": torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.SiLU(), torch.nn.Linear(8, 2))}
        )
        write_tensors(Path(recipe), layers.state_dict())
        recipe = f"load(path={recipe}, denoiser=toy-net)"
    found = cli.json(
        "compare", *SMALL[:-2], "--seeds", "0", "--selector", "none", "--selector", "jest(num_chunks=4)",
        "--model", f"weak={recipe}",
        "--samples", "8", "--no-curves", "--charge-reference", "--out", "run",
    )  # fmt: skip
    (_, jest) = found["selectors"]
    bare = found["costs"]["none"]["on"]["seconds"]
    assert found["costs"][jest]["off"] == found["costs"]["none"]["on"]
    (ours,) = {row["reference"] for row in found["trainings"] if row["selector"] == jest}
    prices = {row["of"]: row["seconds"] for row in json.loads(Path("run/costs.json").read_text()).values()}
    assert ("of the reference weak" in prices) is (own > 0)
    assert ours == pytest.approx(shared * bare + own * prices.get("of the reference weak", 0.0))
    assert found["unknown"] == {"none": [], jest: list(unknown)}
    text = Path("run/tables.md").read_text()
    assert ("nobody knows what its training took" in text) is bool(unknown)
    ends = {row["selector"]: row for row in found["trainings"] if row["step"] == 40}
    assert ends["none"]["seconds"] == pytest.approx(40 * bare)
    assert ends[jest]["seconds"] == pytest.approx(40 * found["costs"][jest]["on"]["seconds"])


@pytest.mark.slow
def test_it_says_what_selection_costs(first: Path) -> None:
    phases = json.loads((first / "compare.json").read_text())["phases"]
    assert sum(phases["toy-half"][name] for name in ("data", "score", "select", "learn")) == pytest.approx(1)
    assert phases["none"]["score"] == phases["none"]["evaluations"] == 0
    assert phases["toy-half"]["evaluations"] == 40 * 64
    assert "## What selection costs" in (first / "tables.md").read_text()


@pytest.mark.slow
def test_a_schedule_that_needs_the_end_is_told(cli: Any) -> None:
    found = cli.json("compare", *SMALL, *ARMS, "--set", "train.schedule=cosine", "--no-curves", "--out", "run")
    assert found["needs_end"] == "cosine"
    assert any("cosine, needs the end" in line and "equal examples" in line for line in found["words"])


@pytest.mark.slow
def test_prices_that_cannot_be_read(cli: Any, first: Path) -> None:
    path = first / "costs.json"
    path.write_text('{"none": {"iteration": 1.0}}')
    line = cli.error("compare", "--resume", "first", code=1)
    assert "costs.json is damaged: it is not what was written" in line
    assert "remove it and resume, and iterations are measured again" in line
    with whole_file(path) as file:
        file.write(b'{"none": {"iteration": 1.0}}')
    line = cli.error("compare", "--resume", "first", code=1)
    assert "costs.json cannot be used" in line
    assert "remove it and resume" in line


@pytest.mark.slow
def test_a_guide_that_is_a_snapshot_of_the_main_network(cli: Any) -> None:
    """Kept, or combined of stored averages: at each moment it is none of a later one, as a shorter run has it."""
    for weak in ("at=10it", "ema=0.1"):
        one = (
            "--guider",
            "autoguidance",
            "--set",
            "train.ema=[0.05,0.15]",
            "--model",
            f"weak=snapshot(of=main, {weak})",
        )
        cli("compare", *SMALL, *one, "--set", "train.averages=40", "--out", weak)
        rows = {(row["step"], row["seed"]): row["metrics"] for row in numbers(weak)["rows"]}
        small = ("--plugin", TOY, "--task", "toy", "--device", "cpu", "--set", "threads=1")
        for step in (20, 40):
            found = cli.json("run", *small, *one, "--duration", f"{step}it", "--set", f"train.averages={step}")
            assert rows[step, 0] == found["arms"]["guided"]


SEVEN = ("--set", "train.ema=[0.05,0.15]", "--set", "train.averages=7")
MISTAKES = {
    "no such guider": (["--guider", "autoguidence"], ["did you mean 'autoguidance'"]),
    "one arm twice": (["--guider", "autoguidance", "--guider", "autoguidance(weight=2)"], ["there twice"]),
    "seeds that are none": (["--seeds", "0,one"], ["--seeds 0,one", "whole numbers"]),
    "a seed twice": (["--seeds", "0,1,0"], ["--seeds 0,1,0", "seed 0 is there twice"]),
    "a seed below 0": (["--seeds=-1,0"], ["--seeds -1,0", "seed -1 is below 0"]),
    "no seeds": (["--seeds", ""], ["--seeds '' holds no seed", "as in 0,1,2"]),
    "one seed by --set": (["--set", "seed=3"], ["--set seed=3", "give --seeds 3"]),
    "a time limit": (["--duration", "3s"], ["--duration 3s is a time", "counts iterations", "4096it"]),
    "a length in examples": (["--duration", "1Mex"], ["--duration 1Mex is examples", "counts iterations"]),
    "a length without unit": (["--duration", "16"], ["--duration 16 is", "as in 16it"]),
    "a length of nothing": (["--duration", "0it"], ["--duration 0it", "must be positive"]),
    "moments": (["--moments", "4"], ["--moments 4 is gone", "give --snapshots N"]),
    "no samples": (["--samples", "1"], ["--samples 1 is below 2", "as in --samples 4096"]),
    "jobs that are no number": (["--jobs", "x"], ["--jobs x is no whole number", "as in --jobs 2"]),
    "an option of one guider": (["--guider", "cfg", "--set", "guider.weight=2"], ["--set guider.weight", "--guider"]),
    "a role of nobody": (["--set", "models.critic.seed=1"], ["role 'critic'"]),
    "a main network that is not trained": (
        ["--model", "main=snapshot(of=train(duration=4it), at=2it)"],
        ["trains its main network", "'snapshot'"],
    ),
    "averages of a guide that are not stored at a moment": (
        ["--guider", "autoguidance", *SEVEN, "--model", "weak=snapshot(of=main, ema=0.1)"],
        ["after 10 of 40 iterations: ema is 0.1 at 10it", "(6it and 12it are nearest)"],
    ),
    "averages of one length": (["--set", "train.averages=7"], ["one EMA length 0.05", "train.ema=[0.05,0.1]"]),
    "a range without end": (
        ["--guider", "autoguidance(weight=1:3:0)"],
        ["--guider", "1:3:0 has no number", "step is 0"],
    ),
    "a range downwards": (["--selector", "jest(filter_ratio=0.9:0.50:0.1)"], ["--selector", "stop 0.50 is below"]),
    "a range that leads away": (["--guider", "cfg(weight=1:3:-1)"], ["--guider", "step -1 is negative"]),
    "a range of words": (["--guider", "cfg(weight=1:x:1)"], ["--guider", "'1:x:1' is no number", "range (1:3:0.5)"]),
    "resume of nothing": (["--resume", "nowhere"], ["nowhere", "compare.toml"]),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_answered_in_one_line(cli: Any, mistake: str) -> None:
    arguments, words = MISTAKES[mistake]
    pairs = [] if "--resume" in arguments else zip(SMALL[::2], SMALL[1::2], strict=True)
    options = {word.partition("=")[0] for word in arguments}
    small = [word for pair in pairs if pair[0] == "--plugin" or pair[0] not in options for word in pair]
    line = cli.error("compare", *small, *arguments)
    for word in words:
        assert word in line
    assert cli.files() == set()


@pytest.mark.slow
def test_another_configuration_is_not_resumed(cli: Any, first: Path) -> None:
    assert "seeds was [0, 1] and is [0, 1, 2] now" in cli.error("compare", "--resume", "first", "--seeds", "0,1,2")


def test_it_goes_on_where_a_local_executor_runs_its_jobs(cli: Any) -> None:
    """The plugin files of a comparison are no part of what it compares."""
    arms = ("--plugin", TOY, "--task", "toy", "--device", "cpu", "--samples", "8", "--duration", "4it", "--no-curves")
    cli("compare", *arms, "--out", "one")
    before, config = numbers("one"), tomllib.loads(Path("one/compare.toml").read_text())
    (cell,) = Path("one/cells").iterdir()
    cell.unlink()
    cli("compare", "--resume", "one", "--plugin", Path(__file__).with_name("noting.py"), "--executor", "noting")
    assert "cell of none, seed 0, step 4" in Path("jobs.txt").read_text().splitlines()
    config["plugins"].append("./code/noting/noting.py")
    assert (numbers("one"), tomllib.loads(Path("one/compare.toml").read_text())) == (before, config)


ROW = {"budget": "time", "guider": "none", "selector": "none", "metric": "distance", "mean": 0.5, "std": 0.1}


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("snapshots", 2.5, ["snapshots is 2.5", "a whole number"]),
        ("snapshots", True, ["snapshots is True", "a whole number"]),
        ("curves", "yes", ["curves is 'yes'", "true or false"]),
        ("charge_reference", 1, ["charge_reference is 1", "true or false"]),
        ("guiders", "none", ["guiders is 'none'", "texts in square brackets"]),
        ("guiders", [1], ["guiders is [1]", "texts in square brackets"]),
        ("selectors", [["none"]], ["texts in square brackets"]),
        ("sets", [1], ["sets is [1]", "texts in square brackets"]),
        ("seeds", [True], ["seeds is [True]", "whole numbers"]),
        ("seeds", ["0"], ["seeds is ['0']", "whole numbers"]),
        ("guiders", ["cfg(weight=0:1e300:1e-300)"], ["far too many numbers"]),
        ("published", [1], ["published is [1]", "[[published]]"]),
        ("published", [{**ROW, "mean": "high"}], ["mean is 'high'", "finite number"]),
        ("published", [{**ROW, "mean": float("nan")}], ["mean is nan", "finite number"]),
        ("published", [{**ROW, "std": -0.1}], ["std is -0.1", "at least 0"]),
        ("published", [{**ROW, "metric": 3}], ["metric is 3", "a text"]),
        ("published", [{**ROW, "metrik": 3}], ["unknown key 'metrik'", "did you mean 'metric'"]),
        ("published", [{key: ROW[key] for key in ROW if key != "std"}], ["a row has no std"]),
        ("published", [{**ROW, "metric": "distence"}], ["no metric 'distence'", "did you mean 'distance'", "balance"]),
        ("published", [{**ROW, "budget": "money"}], ["no budget 'money'", "time, examples, iterations"]),
        ("published", [{**ROW, "selector": "jest"}], ["no selector 'jest'", "none"]),
        ("published", [{**ROW, "guider": "cfg"}], ["no guider 'cfg'"]),
    ],
)
def test_values_of_the_wrong_kind_in_a_comparisons_file(cli: Any, key: str, value: Any, words: list[str]) -> None:
    Path("c.toml").write_text(tomli_w.dumps({"task": "toy", "device": "cpu", key: value}))
    line = cli.error("compare", "c.toml", "--plugin", TOY)
    for word in words:
        assert word in line
    assert cli.files() == {str(cli.cwd / "c.toml")}


def test_keys_of_a_single_run_in_a_comparisons_file(cli: Any) -> None:
    Path("c.toml").write_text('guider = "cfg"\n')
    assert "a comparison has a list, guiders = [...]" in cli.error("compare", "c.toml")
    Path("c.toml").write_text('guidres = ["cfg"]\n')
    assert "did you mean 'guiders'" in cli.error("compare", "c.toml")
    Path("c.toml").write_text('[[published]]\nbudget = "time"\n')
    assert "published" in cli.error("compare", "c.toml")
