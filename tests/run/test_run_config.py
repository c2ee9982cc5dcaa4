"""Requests and what they resolve to: who overrides whom, that a written configuration repeats itself, every refusal."""

import tomllib
from pathlib import Path
from typing import Any

import attrs
import pytest
import torch

from guideplug.config import Duration, Reader
from guideplug.errors import ConfigError, ExpressionError, GuideplugError, RecipeError, UnknownName
from guideplug.files.tensors import write_tensors
from guideplug.guide import Guider
from guideplug.recipe import Recipe
from guideplug.recipes import FineTune, Load, Snapshot, Synthetic, Train
from guideplug.registry.registry import Registry
from guideplug.run.resolve import Request, RunConfig, read_file, resolve, to_toml
from guideplug.sample import Sampler
from guideplug.select import Selector
from guideplug.task import Task
from guideplug.train import InverseSqrt, TrainOptions

REGISTRY = Registry.installed()
READER = Reader(REGISTRY)
TREE: Any = READER.expression("tree", Task)
MAIN: Train = TREE.recipe("main", None)
HEUN: Any = READER.expression(TREE.sampler(), Sampler)
A = {"guider": "autoguidance(model=a)"}


def resolved(*sets: str, models: dict[str, str] | None = None, file: Path | None = None, **values: Any) -> RunConfig:
    pairs = tuple((key, text) for key, _, text in (item.partition("=") for item in sets))
    return resolve(Request({"device": "cpu", **values}, models or {}, pairs, file=file), REGISTRY)


def refusal(*sets: str, error: type[GuideplugError] = ConfigError, **given: Any) -> str:
    with pytest.raises(error) as caught:
        resolved(*sets, **given)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def options(config: RunConfig) -> TrainOptions:
    assert isinstance(config.main, Train)
    return config.main.options


def network(config: RunConfig) -> Any:
    assert isinstance(config.main, Train)
    return config.main.denoiser


def weak(config: RunConfig, role: str = "weak") -> Any:
    recipe = config.models[role]
    assert isinstance(recipe, Train)
    return recipe


def test_the_defaults_are_the_tasks() -> None:
    config = resolved()
    assert config == RunConfig(
        task=TREE,
        main=MAIN,
        guider=None,
        selector=None,
        sampler=HEUN,
        models={},
        samples=TREE.samples(),
        device="cpu",
        threads=config.threads,
    )
    assert config.threads >= 1
    assert config.recipes == {"main": MAIN}


# Who overrides whom


