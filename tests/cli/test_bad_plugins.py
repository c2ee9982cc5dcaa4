"""Plugins that cannot be used and strategies that break their contract, each answered in one line."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

GUIDED = ("--guider", "autoguidance")


def test_steps_of_a_sampler_that_has_no_such_option(cli: Any, tmp_path: Path) -> None:
    path = tmp_path / "ladder.py"
    path.write_text(
        "import attrs\nfrom guideplug import Sampler, hook, option\n\n\n"
        "@attrs.frozen\nclass Ladder(Sampler):\n    'Levels.'\n\n    name = 'ladder'\n"
        "    top: float = option(5.0, help='the highest level')\n\n"
        "    def sigmas(self, denoiser):\n        return [self.top, 0.0]\n\n"
        "    def steps(self, denoiser, x, condition=None, streams=None):\n        yield from ()\n\n\n"
        "@hook\ndef guideplug_samplers():\n    return [Ladder]\n"
    )
    line = cli.error("explain", "cfg", "--plugin", path, "--sampler", "ladder", "--steps", "4")
    for word in ("--steps 4", "sampler 'ladder'", "no option 'num_steps'", "top", "--sampler"):
        assert word in line


def test_a_guider_whose_role_has_no_recipe_says_how_to_give_one(cli: Any, tmp_path: Path) -> None:
    path = tmp_path / "needy.py"
    needs = "    def needs(self, task, main):\n        return {'critic': None}\n"
    path.write_text(f"{HEAD}{GUIDER.format(name='needy')}{needs}{HOOK}")
    line = cli.error("run", "--plugin", path, "--guider", "needy")
    for word in ("guider 'needy'", "'critic'", "task 'tree'", "--model critic=PATH"):
        assert word in line
    assert cli.files() == set()


def test_a_guider_that_forgot_to_say_what_it_needs(cli: Any, tmp_path: Path) -> None:
    path = tmp_path / "forgetful.py"
    guider = GUIDER.format(name="forgetful").replace("return base", "return base + (base - models['critic'])")
    path.write_text(f"{HEAD}{guider}{HOOK}")
    line = cli.error("run", "--plugin", path, "--guider", "forgetful")
    for word in ("'forgetful'", "'critic'", "needs()"):
        assert word in line


# Plugins

HEAD = "from attrs import frozen\nfrom guideplug import Guider, hook\n"
GUIDER = """
@frozen
class Mine(Guider):
    \"\"\"Mine.\"\"\"
    name = "{name}"
    def guide(self, base, models):
        return base
