"""Requests that are refused, each with its message, before anything is trained or drawn."""

from pathlib import Path
from typing import Any

import attrs
import pytest
import torch
from resolved_requests import TREE, refusal, resolved

from guideplug.errors import ConfigError, ExpressionError, GuideplugError, RecipeError, UnknownName
from guideplug.registry.registry import Registry
from guideplug.run.resolve import Request, resolve

A = {"guider": "autoguidance(model=a)"}


def file_refusal(tmp_path: Path, text: str, error: type[GuideplugError] = ConfigError) -> str:
    path = tmp_path / "config.toml"
    path.write_text(text)
    return refusal(file=path, error=error)


def test_files_that_cannot_be_used(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    assert refusal(file=path) == f"configuration {path} does not exist"
    assert refusal(file=tmp_path) == f"configuration {path} does not exist"
    assert file_refusal(tmp_path, "a = ").startswith(f"configuration {path} is not TOML: ")
    assert file_refusal(tmp_path, "gider = 'cfg'") == (
        f"configuration {path} has an unknown key 'gider' (did you mean 'guider'?)"
    )
    assert file_refusal(tmp_path, "zzzz = 1") == f"configuration {path} has an unknown key 'zzzz'"
    assert file_refusal(tmp_path, "train = 3") == f"configuration {path}: train must be a table, [train]"
    assert file_refusal(tmp_path, "models = 'a'") == f"configuration {path}: models must be a table, [models]"
    assert file_refusal(tmp_path, "[train]\nlrr = 3").startswith("train has no option 'lrr' (did you mean 'lr'?)")
    assert file_refusal(tmp_path, "samples = 3.0") == "samples is 3.0: expected a whole number"
    assert file_refusal(tmp_path, "samples = '3'") == "samples is '3': expected a whole number"
    assert file_refusal(tmp_path, "seed = true") == "seed is True: expected a whole number"
    assert file_refusal(tmp_path, "[task]\nname = 'tree'\nclases = 'A'").startswith(
        "task: tree has no option 'clases' (did you mean 'classes'?)"
    )
    assert "tree-mlp has no option" in file_refusal(tmp_path, "denoiser = 'tree-mlp(width=3)'")
    path.write_bytes(b"\xff")
    assert refusal(file=path).startswith(f"configuration {path} cannot be read: ")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gider=cfg", "--set gider: no such key (did you mean 'guider'?); known: task, denoiser, guider,"),
        ("plugins=x.py", "--set plugins: plugins are named by --plugin FILE.py"),
        ("train=1", "--set train: name what in it, as in train.lr=0.01"),
        ("models=1", "--set models: name what in it, as in models.weak=PATH"),
        ("seed.x=1", "--set seed.x: seed is a plain value; write --set seed=VALUE"),
        ("device.x=1", "--set device.x: device is a plain value; write --set device=VALUE"),
        ("guider.weight=2", "--set guider.weight: no guider is chosen; give --guider"),
        ("selector.filter_ratio=0.5", "--set selector.filter_ratio: no selector is chosen; give --selector"),
        ("denoiser.width=3", "denoiser has no option 'width'"),
        ("denoiser.hidden=3.0", "denoiser.hidden is 3.0: expected a whole number"),
        ("denoiser.hidden.x=3", "denoiser.hidden has no option 'x'; it has none"),
        ("denoiser.hidden=0", "denoiser: hidden is 0: it must be at least 1"),
        ("denoiser=none", "denoiser is none: a run has one; name it, or leave it to the task"),
        ("task=none", "task is none: a run has one"),
        ("sampler=none", "sampler is none: a run has one"),
        ("train.lrr=1", "train has no option 'lrr' (did you mean 'lr'?); it has duration, batch, lr,"),
        ("train.lr=fast", "train.lr is fast: expected a number"),
        ("train.lr=nan", "train: lr is nan: it must be positive and finite"),
        ("train.duration=5", "train.duration: 5 is no duration: write iterations 512it"),
        ("duration=0it", "train.duration: a duration of 0it: it must be positive"),
        ("batch=12.0", "train.batch is 12.0: expected a whole number"),
        ("train.ema=[]", "train: ema is empty: give at least one EMA length, such as [0.05]"),
        ("train.clip=0", "train: clip is 0.0: it must be positive, or none"),
        ("train.schedule.end=1", "train.schedule has no option 'end'"),
        ("samples=0", "samples is 0: it must be at least 1"),
        ("samples=none", "samples is none: expected a whole number"),
        ("sample_batch=0", "sample_batch is 0: it must be at least 1"),
        ("threads=0", "threads is 0: it must be at least 1"),
        ("seed=-1", "seed is -1: it must be 0 or more"),
        ("sample_seed=-1", "sample_seed is -1: it must be 0 or more"),
        ("models.main.seed=1", "--set models.main: it is trained here; write --set train.KEY, denoiser.KEY or seed"),
        ("device=gpu", "device is 'gpu': give cpu, cuda, cuda:1, ..."),
        ("device=meta", "device is 'meta': give cpu, cuda, cuda:1, ..."),
        ("device=mps", "device is 'mps': give cpu, cuda, cuda:1, ..."),
    ],
)
def test_sets_that_are_refused(text: str, message: str) -> None:
    assert refusal(text).startswith(message)