def test_set_wins_over_options_over_file_over_task(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(
        """
        denoiser = "tree-mlp(hidden=8)"
        guider = {name = "cfg", weight = 3}
        seed = 1
        samples = 100
        duration = "10it"
        batch = 320
        [train]
        lr = 0.5
        warmup = 3
        """
    )
    assert MAIN.options.lr != 0.5
    one = resolved(file=file)
    assert (options(one).duration, options(one).batch) == (Duration(10, "it"), 320)
    assert (options(one).lr, options(one).warmup) == (0.5, 3)
    assert options(one).schedule == MAIN.options.schedule  # which the file does not name
    assert (network(one).hidden, one.main.seed, one.samples) == (8, 1, 100)  # type: ignore[attr-defined]
    assert one.guider == READER.expression("cfg(weight=3)", Guider)

    more = {"duration": "20it", "denoiser": "tree-mlp(16)", "seed": 2, "guider": "cfg", "samples": 200, "batch": 640}
    two = resolved(file=file, **more)
    assert (options(two).duration, options(two).batch, options(two).lr) == (Duration(20, "it"), 640, 0.5)
    assert (network(two).hidden, two.main.seed, two.samples) == (16, 2, 200)  # type: ignore[attr-defined]
    assert two.guider == READER.expression("cfg", Guider)

    sets = ["train.duration=30it", "denoiser.hidden=24", "seed=3", "guider.weight=4", "samples=300", "batch=960"]
    three = resolved(*sets, "train.lr=0.25", file=file, **more)
    assert (options(three).duration, options(three).batch, options(three).lr) == (Duration(30, "it"), 960, 0.25)
    assert (network(three).hidden, three.main.seed, three.samples) == (24, 3, 300)  # type: ignore[attr-defined]
    assert three.guider == READER.expression("cfg(weight=4)", Guider)
    assert options(three).warmup == 3

    assert resolved("guider=none", file=file).guider is None
    assert resolved(file=file, guider="none").guider is None
    assert resolved(file=file, guider=None, seed=None) == one  # an option that was not given
    assert resolved("duration=40it", file=file, duration="20it").main.iterations == 40


def test_the_last_set_wins() -> None:
    assert options(resolved("train.lr=0.1", "train.lr=0.2")).lr == 0.2
    assert resolved("guider.weight=3", "guider.weight=4", guider="cfg").guider == READER.expression("cfg(4)", Guider)


def test_keys_and_names_may_be_written_either_way() -> None:
    assert resolved("sample-seed=3", "sample_batch=7").sample_seed == 3
    config = resolved("selector.filter-ratio=0.5", "train.weight-decay=0.1", selector="early_jest")
    assert config.selector == READER.expression("early(jest(0.5))", Selector)
    assert options(config).weight_decay == 0.1


def test_options_inside_of_options() -> None:
    config = resolved(
        "train.schedule.after=9", "train.mean=-1", "train.ema=[0.05, 0.1]", "train.clip=1", "sampler.num-steps=7"
    )
    assert options(config).schedule == InverseSqrt(9)
    assert options(config).noise == attrs.evolve(MAIN.options.noise, mean=-1.0)
    assert (options(config).ema, options(config).clip) == ((0.05, 0.1), 1.0)
    assert config.sampler == attrs.evolve(HEUN, num_steps=7)
    assert options(resolved("train.schedule=cosine(0.5)", "train.schedule.end=0.25")).schedule.end == 0.25  # type: ignore[attr-defined]


# Roles


def test_the_weak_network_is_an_eighth_and_half_of_the_main_one() -> None:
    config = resolved(guider="autoguidance", duration="100it", denoiser="tree-mlp(hidden=48)", seed=5, batch=64)
    recipe = weak(config)
    assert recipe.options.duration == Duration(13, "it")  # rounded up
    assert recipe.denoiser.hidden == 24
    assert (recipe.seed, recipe.options.batch, recipe.selector) == (5, 64, None)
    assert recipe.options.lr == options(config).lr
    assert weak(resolved(guider="autoguidance", duration="80s")).options.duration == Duration(10, "s")


def test_selector_and_guider_share_a_role() -> None:
    config = resolved(guider="autoguidance", selector="early-jest")
    assert isinstance(config.main, Train)
    assert config.main.models == config.models == {"weak": TREE.recipe("weak", MAIN)}
    assert config.main.selector == READER.expression("early(jest)", Selector)
    assert list(config.recipes) == ["weak", "main"]
    other = resolved(guider="autoguidance(model=a)", selector="jest", models={"a": "train(hidden=4)"})
    assert set(other.models) == {"a", "weak"}
    assert isinstance(other.main, Train)
    assert set(other.main.models) == {"weak"}
    assert resolved(selector="jest(score=hard-learner)").models == {}


def test_options_of_a_role_are_changed_one_by_one() -> None:
    default = weak(resolved(guider="autoguidance"))
    config = resolved(
        "models.weak.seed=7", "models.weak.hidden=4", "models.weak.options.lr=0.5", "models.weak.duration=9it",
        guider="autoguidance",
    )  # fmt: skip
    wanted = attrs.evolve(
        default,
        seed=7,
        denoiser=attrs.evolve(default.denoiser, hidden=4),
        options=attrs.evolve(default.options, lr=0.5, duration=Duration(9, "it")),
    )
    assert weak(config) == wanted
    assert config.main == MAIN
    both = resolved("models.weak.seed=7", guider="autoguidance", selector="jest")
    assert isinstance(both.main, Train)
    assert both.main.models["weak"] == both.models["weak"] == attrs.evolve(default, seed=7)


def test_a_recipe_fills_in_what_the_main_one_has() -> None:
    config = resolved(**A, models={"a": "train(hidden=8, duration=16it, seed=3)"})
    wanted = attrs.evolve(
        MAIN,
        denoiser=attrs.evolve(MAIN.denoiser, hidden=8),
        options=attrs.evolve(MAIN.options, duration=Duration(16, "it")),
        seed=3,
    )
    # autoguidance's own recipe for the role is the weak one, so that is what is filled in from
    assert weak(config, "a").options.duration == wanted.options.duration
    assert (weak(config, "a").denoiser, weak(config, "a").seed) == (wanted.denoiser, 3)
    assert resolved("models.a=train(hidden=8, duration=16it, seed=3)", **A) == config


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("fine-tune(of=main, on=tree)", FineTune),
        ("fine-tune(of=main, on=tree(classes=B), duration=5it)", FineTune),
        ("fine-tune(on=synthetic(count=64))", FineTune),
        ("fine-tune(of=main, on=synthetic(of=main, count=64, guider=cfg))", FineTune),
        ("snapshot(of=main, at=512it)", Snapshot),
        ("snapshot(main)", Snapshot),
        ("synthetic(of=main)", Synthetic),
    ],
)
def test_recipes_of_other_recipes(text: str, kind: type[Recipe]) -> None:
    config = resolved(**A, models={"a": text})
    recipe: Any = config.models["a"]
    assert isinstance(recipe, kind)
    assert recipe.of == MAIN
    if isinstance(recipe, FineTune) and isinstance(recipe.on, Synthetic):
        assert (recipe.on.of, recipe.on.count, recipe.on.sampler) == (MAIN, 64, HEUN)