"""


HOOK = "@hook\ndef guideplug_guiders():\n    return [Mine]\n"


PLUGINS = {
    "raises": ("x = 1 / 0\n", ["ZeroDivisionError", "line 1"]),
    "exits": ("import sys\nsys.exit(3)\n", ["SystemExit"]),
    "imports what is not there": ("import no_such_module\n", ["no_such_module"]),
    "does not parse": ("def :\n", ["SyntaxError"]),
    "misspells a hook": (
        f"{HEAD}{GUIDER.format(name='mine')}@hook\ndef guideplug_guidres():\n    return [Mine]\n",
        ["'guideplug_guidres'", "did you mean 'guideplug_guiders'"],
    ),
    "forgets the mark": (
        f"{HEAD}{GUIDER.format(name='mine')}def guideplug_guiders():\n    return [Mine]\n", ["@guideplug.hook"],
    ),
    "offers nothing": ("x = 1\n", ["offers nothing", "@guideplug.hook"]),
    "has another API version": (
        f"GUIDEPLUG_API = 99\n{HEAD}{GUIDER.format(name='mine')}{HOOK}", ["plugin API 99", "update guideplug"],
    ),
    "returns no class": (f"{HEAD}@hook\ndef guideplug_guiders():\n    return [3]\n", ["guideplug_guiders", "Guider"]),
    "returns no list": (f"{HEAD}@hook\ndef guideplug_guiders():\n    return 3\n", ["TypeError"]),
    "raises in its hook": (f"{HEAD}@hook\ndef guideplug_guiders():\n    raise KeyError('k')\n", ["KeyError"]),
    "is not finished": (
        f"{HEAD}@frozen\nclass Mine(Guider):\n    name = 'mine'\n{HOOK}", ["does not implement guide"],
    ),
    "is not frozen": (
        f"{HEAD}{GUIDER.format(name='mine').replace('@frozen', '')}{HOOK}", ["@attrs.frozen"],
    ),
    "has a name that cannot be called": (f"{HEAD}{GUIDER.format(name='My Guider')}{HOOK}", ["'My Guider'"]),
}  # fmt: skip


@pytest.mark.parametrize("what", PLUGINS)
def test_a_local_plugin_that_cannot_be_used(cli: Any, what: str, tmp_path: Path) -> None:
    text, words = PLUGINS[what]
    path = tmp_path / f"{what.replace(' ', '_')}.py"
    path.write_text(text)
    line = cli.error("run", "--plugin", path)
    for word in (str(path), *words):
        assert word in line
    assert cli.files() == set()


def test_a_name_that_two_plugins_offer(cli: Any, tmp_path: Path) -> None:
    path = tmp_path / "second_cfg.py"
    path.write_text(f"{HEAD}{GUIDER.format(name='cfg')}{HOOK}")
    line = cli.error("run", "--plugin", path, "--guider", "cfg")
    assert "'cfg'" in line
    assert "guideplug-cfg" in line
    assert "second_cfg.py" in line
    cli("plugins", "list", "--plugin", path)  # and a command that does not ask for it works


# Strategies that break their contract while they run: exit code 1, and the folder is kept


def failed(cli: Any, *arguments: str) -> str:
    line = cli.toy("--out", "failed", *arguments, code=1).stderr
    assert len(line.splitlines()) == 1
    assert line.startswith("error: ")
    record = json.loads(Path("failed/run.json").read_text())
    assert record["status"] == "failed"
    assert Path("failed/config.toml").is_file()
    assert not Path("failed/metrics.json").exists()
    return str(line)


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("duplicate", ["1 duplicate"]),
        ("too-high", ["index 64", "out of range"]),
        ("negative", ["index -1", "out of range"]),
        ("empty", ["no indices"]),
        ("float", ["float32", "int64"]),
        ("bool", ["bool", "int64"]),
        ("table", ["one-dimensional"]),
        ("refuses", ["not to my liking"]),
    ],
)
def test_a_selector_that_answers_nonsense(cli: Any, how: str, words: list[str]) -> None:
    line = cli.toy("--selector", f"toy-broken(how={how})", code=2).stderr
    assert len(line.splitlines()) == 1
    for word in ("'toy-broken'", "toy.py", *words):
        assert word in line
    assert cli.files() == set()


def test_a_denoiser_of_the_wrong_shape_is_refused_before_training(cli: Any) -> None:
    line = cli.toy("--denoiser", "toy-wrong-shape", *GUIDED, code=2).stderr
    assert len(line.splitlines()) == 1
    for word in ("'main'", "WrongShape", "(2, 1)", "(2, 2)"):
        assert word in line
    assert cli.files() == set()


def test_a_denoiser_that_answers_nan_in_training(cli: Any) -> None:
    line = failed(cli, "--denoiser", "toy-nan", "--duration", "5it")
    for word in ("'main'", "step 0", "sigma 0."):
        assert word in line


def test_a_denoiser_that_answers_nan_in_sampling(cli: Any, tmp_path: Path) -> None:
    save_file(_weights("4"), tmp_path / "w.safetensors")
    line = failed(cli, "--denoiser", "toy-nan", "--model", f"main={tmp_path / 'w.safetensors'}")
    for word in ("step 4 of 4", "main (NaNDenoiser)", "sigma 0.05"):
        assert word in line


def _weights(width: str) -> dict[str, torch.Tensor]:
    shapes = {"0.weight": (int(width), 6), "0.bias": (int(width),), "2.weight": (2, int(width)), "2.bias": (2,)}
    return {f"layers.{name}": torch.zeros(shape) for name, shape in shapes.items()}


@pytest.mark.parametrize("selector", ["none", "toy-half", "jest(num_chunks=2)"])
def test_a_training_that_diverges(cli: Any, selector: str) -> None:
    line = failed(cli, "--selector", selector, "--set", "train.lr=1e30")
    for word in ("diverged", "step ", "lower lr than 1e+30"):
        assert word in line
