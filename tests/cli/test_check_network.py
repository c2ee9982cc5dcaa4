"""guideplug check, and what run and sample say of networks that they did not train."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

TOY = Path(__file__).with_name("toy.py")
MINE = """
import torch
from guideplug import VPSchedule, wrap

CENTRES = torch.tensor([[-0.6, 0.0], [0.6, 0.2]])

def network(x_t, time):
    sigma = VPSchedule().sigma(time)[:, None]
    x = x_t * (1 + sigma**2).sqrt()
    variance = sigma**2 + 0.05**2
    share = torch.softmax(-(x[:, None] - CENTRES).square().sum(2) / (2 * variance), 1)
    centre = share @ CENTRES
    clean = centre + 0.05**2 / variance * (x - centre)
    return (x - clean) / sigma

def right(task):
    return wrap(network, (2,), predicts="epsilon", schedule=VPSchedule(), sigma_max=5)

def wrong(task):
    return wrap(network, (2,), predicts="denoised", schedule=VPSchedule(), sigma_max=5)

def failing(task):
    def network(x_t, time):
        raise ValueError("no such layer")
    return wrap(network, (2,), predicts="denoised")
"""


@pytest.fixture
def check(cli: Any) -> Any:
    """``guideplug check`` of a function of mine.py, on the toy task."""
    Path("mine.py").write_text(MINE)

    def call(function: str, *args: object, **options: Any) -> Any:
        whole = ("check", f'python("./mine.py:{function}")', "--plugin", TOY, "--task", "toy", "--device", "cpu", *args)
        return cli.error(*whole) if options.pop("error", False) else cli(*whole, **options)

    return call


def test_a_right_network_is_right(check: Any) -> None:
    found = json.loads(check("right", "--json").stdout)
    assert (found["verdict"], found["code"]) == ("right", "")
    assert found["examples"] == 256
    assert len(found["levels"]) == 4
    assert found["ratio"] < 1
    assert "right: " in check("right").stdout


def test_a_wrong_network_is_named_with_what_to_write(check: Any) -> None:
    done = check("wrong", code=1)
    assert "wrong: Wrapped as denoised with VPSchedule(); as epsilon the error is " in done.stdout
    assert 'write: wrap(network, (2,), predicts="epsilon", schedule=VPSchedule())' in done.stdout
    assert json.loads(check("wrong", "--json", code=1).stdout)["alternatives"][0]["what"] == "as epsilon"


def test_examples_come_from_a_file(check: Any) -> None:
    generator = np.random.default_rng(0)
    centres = np.array([[-0.6, 0.0], [0.6, 0.2]])[generator.integers(2, size=90)]
    points = centres + generator.normal(scale=0.05, size=(90, 2))
    np.savez("several.npz", samples=points, others=points, condition=np.zeros(90, np.int64))
    np.save("one.npy", points)
    assert json.loads(check("right", "--examples", "one.npy", "--json").stdout)["examples"] == 90
    np.savez("two.npz", a=points, b=points)
    np.save("few.npy", points[:9])
    assert "call the clean samples 'samples'" in check("right", "--examples", "two.npz", error=True)
    assert "9 samples: give 16 or more" in check("right", "--examples", "few.npy", error=True)
    assert "condition is integers" in check("right", "--examples", "several.npz", error=True)
    assert "does not exist" in check("right", "--examples", "none.npy", error=True)


def test_what_cannot_be_checked_is_one_line(check: Any, cli: Any) -> None:
    assert "no such layer" in check("failing", error=True)
    assert "mine.py" in check("missing", error=True)
    assert "neither a file nor a recipe" in cli.error("check", "nowhere", "--plugin", TOY, "--task", "toy")


def test_code_that_a_sheet_names_is_asked_for(cli: Any) -> None:
    cli.toy("--out", "run")
    Path("mine.py").write_text(MINE)
    weights = Path("run/denoisers/main.safetensors")
    Path("else").mkdir()
    Path("else/main.safetensors").write_bytes(weights.read_bytes())
    arguments = ("check", "else/main.safetensors", "--plugin", TOY, "--task", "toy", "--device", "cpu")
    assert cli(*arguments, code=None).exit_code in (0, 1)
    Path("else/main.json").write_text(json.dumps({"denoiser": f"python('{Path('mine.py').absolute()}:right')"}))
    assert "--trust" in cli.error(*arguments)


@pytest.mark.parametrize(("function", "warned"), [("right", False), ("wrong", True)])
def test_a_sample_warns_of_a_network_that_is_wrong_and_draws_the_same(
    check: Any, cli: Any, monkeypatch: pytest.MonkeyPatch, function: str, warned: bool
) -> None:
    arguments = ("sample", "--plugin", TOY, "--task", "toy", "--device", "cpu", "--set", "threads=1",
                 "--model", f'main=python("./mine.py:{function}")')  # fmt: skip
    found = cli.json(*arguments, "--out", "one")
    assert bool(found["warnings"]) is warned
    if warned:
        line, *others = found["warnings"]
        assert "looks wrong. Wrapped as denoised" in line
        assert all("are far wider than the data" in other for other in others)  # as samples of such a network are
        assert 'predicts="epsilon"' in line
    monkeypatch.setattr("guideplug.run.experiment.check_lines", lambda *given: ())
    cli(*arguments, "--out", "two")
    with np.load("one/samples.npz") as one, np.load("two/samples.npz") as two:
        assert np.array_equal(one["unguided"], two["unguided"])


def test_networks_that_are_trained_here_are_not_looked_at(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def looked(*given: Any, **options: Any) -> None:
        raise AssertionError

    monkeypatch.setattr("guideplug.run.checked.glance", looked)
    cli.toy("--out", "run")
    assert json.loads(Path("run/metrics.json").read_text())["warnings"] == []


def test_a_check_that_fails_does_not_end_a_run(check: Any, cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*given: Any, **options: Any) -> None:
        raise RuntimeError("no data\ntoday")

    monkeypatch.setattr("guideplug.run.checked.task_examples", broken)
    found = cli.json("sample", "--plugin", TOY, "--task", "toy", "--device", "cpu", "--set", "threads=1",
                     "--model", 'main=python("./mine.py:right")')  # fmt: skip
    assert found["warnings"] == ["the network of the role 'main' (python) was not checked: no data today"]
