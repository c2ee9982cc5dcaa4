"""Configurations and checkpoints that cannot be used, each answered in one line."""

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

GUIDED = ("--guider", "autoguidance")


# TOML


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("guider = autoguidance", ["is not TOML", "line 1"]),
        ("[train\nlr = 1", ["is not TOML"]),
        ("gider = 'cfg'", ["unknown key 'gider'", "did you mean 'guider'"]),
        ("guider = 3", ["guider", "3"]),
        ("guider = {weight = 2}", ["guider"]),
        ("guider = {name = 3}", ["guider.name", "3"]),
        ("guider = {name = 'cfg', wieght = 2}", ["'wieght'", "did you mean 'weight'"]),
        ("guider = 'cfg(weight='", ["guider"]),
        ("samples = 'many'", ["samples", "many", "whole number"]),
        ("samples = 3.0", ["samples", "3.0", "whole number"]),
        ("samples = true", ["samples", "whole number"]),
        ("train = 3", ["train", "[train]"]),
        ("models = 3", ["models", "[models]"]),
        ("[train]\nlr = 'fast'", ["train.lr", "fast", "a number"]),
        ("[train]\nema = 0.05", ["train.ema", "0.05", "list"]),
        ("plugins = 3", ["plugins", "3", "list"]),
        ("plugins = 'x.py'", ["plugins", "x.py", "list"]),
        ("guider = 'autoguidance'\n[models]\nweak = 3", ["models.weak", "3"]),
        ("threads = 0", ["threads", "0", "at least 1"]),
        ("sample_batch = 0", ["sample_batch", "0", "at least 1"]),
        ("device = 5", ["device", "5", "cpu"]),
    ],
)
def test_a_malformed_configuration(cli: Any, text: str, words: list[str]) -> None:
    Path("mine.toml").write_text(text)
    before = cli.files()
    line = cli.error("run", "mine.toml")
    for word in words:
        assert word in line
    assert cli.files() == before


def test_a_configuration_that_is_no_text(cli: Any) -> None:
    Path("mine.toml").write_bytes(b"\xff\xfe\x00")
    assert "mine.toml cannot be read" in cli.error("run", "mine.toml")


# Checkpoints


@pytest.fixture
def trained(cli: Any) -> Path:
    """The main network's checkpoint of a toy run."""
    cli.toy("--duration", "2it", "--out", "first")
    return Path("first/denoisers/main.safetensors").resolve()


@pytest.mark.slow
@pytest.mark.parametrize(
    "how", ["missing", "folder", "truncated", "empty", "of torch", "text", "names", "shape", "nan"]
)
def test_a_checkpoint_that_cannot_be_used(cli: Any, trained: Path, how: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.safetensors"
    tensors = load_file(trained)
    first = next(iter(tensors))
    words = [str(path)]
    if how == "missing":
        words += ["does not exist"]
    elif how == "folder":
        path.mkdir()
        words += ["folder"]
    elif how == "truncated":
        path.write_bytes(trained.read_bytes()[:-8])
        words += ["not a whole safetensors file"]
    elif how == "empty":
        path.touch()
        words += ["not a whole safetensors file"]
    elif how == "of torch":
        path = path.with_suffix(".pt")
        torch.save({"a": torch.zeros(1)}, path)
        words = [str(path), "lacks", "'a'"]
    elif how == "text":
        path.write_text("these are no weights\n" * 9)
        words += ["not a whole safetensors file"]
    elif how == "names":
        save_file({"x" if name == first else name: tensor for name, tensor in tensors.items()}, path)
        words += [first, "lacks", "'x'"]
    elif how == "shape":
        save_file({name: tensor[..., :1].contiguous() for name, tensor in tensors.items()}, path)
        words += ["has shape", "the network's is"]
    else:
        save_file({**tensors, first: tensors[first] * torch.nan}, path)
        words += [first, "not finite"]
    before = cli.files()
    line = cli.toy(*GUIDED, "--model", f"main={path}", code=2).stderr
    assert len(line.splitlines()) == 1
    assert "--model main" in line
    assert line.startswith("error: ")
    for word in words:
        assert word in line
    assert cli.files() == before


def test_a_pickle_is_never_opened(cli: Any, tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return Path.touch, (tmp_path / "sprung",)

    path = tmp_path / "trap.pkl"
    path.write_bytes(pickle.dumps(Trap()))
    assert "it uses pathlib.Path.touch, which is not read" in cli.toy(*GUIDED, "--model", f"weak={path}", code=2).stderr
    assert not (tmp_path / "sprung").exists()


def test_a_checkpoint_of_another_architecture_is_refused(cli: Any, trained: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone.safetensors"
    alone.write_bytes(trained.read_bytes())
    line = cli.toy(*GUIDED, "--model", f"main={alone}", "--denoiser", "toy-net(width=5)", code=2).stderr
    assert "has shape (8" in line
    assert "the network's is (5" in line
