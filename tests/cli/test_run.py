"""`guideplug run` from beginning to end: the tree and the digits, otherwise a task that costs nothing."""

import json
import os
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file

from guideplug.run.folder import RunFolder

GUIDED = ("--guider", "autoguidance")
TINY = ("--duration", "8it", "--batch", "256", "--samples", "64", "--set", "sampler.num_steps=3", "--set", "threads=1")


def read(path: Path | str) -> Any:
    return json.loads(Path(path).read_text())


def samples(folder: Path | str) -> dict[str, np.ndarray]:
    with np.load(Path(folder) / "samples.npz", allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


def same_samples(a: Path | str, b: Path | str) -> bool:
    one, other = samples(a), samples(b)
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


def events(folder: Path | str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (Path(folder) / "events.jsonl").read_text().splitlines()]


# The tree and the digits


def test_the_tree_leaves_a_whole_run_folder(cli: Any) -> None:
    result = cli("run", *GUIDED, "--selector", "early-jest", *TINY, "--device", "cpu", "--out", "out")
    folder = Path("out")
    assert {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} == {
        "config.toml", "run.json", "events.jsonl", "metrics.json", "samples.npz",
        "sweep.npz", "words.json", "report.html", "checksums.sha256", "figures/tree.png", "figures/tree.gif",
        "denoisers/main.safetensors", "denoisers/main.json", "denoisers/weak.safetensors", "denoisers/weak.json",
    }  # fmt: skip

    config = tomllib.loads((folder / "config.toml").read_text())
    assert config["guider"] == "autoguidance(weight=2.0, model=weak)"
    assert config["selector"].startswith("early(selector=jest(filter_ratio=0.8")
    assert (config["samples"], config["train"]["duration"], config["train"]["batch"]) == (64, "8it", 256)
    assert config["models"]["weak"]["options"]["duration"] == "1it"

    record = read(folder / "run.json")
    assert record["status"] == "finished"
    assert record["device"] == "cpu"
    assert record["seeds"] == {"main": 0, "samples": 0}
    assert record["versions"].keys() >= {"guideplug", "torch", "numpy", "python"}
    assert {plugin["name"] for plugin in record["plugins"]} >= {"autoguidance", "early", "jest", "tree"}
    assert record["networks"].keys() == {"main", "weak"}

    metrics = read(folder / "metrics.json")
    assert metrics["arms"].keys() == {"truth", "exact", "unguided", "guided"}
    assert metrics["seconds"].keys() >= {"train", "reference", "select", "sample", "metrics"}
    assert metrics["evaluations"]["guided"] == {
        "main": {"calls": 5, "outputs": 5 * 64}, "weak": {"calls": 5, "outputs": 5 * 64},
    }  # fmt: skip
    assert metrics["evaluations"]["unguided"]["weak"]["calls"] == 0
    assert metrics["examples"]["seen"] == 8 * 256
    assert metrics["examples"].keys() == {"seen", "scored", "backpropagated"}
    assert metrics["selection"].keys() >= {"switched_off_at", "effective_sample_size"}

    found = samples(folder)
    assert found.keys() == {"unguided", "guided", "start"}
    assert all(array.shape == (64, 2) and np.isfinite(array).all() for array in found.values())
    assert not np.array_equal(found["unguided"], found["guided"])
    sheet = read(folder / "denoisers/weak.json")
    assert sheet["denoiser"] == "tree-mlp(hidden=32)"
    assert sheet["recipe"].startswith("train(")
    assert (folder / "figures/tree.png").read_bytes().startswith(b"\x89PNG")
    assert (folder / "figures/tree.gif").read_bytes().startswith(b"GIF89a")

    said = result.stdout
    for word in ("truth", "unguided", "guided", "mandala", "↑", "↓", "fidelity", "coverage"):
        assert word in said
    lines = said.splitlines()
    assert sum(line.startswith("Guidance (autoguidance): ") for line in lines) == 1
    assert sum(line.startswith("Selection (early(jest)) ") and "effective sample size" in line for line in lines) == 1
    assert "guided: weak 5, main 5 outputs per sample, in 10 network calls" in lines
    assert "figure: out/figures/tree.png" in lines
    following = lines[lines.index("next:") + 1 :]
    assert [line.split()[:2] for line in following] == [["guideplug", "sample"], ["guideplug", "explain"]]
    assert result.stderr == ""


@pytest.mark.slow
def test_the_digits_run_with_classes_from_one_network(cli: Any) -> None:
    found = cli.json(
        "run", "--task", "digits", "--guider", "cfg(weight=2)", "--duration", "3it", "--batch", "16",
        "--samples", "48", "--denoiser", "digits-transformer(width=16, blocks=1, heads=2)",
        "--set", "sampler.num_steps=2", "--set", "threads=1", "--set", "train.warmup=0", "--device", "cpu",
    )  # fmt: skip
    folder = Path(found["folder"])
    arrays = samples(folder)
    assert arrays["guided"].shape == (48, 1, 8, 8)
    assert arrays["condition"].shape == (48,)
    assert [path.stem for path in (folder / "denoisers").glob("*.safetensors")] == ["main"]
    assert found["evaluations"]["guided"]["main"] == {"calls": 3, "outputs": 2 * 3 * 48}
    assert Path(found["figure"]).read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_cfg_on_the_labelled_tree_needs_one_network(cli: Any) -> None:
    task = "tree(classes=both, labels=true)"
    found = cli.json("run", "--task", task, "--guider", "cfg", *TINY, "--device", "cpu", "--out", "out")
    assert found["evaluations"]["guided"] == {"main": {"calls": 5, "outputs": 2 * 5 * 64}}
    assert set(samples("out")["condition"].tolist()) == {0, 1}


# What is the same in all runs


def test_a_configuration_file_repeats_the_run_to_the_bit(cli: Any) -> None:
    cli.toy(*GUIDED, "--selector", "toy-half", "--out", "one", "--seed", "5")
    cli("run", "one/config.toml", "--out", "two", "--fresh")
    assert same_samples("one", "two")
    assert Path("one/config.toml").read_text() == Path("two/config.toml").read_text()
    assert read("one/metrics.json")["arms"] == read("two/metrics.json")["arms"]
    cli("run", "one", "--out", "three")  # the folder for its configuration
    assert same_samples("one", "three")


def test_options_of_the_command_line_win_over_the_file(cli: Any) -> None:
    Path("mine.toml").write_text(
        'guider = {name = "autoguidance", weight = 1.5}\nsamples = 9\n[train]\nlr = 0.5\nduration = "3it"\n'
    )
    plan = json.loads(cli.toy("mine.toml", "--samples", "11", "--set", "train.lr=0.25", "--dry-run", "--json").stdout)
    config = plan["config"]
    assert config["guider"] == "autoguidance(weight=1.5, model=weak)"
    assert (config["samples"], config["train"]["lr"], config["train"]["duration"]) == (11, 0.25, "3it")


def test_both_arms_start_from_the_same_noise_and_weight_1_is_the_base(cli: Any) -> None:
    cli.toy("--guider", "autoguidance(weight=1)", "--out", "out")
    found = samples("out")
    assert np.array_equal(found["guided"], found["unguided"])
    assert read("out/metrics.json")["evaluations"]["guided"]["weak"] == {"calls": 0, "outputs": 0}
    cli.toy("--guider", "autoguidance(weight=3)", "--out", "other")
    assert np.array_equal(samples("other")["unguided"], found["unguided"])
    assert np.array_equal(samples("other")["start"], found["start"])


def test_networks_are_found_again_and_fresh_trains_anew(cli: Any) -> None:
    first = cli.toy(*GUIDED, "--out", "one")
    assert "trained main: 40 steps" in first.stdout
    second = cli.toy(*GUIDED, "--out", "two")
    said = [line for line in second.stdout.splitlines() if line.startswith("found ")]
    assert [line.split()[1] for line in said] == ["weak", "main"]
    assert all(line.endswith("(--fresh trains anew)") for line in said)
    assert not any(event["event"] == "train" for event in events("two"))
    third = cli.toy(*GUIDED, "--out", "three", "--fresh")
    assert "found" not in third.stdout
    assert [event["role"] for event in events("three") if event["event"] == "trained"] == ["weak", "main"]
    assert same_samples("one", "two")
    assert same_samples("one", "three")


@pytest.mark.slow
def test_another_option_of_the_training_is_another_network(cli: Any) -> None:
    cli.toy("--out", "one")
    for number, change in enumerate(("train.lr=0.02", "train.ema=[0.1]", "denoiser.width=9", "seed=1", "batch=65")):
        assert "trained main" in cli.toy("--out", f"other{number}", "--set", change).stdout
    for number, change in enumerate(("samples=5", "sampler.num_steps=2", "sample_seed=3", "sample_batch=7")):
        assert "found main" in cli.toy("--out", f"same{number}", "--set", change).stdout


def test_the_same_command_twice_leaves_two_folders(cli: Any) -> None:
    for _ in range(3):
        cli.toy("--duration", "2it")
    assert len(list(Path("runs").iterdir())) == 3


def test_json_is_all_that_is_printed(cli: Any) -> None:
    result = cli.toy(*GUIDED, "--json")
    found = json.loads(result.stdout)
    assert result.stderr == ""
    assert {key: found[key] for key in ("arms", "evaluations")} == {
        key: read(Path(found["folder"]) / "metrics.json")[key] for key in ("arms", "evaluations")
    }


def test_a_dry_run_writes_nothing_and_says_what_will_be_done(cli: Any) -> None:
    said = cli.toy(*GUIDED, "--dry-run").stdout
    assert cli.files() == set()
    assert "# weak (toy-net(width=4)) will be trained, 10 iterations" in said
    assert "# main (toy-net) will be trained, 40 iterations" in said
    assert tomllib.loads(said)["guider"] == "autoguidance(weight=2.0, model=weak)"
    cli.toy(*GUIDED, "--out", "one")
    before = cli.files()
    plan = json.loads(cli.toy(*GUIDED, "--seed", "1", "--model", "weak=one/denoisers/weak.safetensors",
                              "--dry-run", "--json").stdout)  # fmt: skip
    assert [(item["role"], item["plan"]) for item in plan["networks"]] == [("weak", "loaded"), ("main", "trained")]
    assert cli.files() == before
    assert "# main (toy-net) will be found" in cli.toy("--dry-run").stdout


def test_a_dry_runs_configuration_is_the_runs(cli: Any) -> None:
    Path("plan.toml").write_text(cli.toy(*GUIDED, "--dry-run").stdout)
    cli("run", "plan.toml", "--out", "one")
    cli.toy(*GUIDED, "--out", "two")
    assert Path("one/config.toml").read_text() == Path("two/config.toml").read_text()


def test_without_a_guider(cli: Any) -> None:
    result = cli.toy("--guider", "none", "--out", "out")
    assert samples("out").keys() == {"unguided", "start"}
    assert "No guider was chosen: samples are unguided." in result.stdout
    assert "No selector was chosen" in result.stdout
    suggestion = result.stdout.splitlines()[-2].split()
    assert suggestion[:4] == ["guideplug", "sample", "out", "--guider"]


def test_the_batch_of_sampling_does_not_change_samples(cli: Any) -> None:
    cli.toy(*GUIDED, "--out", "one", "--set", "sampler=heun(num_steps=3, churn=2)")
    cli.toy(*GUIDED, "--out", "two", "--set", "sampler=heun(num_steps=3, churn=2)", "--set", "sample_batch=7")
    one, two = samples("one"), samples("two")
    for name in ("unguided", "guided", "start"):
        np.testing.assert_allclose(two[name], one[name], atol=1e-5)
    assert read("two/metrics.json")["evaluations"]["guided"]["main"] == {"calls": 5 * 5, "outputs": 5 * 32}


def test_a_network_for_cfg_with_labels_is_batched(cli: Any) -> None:
    cli.toy("--task", "toy(labels=true)", "--guider", "cfg(weight=2)", "--out", "out")
    found = read("out/metrics.json")["evaluations"]["guided"]
    assert found == {"main": {"calls": 4, "outputs": 2 * 4 * 32}}


# Durations


@pytest.mark.parametrize(("length", "steps"), [("6it", 6), ("0.01kit", 10), ("320ex", 5), ("0.33kex", 6)])
def test_durations_in_iterations_and_examples(cli: Any, length: str, steps: int) -> None:
    cli.toy("--duration", length, "--out", "out")
    assert read("out/metrics.json")["selection"]["iterations"] == steps


def test_examples_are_those_back_propagated(cli: Any) -> None:
    cli.toy("--duration", "320ex", "--selector", "toy-half", "--out", "out")
    found = read("out/metrics.json")
    assert found["selection"]["iterations"] == 10
    assert found["examples"] == {"seen": 640, "scored": 640, "backpropagated": 320}


@pytest.mark.slow
def test_a_time_limit_is_kept_as_what_it_reached(cli: Any) -> None:
    cli.toy(*GUIDED, "--duration", "0.3s", "--out", "one")
    config = tomllib.loads(Path("one/config.toml").read_text())
    steps = read("one/metrics.json")["selection"]["iterations"]
    assert config["train"]["duration"] == f"{steps}it"
    assert config["models"]["weak"]["options"]["duration"].endswith("it")
    again = cli("run", "one/config.toml", "--out", "two")
    assert again.stdout.count("found ") >= 2
    assert same_samples("one", "two")
    cli("run", "one/config.toml", "--out", "three", "--fresh")
    assert same_samples("one", "three")


def test_a_time_limit_of_a_guide_alone_is_kept_too(cli: Any) -> None:
    cli.toy(*GUIDED, "--out", "one", "--set", "models.weak.options.duration=0.1s")
    config = tomllib.loads(Path("one/config.toml").read_text())
    assert config["train"]["duration"] == "40it"
    assert config["models"]["weak"]["options"]["duration"].endswith("it")
    cli("run", "one/config.toml", "--out", "two", "--fresh")
    assert same_samples("one", "two")


# Where a role's network comes from


def test_a_network_of_another_run_by_its_path(cli: Any) -> None:
    cli.toy("--out", "other", "--denoiser", "toy-net(width=3)", "--duration", "5it")
    path = "other/denoisers/main.safetensors"
    result = cli.toy(*GUIDED, "--out", "out", "--model", f"weak={path}")
    assert f"loaded weak from {Path(path).absolute()}" in result.stdout
    assert read("out/denoisers/weak.json")["denoiser"] == "toy-net(width=3)"
    ours, theirs = load_file("out/denoisers/weak.safetensors"), load_file(path)
    assert all(ours[name].equal(theirs[name]) for name in theirs)
    cli("run", "out/config.toml", "--out", "again")
    assert same_samples("out", "again")


RECIPES = {
    "shorter": "train(duration=12it)",
    "smaller, of another seed": "train(denoiser=toy-net(width=3), seed=4)",
    "earlier": "snapshot(of=main, at=4it)",
    "further": "fine-tune(of=main, on=toy, duration=4it)",
    "on synthetic data": "fine-tune(of=main, on=synthetic(of=main, count=64), duration=4it, lr=0.001)",
    "an earlier moment of a fine-tune": "snapshot(of=fine-tune(of=main, on=toy, duration=4it), at=2it)",
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("what", "selector"), [*((what, "none") for what in RECIPES), ("earlier", "toy-half"), ("further", "toy-half")]
)
def test_recipes_as_expressions(cli: Any, what: str, selector: str) -> None:
    result = cli.toy(*GUIDED, "--selector", selector, "--out", "one", "--model", f"weak={RECIPES[what]}")
    assert result.stdout.count("trained main") == 1
    assert len(load_file("one/denoisers/weak.safetensors")) == 4
    assert not np.array_equal(samples("one")["guided"], samples("one")["unguided"])
    cli("run", "one/config.toml", "--out", "two", "--fresh")
    assert same_samples("one", "two")
    assert "found" in cli.toy(*GUIDED, "--selector", selector, "--model", f"weak={RECIPES[what]}").stdout


def test_a_snapshot_is_the_training_stopped_there(cli: Any) -> None:
    cli.toy("--duration", "4it", "--out", "short")
    recipe = "weak=snapshot(of=main, at=4it)"
    kept = cli.toy(*GUIDED, "--model", recipe, "--out", "kept")
    assert kept.stdout.count("training ") == 1
    short = load_file("short/denoisers/main.safetensors")
    early = load_file("kept/denoisers/weak.safetensors")
    assert all(early[name].equal(short[name]) for name in short)
    # asked for when the training is over already, it is trained up to there once more
    later = cli.toy(*GUIDED, "--model", "weak=snapshot(of=main, at=7it)", "--out", "later")
    assert "found main" in later.stdout
    cli.toy("--duration", "7it", "--out", "seven")
    seven, late = load_file("seven/denoisers/main.safetensors"), load_file("later/denoisers/weak.safetensors")
    assert all(late[name].equal(seven[name]) for name in seven)


def test_an_ema_length_is_chosen_when_the_training_is_over(cli: Any) -> None:
    stored = ("--set", "train.averages=20", "--set", "train.ema=[0.05,0.15]")
    assert " steps in " in cli.toy(*stored, "--out", "first").stdout
    chosen = cli.toy(*stored, "--model", "main=snapshot(of=train(), ema=0.1)", "--out", "chosen")
    guide = "weak=snapshot(of=main, at=20it, ema=0.1)"
    guided = cli.toy(*stored, *GUIDED, "--model", guide, "--out", "guided")
    assert " steps in " not in chosen.stdout + guided.stdout  # nothing was trained
    cli.toy("--set", "train.ema=[0.1]", "--out", "kept")
    names = ("chosen", "kept", "first")
    ours, theirs, other = (load_file(f"{name}/denoisers/main.safetensors") for name in names)
    assert all(np.allclose(ours[name], theirs[name], atol=1e-5) for name in ours)
    assert not any(np.allclose(other[name], theirs[name], atol=1e-4) for name in ours)
    cli("run", "guided/config.toml", "--out", "again")
    assert same_samples("guided", "again")
    rows = json.loads(cli("store", "list", "--json").stdout)
    assert len({row["identity"] for row in rows}) == len(rows) == 4


def test_a_snapshot_of_main_has_mains_selector(cli: Any) -> None:
    cli.toy("--selector", "toy-half", "--duration", "4it", "--out", "short")
    cli.toy(*GUIDED, "--selector", "toy-half", "--model", "weak=snapshot(of=main, at=4it)", "--out", "out")
    short, early = load_file("short/denoisers/main.safetensors"), load_file("out/denoisers/weak.safetensors")
    assert all(early[name].equal(short[name]) for name in short)


def test_main_may_be_a_recipe_too(cli: Any) -> None:
    cli.toy("--out", "base")
    result = cli.toy(
        *GUIDED, "--out", "out", "--model", "main=fine-tune(of=load(path='base/denoisers/main.safetensors'), on=toy)"
    )
    assert "No selector took part" in result.stdout
    cli("run", "out/config.toml", "--out", "again")
    assert same_samples("out", "again")


def test_one_option_of_a_roles_recipe(cli: Any) -> None:
    plan = json.loads(
        cli.toy(*GUIDED, "--set", "models.weak.seed=7", "--set", "models.weak.denoiser.width=2", "--dry-run",
                "--json").stdout
    )  # fmt: skip
    weak = plan["config"]["models"]["weak"]
    assert (weak["seed"], weak["denoiser"]) == (7, "toy-net(width=2)")
    assert plan["config"]["denoiser"] == "toy-net(width=8)"


def test_a_long_recipe_is_no_path(cli: Any) -> None:
    inner = "train(" + ", ".join(["duration=2it", *(f"{key}=0.0" for key in ("weight_decay", "condition_dropout"))])
    text = f"weak={inner}, lr=0.{'0' * 300}1e299)"
    cli.toy(*GUIDED, "--model", text, "--dry-run")


def test_a_plugin_given_anew_comes_beside_those_of_the_configuration(cli: Any, tmp_path: Path) -> None:
    plugin = tmp_path / "halved.py"
    plugin.write_text(
        "from attrs import frozen\nfrom guideplug import Guider, hook\n@frozen\nclass Halved(Guider):\n"
        '    """Half way to the weak one."""\n    name = "halved"\n'
        "    def needs(self, task, main):\n        return {'weak': task.recipe('weak', main)}\n"
        "    def guide(self, base, models):\n        return base + -0.5 * (base - models['weak'])\n"
        "@hook\ndef guideplug_guiders():\n    return [Halved]\n"
    )
    cli.toy("--out", "one")
    cli("run", "one/config.toml", "--plugin", plugin, "--guider", "halved", "--out", "two")
    named = tomllib.loads(Path("two/config.toml").read_text())["plugins"]
    assert [Path(path).name for path in named] == ["toy.py", "halved.py"]
    digests = {item["name"]: item["sha256"] for item in read("two/run.json")["plugins"]}
    assert len(digests["halved"]) == 64
    assert read("two/metrics.json")["evaluations"]["guided"]["weak"]["calls"] == 4


@pytest.mark.slow
@pytest.mark.parametrize(
    ("at", "how", "error"),
    [
        ("open", "error", "RuntimeError: no service"),
        ("step", "error", "RuntimeError: no service"),
        ("metrics", "exit", "SystemExit: 3"),
        ("sample", "interrupt", "KeyboardInterrupt"),
        ("close", "error", "RuntimeError: no service"),
    ],
)
def test_a_failing_observer_does_not_touch_the_run(cli: Any, at: str, how: str, error: str) -> None:
    guided = [*GUIDED, "--selector", "toy-half"]
    cli.toy(*guided, "--out", "one")
    result = cli.toy(*guided, "--out", "two", "--fresh", "--observer", f"toy-failing(at={at}, how={how})")
    if at == "open":  # `SystemExit` and the like are in `tests/test_observe.py`
        assert "failed at 'open'" in result.stderr
    assert result.stderr.startswith("warning: observer toy-failing of the local file")
    assert len(result.stderr.splitlines()) == 1
    assert error in result.stderr
    assert same_samples("one", "two")
    weights = [Path(folder, "denoisers", "main.safetensors").read_bytes() for folder in ("one", "two")]
    assert weights[0] == weights[1]
    told = [event for event in events("two") if event["event"] == "observer"]
    assert [(one["observer"], one["at"], one["error"]) for one in told] == [("toy-failing", at, error)]
    kinds = [[event["event"] for event in events(folder) if event["event"] != "observer"] for folder in ("one", "two")]
    assert kinds[0] == kinds[1]


def test_observers_are_in_the_configuration_and_decide_nothing(cli: Any) -> None:
    cli.toy("--observer", "toy-failing(at=nothing)", "--observer", "toy-interrupting", "--out", "one")
    text = Path("one/config.toml").read_text()
    assert tomllib.loads(text)["observers"] == [
        "toy-failing(at=nothing, how=error)", "toy-interrupting()",
    ]  # fmt: skip
    found = cli("run", "one/config.toml", "--observer", "none", "--out", "two").stdout
    assert "found main in the store" in found
    assert "observers" not in tomllib.loads(Path("two/config.toml").read_text())
    cli("sample", "one", "--guider", "autoguidance", "--out", "three")
    assert "observers" not in tomllib.loads(Path("three/config.toml").read_text())
    RunFolder(Path("two")).update_record(status="interrupted")
    cli("run", "--resume", "two", "--observer", "toy-interrupting")
    wrong = cli.error("run", "two/config.toml", "--observer", "toy-faling")
    assert wrong.startswith("error: no observer is called 'toy-faling' (did you mean 'toy-failing'?)")


def test_a_guider_by_a_gradient_says_what_it_took_and_rests_on(cli):
    place = Path(__file__).parents[1] / "steering.py"
    guider = f'interval(classifier("{place}:log_p", on=denoised), high=1)'
    cli.toy("--guider", guider, "--duration", "2it", "--samples", 16, "--out", "out")
    counts = read("out/metrics.json")["evaluations"]
    main = counts["guided"]["main"]
    assert 0 < main["gradients"] < main["calls"]
    assert counts["unguided"]["main"].keys() == {"calls", "outputs"}
    (record,) = read("out/run.json")["guiders"]
    assert record["guider"].startswith("classifier(")
    assert len(record["content"]) == 16


@pytest.mark.slow
def test_a_run_on_a_busy_machine_says_so_in_no_file(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    cli.toy("--out", "quiet")
    monkeypatch.setattr(os, "getloadavg", lambda: (99.0, 0.0, 0.0))
    (line,) = cli.toy("--out", "busy").stderr.splitlines()
    assert line.startswith("note: about 99 other busy processes on ")
    assert line.endswith(": measured seconds will be longer than alone")
    assert not any("other busy" in file.read_text() for file in Path("busy").glob("*.*") if file.suffix != ".npz")
    assert Path("busy/samples.npz").read_bytes() == Path("quiet/samples.npz").read_bytes()
