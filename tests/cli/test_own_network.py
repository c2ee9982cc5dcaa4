"""A network of one's own: a checkpoint, or what one's own code builds, guided without a run."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
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
    assert written["builder"] == "./code/mine/mine:build"
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


SPLIT = {
    "arch.py": "from pathlib import Path\nimport torch\nfrom forms import Mine\n"
    "def build(task):\n    return Mine(task.space, float(Path('offset.txt').read_text()))\n",
    "forms.py": MINE.partition("def build")[0],
    "offset.txt": "0.3",
}
"""A builder that imports its architecture from another file, and reads its weights from a third."""
EDITS = {
    "the architecture": ("forms.py", SPLIT["forms.py"].replace("0.25 * x", "0.26 * x")),
    "the builder": ("arch.py", SPLIT["arch.py"].replace("float(", "1.1 * float(")),
    "the weights": ("offset.txt", "0.2"),
}


IDENTITIES = f"""
from guideplug import Registry
from guideplug.run.resolve import Request, resolve
from guideplug.store import identity
registry = Registry.installed([{str(TOY)!r}])
values = {{"task": "toy", "device": "cpu"}}
copied = Request({{**values, "guider": "sims(count=64)"}}, models={{"main": "python('arch:build')"}})
trained = Request({{**values, "denoiser": "python('arch:build')"}})
print(identity(resolve(copied, registry).models["synthetic"]), identity(resolve(trained, registry).main))
"""


@pytest.mark.slow
def test_edited_code_or_weights_are_another_network(cli: Any) -> None:
    """Of a copy that is fine-tuned, and of a training; in processes of their own, for a module is imported once."""
    for name, text in SPLIT.items():
        Path(name).write_text(text)

    def identities() -> list[str]:
        done = subprocess.run([sys.executable, "-c", IDENTITIES], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.split()

    before = identities()
    assert identities() == before
    for what, (name, text) in EDITS.items():
        Path(name).write_text(text)
        copied, trained_ = identities()
        assert copied != before[0], what
        assert trained_ != before[1], what
        Path(name).write_text(SPLIT[name])
    Path("arch.py").write_text(SPLIT["arch.py"] + "# a comment\n")
    assert identities() == before


def test_two_roles_may_not_share_weights(sample: Any, cli: Any) -> None:
    Path("shared.py").write_text(MINE + "\nimport functools\nbuild = functools.cache(build)\n")
    line = cli.error("sample", "--plugin", TOY, "--task", "toy", "--model", "main=python('shared:build')")
    assert "returned weights that it had returned before" in line


def test_a_builder_that_draws_from_elsewhere_is_refused(sample: Any, cli: Any) -> None:
    Path("dice.py").write_text(MINE.replace("0.3)", "float(__import__('random').random()))"))
    line = cli.error("sample", "--plugin", TOY, "--task", "toy", "--model", "main=python('dice:build')")
    assert "returned other weights at its second call" in line


def test_two_files_of_one_name_are_two_modules(sample: Any) -> None:
    for folder, offset in (("one", "0.3"), ("two", "0.1")):
        Path(folder).mkdir()
        Path(folder, "net.py").write_text(MINE.replace("0.3)", f"{offset})"))
    models = ("--model", "main=python('one/net.py:build')", "--model", "weak=python('two/net.py:build')")
    found = sample(*models, "--guider", "autoguidance", "--out", "run", json=True)
    assert found["arms"]["guided"] != found["arms"]["unguided"]


def test_the_folder_is_a_place_to_import_from_in_the_builder_too(sample: Any) -> None:
    Path("late.py").write_text("def build(task):\n    from mine import build\n    return build(task)\n")
    sample("--model", "main=python('late:build')", "--out", "run")


def test_a_network_that_raises_says_so_in_one_line(sample: Any, cli: Any) -> None:
    Path("bad.py").write_text(MINE.replace("return (0.25", "raise RuntimeError('expected 4D input'); return (0.25"))
    line = cli.error("sample", "--plugin", TOY, "--task", "toy", "--model", "main=python('bad:build')")
    assert "the network of the role 'main' raised RuntimeError: expected 4D input, in bad.py, line" in line
    assert "x of shape (2, 2)" in line


def test_a_function_without_parameters_cannot_be_fine_tuned(sample: Any, cli: Any) -> None:
    Path("bare.py").write_text(
        "from guideplug import wrap\ndef build(task):\n"
        "    return wrap(lambda x, time: 0.5 * x, task.space.shape, predicts='denoised', sigma_max=5.0)\n"
    )
    options = ("--plugin", TOY, "--task", "toy", "--model", "main=python('bare:build')", "--out", "run")
    assert "no parameters that could be trained" in cli.error("sample", *options, "--guider", "sims", code=2)


def checkpoint(prefix: str) -> None:
    """A network of one's own in ``wrapped.py``, and weights of it in ``w.safetensors``, with something before names."""
    wrapped = "from guideplug import wrap\nimport torch\nclass Net(torch.nn.Module):\n"
    wrapped += "    def __init__(self):\n        super().__init__()\n        self.layer = torch.nn.Linear(2, 2)\n"
    wrapped += "    def forward(self, x, time):\n        return self.layer(x)\n"
    wrapped += "def build(task):\n    return wrap(Net(), task.space.shape, predicts='denoised', sigma_max=5.0)\n"
    Path("wrapped.py").write_text(wrapped)
    save_file(
        {f"{prefix}layer.{name}": torch.ones(shape) for name, shape in (("weight", (2, 2)), ("bias", (2,)))},
        "w.safetensors",
    )


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod."])
def test_a_checkpoint_may_have_a_known_prefix_and_says_so(cli: Any, sample: Any, prefix: str) -> None:
    checkpoint(f"{prefix}network.")
    printed = sample("--model", "main=w.safetensors", "--denoiser", "python('wrapped:build')", "--out", "run").stdout
    kept = load_file("run/denoisers/main.safetensors")
    assert {name: float(tensor.mean()) for name, tensor in kept.items()} == {
        "network.layer.weight": 1.0, "network.layer.bias": 1.0,
    }  # fmt: skip
    events = [json.loads(line) for line in Path("run/events.jsonl").read_text().splitlines()]
    (event,) = [event for event in events if event["event"] == "found"]
    facts = json.loads(Path("run/denoisers/main.json").read_text())["facts"]
    assert event.get("prefix", "") == facts.get("prefix", "") == prefix
    assert (f"names without {prefix!r}" in " ".join(printed.split())) == bool(prefix)