def test_recipes_have_the_runs_seed_unless_they_say_another() -> None:
    """As the documentation says; and a name that only other roles refer to is no network of seed 0."""
    models = {"base": "train", "main": "degraded(base, dropout=0.05)", "weak": "degraded(base, dropout=0.1)"}
    config: Any = resolved(guider="autoguidance", models=models, seed=7)
    assert config.main.of.seed == config.models["weak"].of.seed == 7
    copied = {"weak": "fine-tune(of=main, on=synthetic(of=main, count=8), seed=3)"}
    config = resolved(guider="autoguidance", models=copied, seed=7)
    assert config.models["weak"].seed == 3
    assert config.models["weak"].on.seed == 7
    assert config.main.task == TREE


def test_a_role_may_be_made_of_another() -> None:
    config = resolved(**A, models={"a": "fine-tune(of=b, on=tree)", "b": "train(hidden=4)"})
    recipe = config.models["a"]
    assert isinstance(recipe, FineTune)
    assert isinstance(recipe.of, Train)
    assert recipe.of.denoiser.hidden == 4  # type: ignore[attr-defined]
    assert set(config.models) == {"a"}


def test_another_main_network() -> None:
    config = resolved(guider="autoguidance", models={"main": "train(hidden=16, duration=80it)"})
    assert network(config).hidden == 16
    assert weak(config).denoiser.hidden == 8  # relative to the main one that was given
    assert weak(config).options.duration == Duration(10, "it")
    config = resolved(**A, models={"main": "train(hidden=16)", "a": "fine-tune(on=tree)"})
    assert config.models["a"].of == config.main  # type: ignore[attr-defined]


@pytest.fixture
def checkpoint(tmp_path: Path) -> str:
    path = tmp_path / "main.safetensors"
    write_tensors(path, MAIN.build().state_dict())
    return str(path)


def test_a_path_is_a_network(checkpoint: str, tmp_path: Path) -> None:
    config = resolved(**A, models={"main": checkpoint, "a": "fine-tune(on=tree)"})
    assert config.models["a"].of == config.main  # type: ignore[attr-defined]
    assert config.main == Load(path=checkpoint, task=TREE, denoiser=MAIN.denoiser)
    path = tmp_path / "small.safetensors"
    small = attrs.evolve(MAIN, denoiser=attrs.evolve(MAIN.denoiser, hidden=8))
    write_tensors(path, small.build().state_dict())
    assert "has shape" in refusal(**A, models={"a": str(path)}, error=RecipeError)
    path.with_suffix(".json").write_text('{"denoiser": "tree-mlp(hidden=8)"}')
    loaded = resolved(**A, models={"a": str(path)}).models["a"]
    assert loaded == Load(path=str(path), task=TREE, denoiser=small.denoiser)
    assert resolved(**A, models={"a": f"load('{path}', hidden=8)"}).models["a"] == loaded


# What is written resolves to itself

