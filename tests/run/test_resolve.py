"""Requests and what they resolve to: who overrides whom, and that a written configuration repeats itself."""

import tomllib
from pathlib import Path
from typing import Any

import attrs
import pytest
import torch
from resolved_requests import READER, REGISTRY, TREE, refusal, resolved, weak

from guideplug.config import Duration
from guideplug.errors import RecipeError
from guideplug.files.tensors import write_tensors
from guideplug.guide import Guider
from guideplug.recipe import Recipe
from guideplug.recipes import FineTune, Load, Snapshot, Synthetic, Train
from guideplug.run.resolve import Request, RunConfig, read_file, resolve, to_toml
from guideplug.sample import Sampler
from guideplug.select import Selector
from guideplug.train import InverseSqrt, TrainOptions

MAIN: Train = TREE.recipe("main", None)


HEUN: Any = READER.expression(TREE.sampler(), Sampler)


A = {"guider": "autoguidance(model=a)"}


def options(config: RunConfig) -> TrainOptions:
    assert isinstance(config.main, Train)
    return config.main.options


def network(config: RunConfig) -> Any:
    assert isinstance(config.main, Train)
    return config.main.denoiser


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
    assert resolved(**A, models={"a": f"load('{path}', denoiser=tree-mlp(hidden=8))"}).models["a"] == loaded


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
    assert resolve(Request(file=read_file(path)), REGISTRY) == config
    assert resolve(Request(file=read_file(tmp_path)), REGISTRY) == config  # the run's folder
    again = resolve(Request(file=read_file(path)), REGISTRY)
    assert to_toml(again) == to_toml(config)
    assert tomllib.loads(path.read_text()) == read_file(path).values


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
    assert resolve(Request(file=read_file(path)), REGISTRY) == config


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


# The sampler of a network

FLOW = """
from guideplug import FlowSchedule, VPSchedule, wrap
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 2)

    def forward(self, x_t, time, labels=None):
        return self.layer(x_t)

def flow(domain):
    return wrap(Net(), domain.space.shape, predicts="flow", null=0)

def noise(domain):
    return wrap(Net(), domain.space.shape, predicts="epsilon", schedule=VPSchedule(), null=0)

def nothing(domain):
    raise ValueError("none today")
"""


def test_a_flow_has_its_own_sampler_unless_one_is_named(tmp_path: Path) -> None:
    file = tmp_path / "networks.py"
    file.write_text(FLOW)
    flow, noise, nothing = (f'python("{file}:{name}")' for name in ("flow", "noise", "nothing"))
    own: Any = READER.expression("flow", Sampler)
    assert resolved(denoiser=flow).sampler == own
    assert resolved(models={"main": flow}).sampler == own
    assert resolved("sampler.num_steps=7", models={"main": flow}).sampler == attrs.evolve(own, num_steps=7)
    assert resolved(models={"main": flow}, sampler="heun(num_steps=32)").sampler == HEUN
    for other in ({"denoiser": noise}, {"denoiser": nothing}, {"models": {"main": noise}}):
        assert resolved(**other).sampler == HEUN  # type: ignore[arg-type]


def test_the_written_sampler_of_a_flow_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "networks.py"
    file.write_text(FLOW)
    config = resolved(models={"main": f'python("{file}:flow")'})
    written = tmp_path / "config.toml"
    written.write_text(to_toml(config))
    assert resolved(file=written).sampler == config.sampler
    written.write_text(to_toml(attrs.evolve(config, sampler=HEUN)))
    assert resolved(file=written).sampler == HEUN