@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_checkpoint_of_the_network_inside_a_wrapped_one_fits(sample: Any, prefix: str) -> None:
    checkpoint(prefix)
    sample("--model", "main=w.safetensors", "--denoiser", "python('wrapped:build')", "--out", "run")
    kept = load_file("run/denoisers/main.safetensors")
    assert {name: float(tensor.mean()) for name, tensor in kept.items()} == {
        "network.layer.weight": 1.0, "network.layer.bias": 1.0,
    }  # fmt: skip
    assert json.loads(Path("run/denoisers/main.json").read_text())["facts"].get("prefix", "") == prefix


def test_a_guider_with_another_budget_makes_another_copy(cli: Any) -> None:
    cli.toy("--guider", "sims(count=64, budget=4it)", "--out", "first")
    cli("sample", "first", "--guider", "sims(omega=2, count=64, budget=4it)", "--out", "second")
    assert trained("second") == []
    cli("sample", "first", "--guider", "sims(count=64, budget=6it)", "--out", "third")
    assert trained("third") == ["synthetic"]
    line = cli.error("run", "first/config.toml", "--guider", "sims(count=64, budget=6it)")
    assert "another network in the role 'synthetic' than [models.synthetic] of first/config.toml" in line


def test_a_copy_never_sees_the_samples_that_it_is_measured_on(cli: Any) -> None:
    cli.toy("--guider", "sims(count=32)", "--samples", "32", "--out", "run")
    sheets = [json.loads(path.read_text()) for path in cli.store.glob("*/entry.json")]
    (entry,) = [
        path.parent
        for path, sheet in zip(cli.store.glob("*/entry.json"), sheets, strict=True)
        if sheet["recipe"]["recipe"]["name"] == "synthetic"
    ]
    synthetic = load_file(next(entry.glob("*.safetensors")))["x"].numpy()
    with np.load("run/samples.npz") as arrays:
        distances = np.abs(synthetic[:, None] - arrays["unguided"][None]).max(-1)
    assert distances.min() > 1e-5


def test_one_network_in_two_roles_is_written_and_read(cli: Any) -> None:
    cli.toy("--guider", "autoguidance", "--model", "weak=main", "--out", "first")
    assert tomllib.loads(Path("first/config.toml").read_text())["models"]["weak"] == "main"
    cli("run", "first/config.toml", "--out", "second")


def test_a_guide_of_another_architecture_is_noted(sample: Any) -> None:
    said = sample("--model", "main=python('mine:build')", "--guider", "autoguidance", "--out", "run").stdout
    assert "note: weak is a toy-net, and main is python(mine:build)" in said


def test_cite_runs_no_code_of_the_user(cli: Any, sample: Any) -> None:
    sample("--model", "main=python('./mine.py:build')", "--out", "run")
    Path("mine.py").unlink()
    assert "@misc{guideplug," in cli("cite", "run").stdout


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
        (("--model", 'main=python("mine:absent")'), "mine.py) has no function 'absent'"),
        (("--model", 'main=python("mine:number")'), "mine.py) has no function 'number'"),
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


def test_a_task_must_be_named(cli: Any, sample: Any) -> None:
    assert "--task is missing" in cli.error("sample", "--plugin", TOY, "--model", "main=python('mine:build')")


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
    assert " 4   4 calls   4 calls\n" in said
    assert "critic: the guider's own\n" in said