REQUESTS: dict[str, dict[str, Any]] = {
    "nothing": {},
    "all": {
        "guider": "autoguidance(weight=2.5)",
        "selector": "early-jest(filter_ratio=0.5, until=9it)",
        "sampler": "heun(num_steps=4, churn=3, sigma_max=3)",
        "task": "tree(classes=both, labels=true)",
        "denoiser": "tree-mlp(hidden=8)",
        "duration": "16it",
        "batch": 256,
        "seed": 4,
        "sample_seed": 5,
        "samples": 6,
        "sample_batch": 7,
        "threads": 1,
    },
    "cfg": {"guider": "cfg"},
    "seconds": {"duration": "2.5m", "guider": "autoguidance"},
    "examples": {"duration": "3.3Mex", "selector": "random(0.25)"},
    "a recipe": {**A, "models": {"a": "train(hidden=8)"}, "selector": "jest"},
    "fine-tuned": {**A, "models": {"a": "fine-tune(of=main, on=synthetic(count=64, guider=cfg), duration=8it)"}},
    "fine-tuned on a task": {**A, "models": {"a": "fine-tune(of=b, on=tree(classes=B))", "b": "train(hidden=4)"}},
    "snapshot": {**A, "models": {"a": "snapshot(of=main, at=512it)"}, "selector": "early-jest"},
    "another main": {"models": {"main": "train(hidden=8, seed=3)"}, "guider": "autoguidance"},
    "a main of another task": {"models": {"main": "train(task=tree(classes=B))"}, "guider": "cfg", "selector": "jest"},
    "a main that is no training": {"models": {"main": "fine-tune(of=b, on=tree)", "b": "train(hidden=8)"}},
}
SETS = {
    "all": ["train.schedule=cosine", "train.clip=1", "train.noise=log-uniform(0.01, 5)", "train.ema=[0.05, 0.1]"],
    "a recipe": ["models.a.seed=9", "models.weak.schedule=constant"],
}


@pytest.mark.parametrize("name", REQUESTS)
def test_what_is_written_resolves_to_itself(name: str, tmp_path: Path) -> None:
    config = resolved(*SETS.get(name, []), **REQUESTS[name])
    path = tmp_path / "config.toml"
    path.write_text(to_toml(config))
    assert resolve(Request(file=path), REGISTRY) == config
    assert resolve(Request(file=tmp_path), REGISTRY) == config  # the run's folder
    again = resolve(Request(file=path), REGISTRY)
    assert to_toml(again) == to_toml(config)
    assert tomllib.loads(path.read_text()) == read_file(path)


def test_every_option_is_written() -> None:
    table = tomllib.loads(to_toml(resolved(guider="autoguidance", plugins=("./a.py",))))
    assert set(table["train"]) == {attribute.name for attribute in attrs.fields(TrainOptions)}
    assert set(table["models"]["weak"]) == {attribute.name for attribute in attrs.fields(Train)} | {"name"}
    assert "churn_noise=1.0" in table["sampler"]
    assert table["guider"] == "autoguidance(weight=2.0, model=weak)"
    assert table["selector"] == "none"
    assert table["plugins"] == ["./a.py"]


def test_a_path_is_written_and_resolves(checkpoint: str, tmp_path: Path) -> None:
    config = resolved(**A, models={"main": checkpoint, "a": "fine-tune(of=main, on=tree)"})
    path = tmp_path / "config.toml"
    path.write_text(to_toml(config))
    assert resolve(Request(file=path), REGISTRY) == config


# Refusals


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
        f"--model weak: checkpoint {path} does not exist: give a .safetensors file"
    )


def test_a_super_batch_that_is_too_small() -> None:
    message = refusal(selector="jest", batch=64)
    assert message.startswith(
        "selector 'jest' with batch 64: a super-batch of 64 is too small for filter_ratio 0.8 in 16"
    )
    assert resolved(selector="jest", batch=80).selector
    assert refusal(selector="early-jest", batch=79).startswith("selector 'early' with batch 79: ")


def test_nothing_is_trained_or_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Resolving is quick and quiet: no data are drawn, and no global generator is touched."""
    before = torch.random.get_rng_state()
    monkeypatch.setattr(type(TREE), "draw", None)
    resolved(guider="autoguidance", selector="early-jest")
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_network_that_a_guider_may_use_is_used_where_it_is_given() -> None:
    both = {"task": "tree(classes=both)", "guider": "cfg"}
    assert resolved(**both).models == {}
    given = resolved(models={"unconditional": "train(duration=8it)"}, **both)
    assert weak(given, "unconditional").options.duration.amount == 8
    renamed = resolved(models={"marginal": "train(duration=8it)"}, task="tree", guider="cfg(model=marginal)")
    assert list(renamed.models) == ["marginal"]
