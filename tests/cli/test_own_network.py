"""A network of one's own: a checkpoint, or what one's own code builds, guided without a run."""

import json
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

TOY = Path(__file__).with_name("toy.py")
MINE = """
import torch
from guideplug import Leaf, Space

class Mine(Leaf):
    def __init__(self, space, offset):
        super().__init__(space)
        self.offset = torch.nn.Parameter(torch.tensor(offset))
    def denoise(self, x, sigma, condition):
        return (0.25 * x + sigma[:, None] ** 2 * self.offset) / (0.25 + sigma[:, None] ** 2)

def build(task):
    return Mine(task.space, 0.3)

def other(task):
    return Mine(Space(shape=(3,)), 0.3)

def failing(task):
    raise KeyError("weights.bin")

def nothing(task):
    return torch.nn.Linear(2, 2)

number = 3
"""


@pytest.fixture
def sample(cli: Any) -> Any:
    """``guideplug sample`` on the toy task without a run."""
    Path("mine.py").write_text(MINE)

    def call(*args: object, json: bool = False) -> Any:
        whole = ("sample", "--plugin", TOY, "--task", "toy", "--device", "cpu", "--set", "threads=1", *args)
        return cli.json(*whole) if json else cli(*whole)

    return call


def trained(folder: str) -> list[str]:
    lines = Path(folder, "events.jsonl").read_text().splitlines()
    return [event["role"] for event in map(json.loads, lines) if event["event"] == "trained"]


@pytest.mark.parametrize("builder", ["mine:build", "./mine.py:build"])
def test_a_network_that_ones_own_code_builds(sample: Any, builder: str) -> None:
    found = sample("--model", f'main=python("{builder}")', "--guider", "autoguidance", "--out", "run", json=True)
    assert trained("run") == ["weak"]
    assert found["evaluations"]["guided"]["main"]["calls"] > 0
    assert set(found["arms"]) == {"truth", "unguided", "guided"}


def test_its_run_can_be_repeated_and_guided_anew(sample: Any, cli: Any) -> None:
    sample("--model", 'main=python("./mine.py:build")', "--out", "first")
    written = tomllib.loads(Path("first/config.toml").read_text())["models"]["main"]
    assert written["name"] == "python"
    assert Path(written["builder"].rpartition(":")[0]).is_absolute()
    cli("run", "first/config.toml", "--out", "second")
    cli("sample", "first", "--guider", "autoguidance", "--out", "third")
    with (
        np.load("first/samples.npz") as one,
        np.load("second/samples.npz") as two,
        np.load("third/samples.npz") as three,
    ):
        assert np.array_equal(one["unguided"], two["unguided"])
        assert np.array_equal(one["unguided"], three["unguided"])


def test_its_copy_is_fine_tuned_on_its_samples(sample: Any) -> None:
    sample("--model", 'main=python("mine:build")', "--guider", "sims(count=64, budget=5it)", "--out", "run")
    assert trained("run") == ["synthetic"]
    after = load_file("run/denoisers/synthetic.safetensors")["offset"].item()
    assert after != pytest.approx(0.3, abs=1e-6)


def test_edited_code_is_another_network(sample: Any) -> None:
    options = ("--model", 'main=python("./mine.py:build")', "--guider", "sims(count=64, budget=5it)")
    sample(*options, "--out", "first")
    sample(*options, "--out", "again")
    Path("elsewhere").mkdir()
    Path("elsewhere/mine.py").write_text(MINE.replace("0.3)", "0.2)"))
    sample("--model", 'main=python("elsewhere/mine.py:build")', *options[2:], "--out", "edited")
    assert [trained(folder) for folder in ("first", "again", "edited")] == [["synthetic"], [], ["synthetic"]]


def test_an_architecture_of_ones_own_is_trained_and_its_checkpoint_loaded(cli: Any, sample: Any) -> None:
    cli.toy("--denoiser", 'python("mine:build")', "--duration", "5it", "--out", "run")
    weights = load_file("run/denoisers/main.safetensors")
    assert set(weights) == {"offset"}
    save_file(weights, "bare.safetensors")
    sample("--model", "main=bare.safetensors", "--denoiser", 'python("mine:build")', "--out", "one")
    sample("--model", "main=run/denoisers/main.safetensors", "--out", "two")
    with np.load("one/samples.npz") as one, np.load("two/samples.npz") as two:
        assert np.array_equal(one["unguided"], two["unguided"])


def test_a_checkpoint_without_a_run(cli: Any, sample: Any) -> None:
    cli.toy("--out", "first")
    Path("mine.safetensors").write_bytes(Path("first/denoisers/main.safetensors").read_bytes())
    sample("--model", "main=mine.safetensors", "--guider", "blend([autoguidance, sims(count=64)])", "--out", "second")
    assert sorted(trained("second")) == ["synthetic", "weak"]
    with np.load("first/samples.npz") as one, np.load("second/samples.npz") as two:
        assert np.array_equal(one["unguided"], two["unguided"])


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ((), "sample what? give the folder of a run, or a network: --model main=PATH_OR_EXPRESSION"),
        (("--model", "weak=x.safetensors"), "sample what?"),
        (("--model", "main=missing.safetensors"), "missing.safetensors does not exist"),
        (("--model", 'main=python("mine")'), "write module:function or FILE.py:function"),
        (("--model", 'main=python("mine:a b")'), "write module:function or FILE.py:function"),
        (
            ("--model", 'main=python("absent:build")'),
            "cannot be imported: ModuleNotFoundError: No module named 'absent'",
        ),
        (("--model", 'main=python("./absent.py:build")'), "cannot be imported: FileNotFoundError: no such file"),
        (("--model", 'main=python("mine:absent")'), "mine has no function 'absent'"),
        (("--model", 'main=python("mine:number")'), "mine has no function 'number'"),
        (("--model", 'main=python("mine:failing")'), "raised KeyError: 'weights.bin', in mine.py, line 19"),
        (("--model", 'main=python("mine:nothing")'), "returned a Linear: return a denoiser, as guideplug.wrap"),
        (
            ("--model", 'main=python("mine:other")'),
            "a denoiser of shape (3,), and task 'toy' has samples of shape (2,)",
        ),
        (("--model", "main=mine.py"), "is code: name the function, as in python('mine.py:build')"),
    ],
)
def test_what_cannot_be_sampled_is_refused_in_one_line(cli: Any, sample: Any, args: tuple[str, ...], said: str) -> None:
    line = cli.error("sample", "--plugin", TOY, "--task", "toy", *args, "--out", "run", code=2)
    assert said in line
    assert not Path("run").exists()


def test_the_task_of_a_run_cannot_be_changed(cli: Any) -> None:
    cli.toy("--duration", "3it", "--out", "first")
    assert "--task is that of the run first" in cli.error("sample", "first", "--task", "digits")
    assert "--denoiser is that of the run first" in cli.error("sample", "first", "--denoiser", "tree-mlp")


def test_a_network_that_a_guider_brings_is_counted_and_explained(cli: Any) -> None:
    found = cli.json("run", "--plugin", TOY, "--task", "toy", "--guider", "toy-bringing", "--duration", "3it")
    guided = found["evaluations"]["guided"]
    assert guided["critic"] == guided["main"] != {"calls": 0, "outputs": 0}
    said = cli("explain", "toy-bringing", "--plugin", TOY, "--task", "toy").stdout
    assert "1.5 main(x) - 0.5 critic(x)" in said
    assert "critic: 1 call an evaluation, 4 calls in all (the guider's own)" in said
