"""Mistakes on the command line, each answered in one line: what, the value, where, what to do."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tiers import spread

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
    "interval everywhere": (["--guider", "interval(cfg, low=0)"], ["every level", "low=0.2"]),
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
    "no samples": (["--samples", "0"], ["samples", "0", "below 1"]),
    "fewer than no samples": (["--samples", "-3"], ["samples", "-3", "below 1"]),
    "samples of another type": (["--samples", "many"], ["--samples", "many"]),
    "seed below 0": (["--seed", "-1"], ["seed", "-1", "below 0"]),
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


@pytest.mark.parametrize("mistake", spread(MISTAKES, fast=3, slow=1))
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


def test_guidance_without_the_condition_where_there_is_none(cli: Any) -> None:
    line = cli.error("run", "--task", "tree(classes=both)", "--guider", "cfg")
    for word in ("TreeDenoiser", "no null condition", "--model unconditional=PATH"):
        assert word in line
    assert cli.files() == set()


# Edges that work


def test_one_step_and_one_sample_work(cli: Any) -> None:
    cli.toy(*GUIDED, *options("sampler.num_steps=1", "train.duration=2it"), "--sampler", "heun", "--samples", "1")
    (folder,) = Path("runs").iterdir()
    found = json.loads((folder / "metrics.json").read_text())
    assert found["evaluations"]["guided"]["main"] == {"calls": 1, "outputs": 1}
    assert found["arms"]["guided"]["distance"] >= 0


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_cuda_where_there_is_none(cli: Any, device: str) -> None:
    line = cli.error("run", "--device", device)
    assert repr(device) in line
    assert "--device cpu" in line
    assert cli.files() == set()
