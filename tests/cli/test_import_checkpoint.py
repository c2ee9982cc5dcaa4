"""guideplug import: what it writes and prints, and the mistakes of its users."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from torch import nn

from guideplug.cli import main

NET = nn.Linear(2, 2)


def imported(*args: str) -> Result:
    return CliRunner().invoke(main, ["import", *args])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    torch.save({"net": NET.state_dict(), "ema": NET.state_dict(), "optimizer": {}}, tmp_path / "last.ckpt")
    return tmp_path / "last.ckpt"


def test_it_writes_weights_and_a_sheet_and_says_what_they_are(path: Path) -> None:
    done = imported(str(path), "--key", "ema")
    assert done.exit_code == 0, done.output
    assert path.with_suffix(".safetensors").is_file()
    assert json.loads(path.with_suffix(".json").read_text())["source"]["key"] == "ema"
    assert "last.ckpt: torch, network ema; not imported: net" in done.output
    assert "its architecture is not in the file: give it as --denoiser" in done.output


def test_it_prints_json_and_nothing_else(path: Path) -> None:
    out = path.with_name("mine.safetensors")
    printed = json.loads(imported(str(path), str(out), "--key", "net", "--json").output)
    assert printed["file"] == str(out)
    assert printed["parameters"] == 6


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ([], "it holds 2 networks: choose one by its key, net (2 tensors of weight, bias), ema"),
        (["--key", "eam"], "it has no network of key 'eam'"),
        (["out.pt", "--key", "ema"], "its name must end in .safetensors"),
    ],
)
def test_mistakes_are_one_line(path: Path, args: list[str], expected: str) -> None:
    done = imported(str(path), *args)
    assert done.exit_code in (1, 2)
    assert expected in done.stderr
    assert done.stderr.count("\n") == 1
    assert not path.with_suffix(".safetensors").exists()


def test_what_is_there_already_stays(path: Path) -> None:
    path.with_suffix(".json").write_text("mine")
    done = imported(str(path), "--key", "ema")
    assert done.exit_code == 2
    assert "last.json is there already: give another OUT" in done.stderr
    assert path.with_suffix(".json").read_text() == "mine"


@pytest.mark.parametrize("end", ["npz", "pkl", "flat.pkl"])
def test_statistics_of_a_reference_are_for_evaluate(tmp_path: Path, end: str) -> None:
    path, arrays = tmp_path / f"img64.{end}", {"mu": np.zeros(3), "sigma": np.eye(3)}
    if end == "npz":
        np.savez(path, mu=arrays["mu"], sigma=arrays["sigma"])
    else:
        path.write_bytes(pickle.dumps(arrays if end == "flat.pkl" else {"fid": arrays, "num_images": 5}))
    failed = imported(str(path))
    assert failed.exit_code == 1
    assert failed.output.count("\n") == 1
    assert "holds statistics of a reference set, mean and covariance, and no network" in failed.output
    assert f"measure images against it, evaluate IMAGES --features EXPR --reference {path}" in failed.output
