"""Every mistake that the command line should answer in one line: what, the value, where, what to do; nothing lost."""

import errno
import json
import pickle
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from guideplug.run.folder import RunFolder

HERE = Path(__file__).parent
TOY = HERE / "toy.py"
GUIDED = ("--guider", "autoguidance")


def options(*sets: str) -> list[str]:
    return [word for text in sets for word in ("--set", text)]


# Mistakes on the command line: the arguments after `guideplug run`, and what the line must say.

MISTAKES = {
    "misspelt guider": (["--guider", "autoguidence"], ["guider", "'autoguidence'", "did you mean 'autoguidance'"]),
    "misspelt selector": (["--selector", "early-jset"], ["selector", "'early-jset'", "did you mean 'early-jest'"]),
    "misspelt task": (["--task", "tre"], ["task", "'tre'", "did you mean 'tree'"]),
    "misspelt sampler": (["--sampler", "huen"], ["sampler", "did you mean 'heun'"]),
    "misspelt denoiser": (["--denoiser", "tree-mpl"], ["denoiser", "did you mean 'tree-mlp'"]),
    "unknown name": (["--guider", "qqq"], ["no guider is called 'qqq'", "known: ", "plugins list"]),
    "misspelt option": (["--guider", "autoguidance(wieght=2)"], ["'wieght'", "did you mean 'weight'", "guider"]),
    "misspelt option of --set": ([*GUIDED, "--set", "guider.wieght=2"], ["'wieght'", "did you mean 'weight'"]),
    "option type: word": (["--guider", "autoguidance(weight=strong)"], ["guider.weight", "strong", "a number"]),
    "option type: text": (["--guider", "autoguidance(weight='2')"], ["guider.weight", "'2'", "a number"]),
    "option type: fraction": (["--set", "sampler.num_steps=2.5"], ["sampler.num_steps", "2.5", "a whole number"]),
    "option type: choice": (["--task", "tree(classes=C)"], ["task.classes", "C", "A, B, both"]),
    "option type: boolean": (["--task", "tree(classes=both, labels=1)"], ["task.labels", "1", "true or false"]),
    "options that exclude each other": (["--task", "tree(labels=true)"], ["labels", "give classes=both"]),
    "training option": (["--set", "train.learning_rate=1"], ["'learning_rate'", "train", "lr"]),
    "training value": (["--set", "train.lr=-1"], ["lr", "-1", "positive"]),
    "training choice": (["--set", "train.precision=fp8"], ["train.precision", "fp8", "fp32, bf16"]),
    "batch 0": (["--batch", "0"], ["batch", "0"]),
    "time limit under a schedule with an end": (
        ["--task", "digits", "--duration", "90s"], ["cosine", "90s", "1500it", "train.schedule=constant"],
    ),
    "network of another task": (["--task", "digits", "--denoiser", "tree-mlp"], ["'main'", "tree-mlp", "'digits'"]),
    "selection for a network that is not trained": (
        ["--selector", "random", "--model", "main=snapshot(of=train(duration=4it), at=2it)"],
        ["'random'", "'snapshot'", "leave out --selector"],
    ),
    "role that is a path": (["--guider", "autoguidance(model='a/b')"], ["autoguidance", "'a/b'", "a letter"]),
    "role that is the main one": (["--guider", "autoguidance(model=main)"], ["autoguidance", "'main'", "another role"]),
    "misspelt role": ([*GUIDED, "--model", "waek=train"], ["--model waek", "roles are weak"]),
    "role that no guider names": (["--model", "weak=train"], ["--model weak", "none beside main"]),
    "role that needs itself": (
        [*GUIDED, "--model", "weak=fine-tune(of=weak, on=tree)"], ["circle", "weak -> weak"],
    ),
    "roles that need each other": (
        [*GUIDED, "--model", "weak=snapshot(of=weak, at=4it)"], ["circle", "weak -> weak"],
    ),
    "recipe that is none": ([*GUIDED, "--model", "weak=trian"], ["models.weak", "'trian'", "did you mean 'train'"]),
    "snapshot after the end": ([*GUIDED, "--model", "weak=snapshot(of=main, at=9999it)"], ["9999it", "4096it"]),
    "snapshot of an unkept average": (
        [*GUIDED, "--model", "weak=snapshot(of=main, ema=0.2)"], ["0.2", "keeps 0.01"],
    ),
    "fine-tuning on a network": ([*GUIDED, "--model", "weak=fine-tune(of=main, on=train)"], ["train", "synthetic("]),
    "roles that need each other through a blend": (
        ["--guider", "blend([autoguidance, autoguidance(model=b)])", "--model", "weak=fine-tune(of=b, on=tree)",
         "--model", "b=fine-tune(of=weak, on=tree)"],
        ["circle", "weak -> b -> weak"],
    ),
    "fine-tuning of samples": (
        ["--guider", "sims", "--model", "main=fine-tune(of=synthetic, on=tree)"], ["SampleSet", "no denoiser"],
    ),
    "one role for two networks": (
        ["--guider", "blend([sims, sims(budget=64it)])"], ["'synthetic'", "two different networks", "model="],
    ),
    "blend of nothing": (["--guider", "blend([])"], ["guiders is empty", "blend([cfg, autoguidance])"]),
    "blend of one that is no list": (["--guider", "blend(cfg)"], ["guider.guiders", "cfg", "square brackets"]),
    "blend with a share too few": (
        ["--guider", "blend([cfg, autoguidance], shares=[1])"], ["shares", "[1.0]", "2 guiders"],
    ),
    "interval upside down": (["--guider", "interval(cfg, low=1, high=0.5)"], ["low 1", "high 0.5", "low < high"]),
    "interval that is empty": (["--guider", "interval(cfg, low=1, high=1)"], ["low 1", "high 1", "low < high"]),
    "interval everywhere": (["--guider", "interval(cfg)"], ["every level", "low=0.2"]),
    "negative omega": (["--guider", "sims(omega=-1)"], ["omega", "-1.0", "at least 0"]),
    "budget without unit": (["--guider", "sims(budget=64)"], ["budget", "64", "512it"]),
    "no null condition": (
        ["--task", "tree(classes=both)", "--guider", "cfg"], ["no null condition", "--model unconditional=PATH"],
    ),
    "dropped conditions of a network without a null one": (
        ["--task", "tree(classes=both)", "--set", "train.condition_dropout=0.1"],
        ["condition_dropout", "'main'", "TreeDenoiser", "no null condition", "--set train.condition_dropout=0"],
    ),
    "dropped conditions of a reference without a null one": (
        ["--task", "tree(classes=both, labels=true)", "--selector", "jest", "--model", "weak=train(task=tree)"],
        ["condition_dropout", "'weak'", "TreeDenoiser", "no null condition"],
    ),
    "separate noise where it is decided beforehand": (
        ["--task", "digits", "--selector", "jest(noise=separate)", "--set", "train.noise_streams=4"],
        ["noise=separate", "noise_streams is 4", "set noise_streams to 0"],
    ),
    "code that is no function": (["--model", "main=python(mypkg)"], ["mypkg", "module:function"]),
    "code that is not there": (["--denoiser", "python('nowhere:build')"], ["nowhere", "cannot be imported"]),
    "code without its function": (["--model", "main=mine.py", "--task", "tree"], ["mine.py"]),
    "bracket left open": (["--guider", "autoguidance(weight=2"], ["guider", "autoguidance(weight=2"]),
    "bracket too many": (["--guider", "autoguidance)"], ["autoguidance)"]),
    "quotes left open": (["--guider", "autoguidance(model='weak)"], ["autoguidance(model='weak)"]),
    "two values": (["--guider", "autoguidance(weight=2 3)"], ["autoguidance(weight=2 3)"]),
    "repeated keyword": (["--guider", "autoguidance(weight=2, weight=3)"], ["weight", "twice"]),
    "empty expression": (["--guider", ""], ["guider"]),
    "code": (["--guider", "__import__('os').system('true')"], ["guider"]),
    "very long": (["--guider", "a" * 5000], ["4,000"]),
    "very deep": (["--selector", "early(" * 50 + "jest" + ")" * 50], ["40"]),
    "a bare number": (["--guider", "3"], ["guider", "3", "autoguidance"]),
    "unquoted brackets": (["--guider", "autoguidance", "(weight=2)"], ["(weight=2)"]),
    "weight nan": (["--guider", "autoguidance(weight=nan)"], ["weight", "nan", "finite"]),
    "weight inf": (["--guider", "autoguidance(weight=inf)"], ["weight", "inf", "finite"]),
    "weight -inf": (["--guider", "cfg", "--set", "guider.weight=-inf"], ["weight", "-inf", "finite"]),
    "filter ratio 0": (["--selector", "jest(filter_ratio=0)"], ["filter_ratio", "between 0 and 1", "0"]),
    "filter ratio 1": (["--selector", "early-jest(filter_ratio=1)"], ["filter_ratio", "between 0 and 1", "1"]),
    "filter ratio 2": (["--selector", "jest(0.8)", "--set", "selector.filter_ratio=2"], ["filter_ratio", "2"]),
    "super-batch too small": (["--selector", "jest", "--batch", "64"], ["64", "too small", "80", "num_chunks="]),
    "no samples": (["--samples", "0"], ["samples", "0", "at least 1"]),
    "fewer than no samples": (["--samples", "-3"], ["samples", "-3", "at least 1"]),
    "samples of another type": (["--samples", "many"], ["--samples", "many"]),
    "seed below 0": (["--seed", "-1"], ["seed", "-1", "0 or more"]),
    "no steps": (["--set", "sampler.num_steps=0"], ["num_steps", "0"]),
    "levels upside down": (["--sampler", "heun(sigma_min=2, sigma_max=1)"], ["sigma_min 2", "sigma_max 1"]),
    "levels equal": (["--sampler", "euler(sigma_min=1, sigma_max=1)"], ["sigma_min 1", "below"]),
    "lowest level above the task's highest": (["--set", "sampler.sigma_min=9"], ["sigma_min 9", "sigma_max 5"]),
    "highest level below the task's lowest": (["--set", "sampler.sigma_max=1e-4"], ["sigma_max 0.0001", "sigma_min"]),
    "level 0": (["--set", "sampler.sigma_min=0"], ["sigma_min", "0", "positive"]),
    "level nan": (["--set", "sampler.sigma_max=nan"], ["sigma_max", "nan"]),
    "duration without unit": (["--duration", "512"], ["duration", "512it", "90s"]),
    "duration of another unit": (["--duration", "3parsec"], ["duration", "3parsec"]),
    "no duration": (["--duration", "0it"], ["duration", "0it", "positive"]),
    "part of an iteration": (["--duration", "1.5it"], ["1.5it", "whole"]),
    "device that is none": (["--device", "quantum"], ["device", "'quantum'", "cpu"]),
    "device that holds nothing": (["--device", "meta"], ["device", "'meta'", "cpu"]),
    "--set without =": (["--set", "guider.weight"], ["--set", "'guider.weight'", "KEY=VALUE"]),
    "--set without value": (["--set", "guider.weight="], ["--set", "guider.weight", "KEY=VALUE"]),
    "--set without key": (["--set", "=3"], ["--set", "KEY=VALUE"]),
    "--model without =": (["--model", "weak"], ["--model", "'weak'", "ROLE=PATH"]),
    "--set of an unknown key": (["--set", "gider.weight=2"], ["gider", "did you mean 'guider'"]),
    "--set of a whole table": (["--set", "train=3"], ["train", "train.lr=0.01"]),
    "--set inside a number": (["--set", "samples.n=3"], ["samples", "plain value"]),
    "--set of a guider that is not there": (["--set", "guider.weight=2"], ["no guider", "--guider"]),
    "--set of plugins": (["--set", "plugins=x.py"], ["--plugin"]),
    "--set of a role that is not there": (["--set", "models.weak.seed=1"], ["weak", "none beside main"]),
    "malformed value of --set": (["--set", "train.betas=[0.9"], ["train.betas", "[0.9"]),
    "unknown option": (["--gider", "cfg"], ["--gider", "--guider", "--help"]),
    "option without value": (["--guider"], ["--guider", "--help"]),
    "missing configuration": (["nowhere.toml"], ["nowhere.toml", "does not exist"]),
    "missing plugin file": (["--plugin", "nowhere.py"], ["nowhere.py", "no such file"]),
    "resume of nothing": (["--resume", "nowhere"], ["nowhere", "does not exist"]),
    "resume and out": (["--resume", "a", "--out", "b"], ["--resume", "--out"]),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_answered_in_one_line_and_leaves_nothing(cli: Any, mistake: str) -> None:
    arguments, words = MISTAKES[mistake]
    line = cli.error("run", *arguments)
    for word in words:
        assert word in line
    assert cli.files() == set()


def test_the_same_mistake_with_json_leaves_standard_output_empty(cli: Any) -> None:
    result = cli("run", "--guider", "qqq", "--json", code=2)
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["rn"], ["'rn'", "did you mean 'run'"]),
        (["--bogus"], ["--bogus"]),
        (["sample"], ["sample what?", "--model main=PATH_OR_EXPRESSION"]),
        (["explain"], ["GUIDER"]),
        (["explain", "none"], ["GUIDER none", "a guider is needed"]),
        (["explain", "qqq"], ["'qqq'"]),
        (["explain", "cfg", "--sampler", "heun(sigma_min=9)"], ["sigma_min 9"]),
        (["explain", "cfg", "--sampler", "qqq"], ["no sampler is called 'qqq'", "heun"]),
        (["explain", "cfg", "--steps", "0"], ["--steps 0 is below 1", "--steps 18"]),
        (["explain", "cfg", "--steps", "-3"], ["--steps -3 is below 1"]),
        (["explain", "cfg", "--steps", "some"], ["--steps some is no whole number"]),
        (["explain", "cfg", "--model", "unconditional=x.safetensors"], ["x.safetensors does not exist"]),
        (["explain", "cfg", "--model", "critic=main"], ["--model critic", "its roles are unconditional"]),
        (["plugins", "shwo"], ["'shwo'", "did you mean 'show'"]),
        (["plugins", "show", "jset"], ["'jset'", "did you mean 'jest'"]),
        (["store", "prune"], ["--damaged"]),
        (["store", "prune", ""], ["empty"]),
        (["store", "prune", "--older", "soon"], ["--older", "soon"]),
    ],
)
def test_other_commands_answer_in_one_line_too(cli: Any, arguments: list[str], words: list[str]) -> None:
    line = cli.error(*arguments)
    for word in words:
        assert word in line


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


