"""`guideplug sample`: a finished run guided anew, without training what it has."""

import json
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest


@pytest.fixture
def first(cli: Any) -> Path:
    """A finished run of the toy task, with a selector and a guide."""
    cli.toy("--guider", "autoguidance", "--selector", "toy-half", "--out", "first")
    return Path("first")


def samples(folder: Path | str) -> dict[str, np.ndarray]:
    with np.load(Path(folder) / "samples.npz", allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


def trained(folder: Path | str) -> list[str]:
    lines = (Path(folder) / "events.jsonl").read_text().splitlines()
    return [event["role"] for event in map(json.loads, lines) if event["event"] == "trained"]


def test_the_same_guider_gives_the_same_samples_without_training(cli: Any, first: Path) -> None:
    before = {path: path.read_bytes() for path in first.rglob("*") if path.is_file()}
    said = cli("sample", "first", "--out", "second").stdout
    assert trained("second") == []
    ours, theirs = samples("second"), samples("first")
    assert all(np.array_equal(ours[name], theirs[name]) for name in theirs)
    assert "No selector took part: the main network was not trained from scratch here (load)." in said
    assert "found in the store" not in said
    assert before == {path: path.read_bytes() for path in first.rglob("*") if path.is_file()}


def test_another_weight_samples_from_the_same_noise(cli: Any, first: Path) -> None:
    cli("sample", "first", "--guider", "autoguidance(weight=4)", "--out", "second")
    ours, theirs = samples("second"), samples("first")
    assert np.array_equal(ours["start"], theirs["start"])
    assert np.array_equal(ours["unguided"], theirs["unguided"])
    assert not np.array_equal(ours["guided"], theirs["guided"])


def test_another_seed_is_other_noise_for_the_same_network(cli: Any, first: Path) -> None:
    cli("sample", "first", "--seed", "9", "--samples", "8", "--out", "second")
    assert trained("second") == []
    assert samples("second")["start"].shape == (8, 2)
    assert not np.array_equal(samples("second")["start"], samples("first")["start"][:8])
    config = tomllib.loads(Path("second/config.toml").read_text())
    assert config["sample_seed"] == 9


@pytest.mark.slow
def test_another_sampler(cli: Any, first: Path) -> None:
    found = cli.json("sample", "first", "--sampler", "heun(num_steps=2)", "--out", "second")
    assert found["evaluations"]["guided"]["weak"]["calls"] == 3
    assert trained("second") == []


def test_a_role_that_the_run_lacks_is_trained(cli: Any) -> None:
    cli.toy("--out", "first")
    cli("sample", "first", "--guider", "autoguidance", "--out", "second")
    assert trained("second") == ["weak"]
    cli("sample", "first", "--guider", "autoguidance(model=other)", "--out", "third",
        "--model", "other=train(duration=3it)")  # fmt: skip
    assert trained("third") == ["other"]


def test_a_network_without_a_default_recipe_is_the_runs(cli: Any) -> None:
    cli.toy("--task", "toy(labels=true)", "--guider", "cfg(model=critic)", "--out", "first")
    cli.toy("--guider", "autoguidance(model=critic)", "--model", "critic=train(duration=3it)", "--out", "second")
    cli("sample", "second", "--guider", "autoguidance(weight=3, model=critic)", "--out", "third")
    assert trained("third") == []
    assert samples("third")["guided"].shape == (32, 2)


def test_a_network_of_ones_own_instead_of_the_runs(cli: Any, first: Path) -> None:
    cli.toy("--out", "other", "--seed", "3")
    cli("sample", "first", "--model", "weak=other/denoisers/main.safetensors", "--out", "second")
    assert not np.array_equal(samples("second")["guided"], samples("first")["guided"])
    assert np.array_equal(samples("second")["unguided"], samples("first")["unguided"])
    cli("sample", "first", "--model", "main=other/denoisers/main.safetensors", "--out", "third")
    assert np.array_equal(samples("third")["unguided"], samples("other")["unguided"])
    line = cli.error("sample", "first", "--model", "wek=other/denoisers/main.safetensors")
    assert "--model wek" in line
    assert "weak" in line


@pytest.mark.parametrize("recipe", ["snapshot(of=main, at=4it)", "fine-tune(of=main, on=toy, duration=3it)"])
def test_a_guide_made_by_any_recipe_can_be_sampled_with_again(cli: Any, recipe: str) -> None:
    cli.toy("--guider", "autoguidance", "--model", f"weak={recipe}", "--out", "first")
    cli("sample", "first", "--out", "second")
    assert np.array_equal(samples("second")["guided"], samples("first")["guided"])
    assert trained("second") == []


def test_a_sampled_run_can_be_repeated_and_sampled_again(cli: Any, first: Path) -> None:
    cli("sample", "first", "--guider", "autoguidance(weight=3)", "--out", "second")
    cli("run", "second/config.toml", "--out", "third")
    cli("sample", "second", "--out", "fourth")
    for folder in ("third", "fourth"):
        assert np.array_equal(samples(folder)["guided"], samples("second")["guided"])


def test_by_default_it_makes_a_new_folder(cli: Any, first: Path) -> None:
    cli("sample", "first")
    (folder,) = Path("runs").iterdir()
    assert folder.name.endswith("toy-autoguidance-sampled")


def test_a_plugin_given_here_comes_beside_the_runs(cli: Any, first: Path, tmp_path: Path) -> None:
    plugin = tmp_path / "identity.py"
    plugin.write_text(
        "from attrs import frozen\nfrom guideplug import Guider, hook\n@frozen\nclass Nothing(Guider):\n"
        '    """Nothing."""\n    name = "nothing"\n    def guide(self, base, models):\n        return base\n'
        "@hook\ndef guideplug_guiders():\n    return [Nothing]\n"
    )
    cli("sample", "first", "--plugin", plugin, "--guider", "nothing", "--out", "second")
    assert np.array_equal(samples("second")["guided"], samples("first")["unguided"])


def test_folders_that_cannot_be_sampled(cli: Any, first: Path) -> None:
    assert "nowhere does not exist" in cli.error("sample", "nowhere")
    Path("empty").mkdir()
    assert "empty is not the folder of a run" in cli.error("sample", "empty")
    cli.toy("--set", "train.lr=1e30", "--out", "failed", code=1)
    line = cli.error("sample", "failed")
    assert "no trained network" in line
    assert "failed" in line
    assert "guideplug run --resume failed" in line
    assert "second is not empty" in occupied(cli)


def occupied(cli: Any) -> str:
    Path("second").mkdir()
    Path("second/mine.txt").touch()
    return str(cli.error("sample", "first", "--out", "second"))


def test_a_runs_network_that_was_tampered_with_is_refused(cli: Any, first: Path) -> None:
    path = first / "denoisers/main.safetensors"
    path.write_bytes(path.read_bytes()[:-4])
    line = cli.error("sample", "first", code=1)
    assert "main.safetensors is damaged: it is not what was written, going by checksums.sha256" in line
    (first / "checksums.sha256").unlink()  # and where there is no list
    line = cli.error("sample", "first")
    assert "main.safetensors" in line
    assert "not a whole safetensors file" in line