def test_devices_that_are_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for name in ("cuda", "cuda:0"):
        assert refusal(device=name) == (f"device is {name!r}, and no CUDA device can be used here: give --device cpu")
    assert resolved(device="auto").device == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert refusal(device="cuda:2") == "device is 'cuda:2', and there are 2 CUDA devices, from cuda:0 on"
    assert resolved(device="cuda:1").device == "cuda:1"
    assert resolved(device="auto").device == "cuda"


def test_sets_with_expressions_that_cannot_be_read() -> None:
    assert refusal("guider=cfg(", error=ExpressionError).startswith("--set guider: unclosed '('")
    assert refusal("train.lr=", error=ExpressionError).startswith("--set train.lr: the expression is empty")


def test_unknown_names() -> None:
    assert refusal(guider="autogidance", error=UnknownName).startswith(
        "no guider is called 'autogidance' (did you mean 'autoguidance'?)"
    )
    assert refusal(**A, models={"a": "tain"}, error=UnknownName).startswith(
        "models.a is 'tain', neither a file nor a recipe: no recipe is called 'tain' (did you mean 'train'?)"
    )
    assert "no task is called 'tre' (did you mean 'tree'?)" in refusal(
        **A, models={"a": "fine-tune(of=main, on=tre)"}, error=UnknownName
    )


def test_a_role_that_nobody_needs() -> None:
    message = "nothing in this run has a role 'waek'; its roles are weak"
    given = {"guider": "autoguidance"}
    assert refusal(**given, models={"waek": "train"}, error=RecipeError) == f"--model waek: {message}"
    assert refusal("models.waek.seed=1", **given, error=RecipeError) == f"--set models.waek: {message}"
    assert refusal("models.waek=train", **given, error=RecipeError) == f"--model waek: {message}"
    assert refusal(models={"weak": "train"}, error=RecipeError).endswith("its roles are none beside main")


@pytest.mark.parametrize(
    ("models", "circle"),
    [
        ({"a": "fine-tune(of=b, on=tree)", "b": "fine-tune(of=a, on=tree)"}, "a -> b -> a"),
        ({"a": "fine-tune(of=a, on=tree)"}, "a -> a"),
        ({"main": "fine-tune(of=main, on=tree)"}, "main -> main"),
        ({"main": "fine-tune(of=a, on=tree)", "a": "snapshot(main)"}, "main -> a -> main"),
        ({"a": "snapshot(b)", "b": "fine-tune(of=c, on=tree)", "c": "snapshot(b)"}, "b -> c -> b"),
    ],
)
def test_recipes_that_go_round_in_a_circle(models: dict[str, str], circle: str) -> None:
    message = refusal(**A, models=models, error=RecipeError)
    assert message == f"the recipes of the roles go round in a circle: {circle}"


def test_a_role_without_a_recipe() -> None:
    config = {"guider": "autoguidance(model=a)", "models": {"main": "fine-tune(of=b, on=tree)", "b": "train(hidden=8)"}}
    assert resolved(**config).models["a"]  # relative to what would have been trained

    class Poor(type(TREE)):  # type: ignore[misc]
        def recipe(self, role: str, main: Any) -> Any:
            return super().recipe(role, main) if role == "main" else None

    registry = Registry.installed()
    registry._offers["task", "tree"] = [attrs.evolve(registry._offers["task", "tree"][0], what=Poor)]
    for who, given in [
        ("guider 'autoguidance'", {"guider": "autoguidance"}),
        ("selector 'jest'", {"selector": "jest"}),
    ]:
        with pytest.raises(RecipeError) as caught:
            resolve(Request({"device": "cpu", **given}), registry)
        assert str(caught.value) == (
            f"{who} needs a network for its role 'weak', and task 'tree' has no recipe for it: "
            "give --model weak=PATH, or a recipe such as --model weak='train(duration=512it)'"
        )
        assert resolve(Request(given, {"weak": "train(duration=512it)"}), registry).models["weak"].iterations == 512
    with pytest.raises(RecipeError, match=r"^--set models\.weak\.seed: the role has no recipe; give --model weak="):
        resolve(Request({"guider": "autoguidance"}, {}, [("models.weak.seed", "1")]), registry)


def test_one_role_for_two_networks() -> None:
    message = refusal(guider="cfg", selector="jest(reference=unconditional)", error=RecipeError)
    assert message == "the role 'unconditional' is used for two different networks: name one of them otherwise"
    given = {
        "guider": "cfg",
        "selector": "jest(reference=unconditional)",
        "models": {"unconditional": "train(hidden=4)"},
    }
    assert set(resolved(**given).models) == {"unconditional"}


def test_missing_checkpoints_are_found_before_anything_is_done(tmp_path: Path) -> None:
    path = tmp_path / "none.safetensors"
    assert refusal(guider="autoguidance", models={"weak": str(path)}, error=RecipeError) == (
        f"--model weak: checkpoint {path} does not exist: check the path"
    )


def test_a_super_batch_that_is_too_small() -> None:
    message = refusal(selector="jest", batch=64)
    assert message.startswith(
        "selector 'jest' with batch 64: a super-batch of 64 is too small for filter_ratio 0.8 in 16"
    )
    assert resolved(selector="jest", batch=80).selector
    assert refusal(selector="early-jest", batch=79).startswith("selector 'early' with batch 79: ")