def test_guidance_without_the_condition_where_there_is_none(cli: Any) -> None:
    line = cli.error("run", "--task", "tree(classes=both)", "--guider", "cfg")
    for word in ("TreeDenoiser", "no null condition", "--model unconditional=PATH"):
        assert word in line
    assert cli.files() == set()


def test_a_guider_that_forgot_to_say_what_it_needs(cli: Any, tmp_path: Path) -> None:
    path = tmp_path / "forgetful.py"
    guider = GUIDER.format(name="forgetful").replace("return base", "return base + (base - models['critic'])")
    path.write_text(f"{HEAD}{guider}{HOOK}")
    line = cli.error("run", "--plugin", path, "--guider", "forgetful")
    for word in ("'forgetful'", "'critic'", "needs()"):
        assert word in line


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


# Edges that work


def test_one_step_and_one_sample_work(cli: Any) -> None:
    cli.toy(*GUIDED, *options("sampler.num_steps=1", "train.duration=2it"), "--sampler", "heun", "--samples", "1")
    (folder,) = Path("runs").iterdir()
    found = json.loads((folder / "metrics.json").read_text())
    assert found["evaluations"]["guided"]["main"] == {"calls": 1, "outputs": 1}
    assert found["arms"]["guided"]["distance"] >= 0


# Checkpoints


@pytest.fixture
def trained(cli: Any) -> Path:
    """The main network's checkpoint of a toy run."""
    cli.toy("--duration", "2it", "--out", "first")
    return Path("first/denoisers/main.safetensors").resolve()


@pytest.mark.parametrize("how", ["missing", "folder", "truncated", "empty", "pickle", "text", "names", "shape", "nan"])
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
    elif how == "pickle":
        path = path.with_suffix(".pt")
        torch.save({"a": torch.zeros(1)}, path)
        words = [str(path), "pickles are not read", "save_file"]
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
    assert "pickles are not read" in cli.toy(*GUIDED, "--model", f"weak={path}", code=2).stderr
    assert not (tmp_path / "sprung").exists()


def test_a_checkpoint_of_another_architecture_is_refused(cli: Any, trained: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone.safetensors"
    alone.write_bytes(trained.read_bytes())
    line = cli.toy(*GUIDED, "--model", f"main={alone}", "--denoiser", "toy-net(width=5)", code=2).stderr
    assert "has shape (8" in line
    assert "the network's is (5" in line


# Folders


def test_out_that_is_a_file_or_below_one(cli: Any) -> None:
    Path("taken").write_text("mine")
    assert "taken is a file" in cli.toy("--out", "taken", code=2).stderr
    assert "taken/run cannot be made" in cli.toy("--out", "taken/run", code=2).stderr
    assert Path("taken").read_text() == "mine"


def test_out_that_is_not_empty(cli: Any) -> None:
    Path("full").mkdir()
    Path("full/thesis.tex").write_text("mine")
    line = cli.toy("--out", "full", code=2).stderr
    assert "full is not empty" in line
    assert "--resume" not in line
    assert {path.name for path in Path("full").iterdir()} == {"thesis.tex"}


def test_out_of_another_run(cli: Any, trained: Path) -> None:
    before = {path: path.read_bytes() for path in Path("first").rglob("*") if path.is_file()}
    assert "first is not empty" in cli.toy("--out", "first", "--seed", "3", code=2).stderr
    assert before == {path: path.read_bytes() for path in Path("first").rglob("*") if path.is_file()}


def test_a_store_that_cannot_be_made(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("taken").touch()
    monkeypatch.setenv("GUIDEPLUG_STORE", str(Path("taken/store").resolve()))
    assert "GUIDEPLUG_STORE" in cli.toy(code=1).stderr
    assert not Path("runs").exists()


def resumed(cli: Any, *arguments: str, code: int) -> str:
    line = cli("run", "--resume", "first", *arguments, code=code).stderr
    assert len(line.splitlines()) == 1
    assert line.startswith("error: ")
    return str(line)


def unfinish(path: Path = Path("first")) -> None:
    """Make a finished run look as if it had been interrupted."""
    RunFolder(path).update_record(status="interrupted")


def test_a_disk_that_is_full_while_networks_are_kept(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line, with how to go on where there is room again."""

    def full(handle: int) -> None:
        if str(cli.store) in str(Path(f"/proc/self/fd/{handle}").readlink()):
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("guideplug.files.atomic.os.fsync", full)
        result = cli.toy("--out", "full", "--duration", "4it", code=1)
    said = result.stderr.splitlines()[-1]
    assert "cannot be written (No space left on device); what was written before is whole" in said
    assert "--resume full" in said
    cli("run", "--resume", "full")


def test_resume_of_a_finished_run(cli: Any, trained: Path) -> None:
    line = resumed(cli, code=2)
    assert "finished" in line
    assert "guideplug sample first" in line


def test_resume_with_other_options_names_all_of_them(cli: Any, trained: Path) -> None:
    unfinish()
    line = resumed(cli, "--samples", "9", "--set", "train.lr=0.5", code=2)
    assert re.search(r"samples was \d+ and is 9 now; train.lr was 0.01 and is 0.5 now; leave that out, ", line)


def test_resume_with_other_code_is_refused(cli: Any, tmp_path: Path) -> None:
    plugin = tmp_path / "mine.py"
    plugin.write_text(TOY.read_text())
    arguments = ("--plugin", str(plugin), "--task", "toy", "--duration", "4it", "--samples", "8")
    cli("run", *arguments, "--out", "first")
    unfinish()
    plugin.write_text(TOY.read_text().replace("0.05 * torch.randn(", "0.06 * torch.randn("))
    assert "mine.py, which has changed since you ran it: look at it" in resumed(cli, code=2)
    line = cli("run", "--resume", "first", "--trust", code=2).stderr.splitlines()[-1]
    assert "--resume first: the code of " in line
    assert "mine" in line
    assert "is not what the run began with; put it back, or start a new run" in line
    shown = TOY.read_text().replace("path.write_bytes(PNG)", "path.write_bytes(PNG + b'')  # as before")
    plugin.write_text(shown.replace("min(1).values", "max(1).values"))  # the figure, and a metric
    before = set(cli.store.rglob("*"))
    cli("run", "--resume", "first", "--trust")
    assert set(cli.store.rglob("*")) == before, "a network was trained anew"


def test_resume_with_another_torch_says_so(cli: Any, trained: Path) -> None:
    unfinish()
    folder = RunFolder(Path("first"))
    folder.update_record(versions={**folder.record()["versions"], "torch": "1.0"})
    said = cli("run", "--resume", "first").stderr
    assert said.startswith("note: the run began with torch 1.0, and this is ")


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("config.toml", ("run", "--resume", "first")),
        ("run.json", ("run", "--resume", "first")),
        ("config.toml", ("sample", "first")),
        ("denoisers/main.safetensors", ("sample", "first")),
        ("denoisers/main.json", ("sample", "first")),
        ("samples.npz", ("evaluate", "first/samples.npz", "--task", "toy", "--plugin", str(TOY))),
    ],
)
def test_what_has_changed_since_it_was_written_is_not_used(
    cli: Any, trained: Path, name: str, command: Sequence[str]
) -> None:
    unfinish()
    path = Path("first", name)
    whole = bytearray(path.read_bytes())
    whole[-3] ^= 1
    path.write_bytes(whole)
    line = cli(*command, code=1).stderr.splitlines()[-1]
    assert line.startswith("error: ")
    assert f"{path} is damaged: it is not what was written, going by checksums.sha256; " in line


def test_resume_of_a_folder_that_is_no_run(cli: Any) -> None:
    Path("first").mkdir()
    Path("first/notes.txt").touch()
    assert "first is not the folder of a run" in resumed(cli, code=2)


@pytest.mark.parametrize("name", ["run.json", "config.toml"])
@pytest.mark.parametrize("content", [b"", b'{"status"', b"[1, 2]", b"\xff\x00\xfe"])
def test_resume_of_a_corrupted_folder(cli: Any, trained: Path, name: str, content: bytes) -> None:
    unfinish()
    Path("first", name).write_bytes(content)
    result = cli("run", "--resume", "first", code=None)
    assert result.exit_code in (1, 2)
    assert len(result.stderr.splitlines()) == 1
    assert "first" in result.stderr
    assert Path("first", name).read_bytes() == content


def test_resume_with_a_corrupted_event_log_goes_on(cli: Any, trained: Path) -> None:
    unfinish()
    with Path("first/events.jsonl").open("ab") as file:
        file.write(b"\xff\xfe torn")
    cli("run", "--resume", "first")
    lines = Path("first/events.jsonl").read_text().splitlines()
    assert json.loads(lines[-1])["event"] == "end"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--seed", "7"], ["seed", "was 0", "is 7"]),
        (["--set", "train.lr=0.5"], ["train.lr", "was 0.01", "is 0.5"]),
        (["--guider", "autoguidance"], ["guider", "was none"]),
        (["--samples", "5"], ["samples", "was 32", "is 5"]),
        (["--set", "threads=2"], ["threads", "was 1", "is 2"]),
    ],
)
def test_resume_with_a_changed_option(cli: Any, trained: Path, arguments: list[str], words: list[str]) -> None:
    unfinish()
    before = {path: path.read_bytes() for path in Path("first").rglob("*") if path.is_file()}
    line = resumed(cli, *arguments, code=2)
    for word in words:
        assert word in line
    assert before == {path: path.read_bytes() for path in Path("first").rglob("*") if path.is_file()}


def test_an_unfinished_state_that_is_damaged_says_what_to_remove(cli: Any) -> None:
    plan = json.loads(cli.toy("--duration", "4it", "--dry-run", "--json").stdout)
    assert plan["networks"][0]["plan"] == "trained"
    cli.toy("--duration", "4it", "--out", "first")
    (entry,) = [path for path in cli.store.iterdir() if path.is_dir()]
    entry.rename(entry.with_name(f"{entry.name}.partial"))
    (cli.store / f"{entry.name}.partial" / "state.safetensors").write_bytes(b"torn")
    unfinish()
    line = resumed(cli, code=1)
    assert "state.safetensors" in line
    assert "--partial" in line


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_cuda_where_there_is_none(cli: Any, device: str) -> None:
    line = cli.error("run", "--device", device)
    assert repr(device) in line
    assert "--device cpu" in line
    assert cli.files() == set()


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
        ("refuses", ["step 0", "not to my liking"]),
    ],
)
def test_a_selector_that_answers_nonsense(cli: Any, how: str, words: list[str]) -> None:
    line = failed(cli, "--selector", f"toy-broken(how={how})")
    for word in ("'toy-broken'", *words):
        assert word in line


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
