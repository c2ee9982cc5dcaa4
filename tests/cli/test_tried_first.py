"""What will be evaluated is tried before any training: guiders and samplers of a run, its selector and its recipes."""

from pathlib import Path
from types import UnionType
from typing import Any, Union, cast, get_args, get_origin

import attrs
import numpy as np
import pytest
import torch

from guideplug import DataRecipe, FineTune, Guider, PlannedBatch, Recipe, Registry, Sampler, Selector, Strategy, Train
from guideplug.config import Reader
from guideplug.errors import ConfigError
from guideplug.run.arms import draw_arms
from guideplug.run.preflight import preflight
from guideplug.run.resolve import Request, resolve
from guideplug.testing.examples import examples_of

from .conftest import TOY, CommandLine

torch.set_num_threads(1)

HERE = Path(__file__).parent
PLANTED, TWICE = HERE / "planted.py", HERE / "twice.py"
REGISTRY = Registry.installed([str(TOY), str(PLANTED)])
READER = Reader(REGISTRY)
SAMPLINGS = [
    *(("guider", f"planted(how={how})") for how in ("raises", "shape", "late", "guide")),
    *(("sampler", f"planted-steps(how={how})") for how in ("raises", "shape", "late", "sigmas")),
]
"""What fails where samples are drawn."""
BATCHES = ["raises", "shape", "tensors", "guide"]
"""How a guider fails on a batch of training."""


def options_of(kind: type[Strategy], wanted: type[Strategy]) -> list[tuple[type[Strategy], str]]:
    """The options of every installed strategy of a kind that take a strategy of another kind."""
    found = []
    for name in REGISTRY.names(kind.kind):
        cls = REGISTRY.find(kind.kind, name)
        if isinstance(cls, str):
            continue
        attrs.resolve_types(cast(Any, cls))
        for attribute in attrs.fields(cast(Any, cls)):
            types = get_args(attribute.type) if get_origin(attribute.type) in (Union, UnionType) else (attribute.type,)
            if wanted in types:
                found.append((cls, attribute.name))
    return found


SELECTORS = [(cls.name, option) for cls, option in options_of(Selector, Guider)]
RECIPES = [
    (cls, option, text)
    for kind, given in (("guider", Guider), ("sampler", Sampler))
    for cls, option in options_of(Recipe, given)
    for known, text in SAMPLINGS
    if known == kind
]


def refused(cli: CommandLine, *args: object) -> str:
    """The line of a command that must be refused before any work; nothing is left behind."""
    line = cli.error(*args)
    assert not cli.files()
    return line


def run(cli: CommandLine, *args: object) -> str:
    plugins = ("--plugin", TOY, "--plugin", PLANTED)
    return refused(cli, "run", *plugins, "--task", "toy", "--device", "cpu", "--set", "threads=1", *args)


def test_there_is_something_to_test() -> None:
    assert ("jest", "guider") in SELECTORS
    assert {cls.name for cls, _, _ in RECIPES} >= {"synthetic", "generation", "fit"}


# The run's own


@pytest.mark.parametrize(("kind", "text"), SAMPLINGS)
def test_a_run_s_guider_and_sampler(cli: CommandLine, kind: str, text: str) -> None:
    line = run(cli, f"--{kind}", text)
    assert text.partition("(")[0] in line
    if "shape" not in text:
        assert "planted: n" in line


# Selectors


@pytest.mark.parametrize("how", [*BATCHES, "toward"])
@pytest.mark.parametrize(("selector", "option"), SELECTORS)
def test_a_guider_that_a_selector_scores_under(cli: CommandLine, selector: str, option: str, how: str) -> None:
    line = run(cli, "--batch", "256", "--selector", f"{selector}({option}=planted(how={how}))")
    assert "role 'main'" in line
    assert "planted" in line
    if how != "guide":
        assert f"selector {selector!r} of " in line
        assert f"cannot use {option} planted" in line
        assert "give it another guider" in line
    assert ("a training has none" in line) == (how == "toward")


@pytest.mark.parametrize("command", ["compare", "study"])
def test_arms_and_trials_are_tried_before_the_first_is_trained(cli: CommandLine, command: str) -> None:
    bad = "jest(guider=planted(how=tensors))"
    args: tuple[object, ...] = ("--plugin", TOY, "--plugin", PLANTED, "--device", "cpu")
    if command == "compare":
        args = ("compare", *args, "--task", "toy", "--batch", "256", "--selector", "none", "--selector", bad)
    else:
        args = (
            "study",
            "weights(task=toy, guiders=[autoguidance(weight=1.5:2:0.5), planted(weight=1.5:2:0.5)], seeds=[0, 1])",
            *args,
        )
    assert "planted" in refused(cli, *args)


# Recipes


def planted(cls: type[Recipe], option: str, text: str, folder: Path) -> Recipe:
    kind: Any = Guider if text.startswith("planted(") else Sampler
    recipe: Any = next(iter(examples_of(cls, folder)))
    changes = {option: READER.expression(text, kind)}
    if any(attribute.name == "number" for attribute in attrs.fields(cast(Any, cls))):
        changes["number"] = 2  # the first generation samples nothing
    return cast(Recipe, attrs.evolve(recipe, **changes))


@pytest.mark.parametrize(("cls", "option", "text"), RECIPES)
@pytest.mark.parametrize("nested", [False, True])
def test_a_recipe_s_guider_and_sampler(cls: type[Recipe], option: str, text: str, nested: bool, tmp_path: Path) -> None:
    recipe = planted(cls, option, text, tmp_path)
    if "late" in text and any(isinstance(one, PlannedBatch) and one.guider for one in recipe.evaluates()):
        pytest.skip("levels of a batch are a tensor, and gates are not looked into")
    config = resolve(Request({"task": "toy", "device": "cpu"}), REGISTRY)
    assert isinstance(config.main, Train)
    role: Recipe = recipe
    if isinstance(recipe, DataRecipe):
        role = FineTune(of=config.main, on=recipe, options=config.main.options)
    if nested:
        role = FineTune(of=role, on=config.task, options=config.main.options) if role is not recipe else role
    with pytest.raises(ConfigError) as caught:
        preflight(attrs.evolve(config, models={"other": role}), REGISTRY)
    line = str(caught.value)
    assert "\n" not in line
    assert "the role 'other'" in line
    assert f"recipe {cls.name!r}" in line
    assert text.partition("(")[0] in line


def test_synthetic_data_on_the_command_line(cli: CommandLine) -> None:
    drawn = "synthetic(of=main, guider=planted)"
    line = run(cli, "--guider", "autoguidance", "--model", f"weak=fine-tune(of=main, on={drawn})")
    assert "the role 'weak', recipe 'synthetic': guider 'planted'" in line
    assert "planted.py, line" in line


def test_sampling_again_tries_too(cli: CommandLine) -> None:
    cli.toy("--duration", "2it", "--out", "first")
    before = cli.files()
    line = cli.error("sample", "first", "--plugin", TOY, "--plugin", PLANTED, "--guider", "planted")
    assert "guider 'planted'" in line
    assert cli.files() == before


# Samplers with a ``sample`` of their own


def test_a_sampler_s_own_sample_is_what_draws() -> None:
    config = resolve(Request({"task": "toy", "device": "cpu", "sampler": "one-go(scale=0.5)"}), REGISTRY)
    main = preflight(config, REGISTRY).networks["main"]
    steps: list[tuple[str, int, int]] = []

    def each(arm: str, done: int, total: int) -> None:
        steps.append((arm, done, total))

    drawn: dict[float, torch.Tensor] = {}
    for scale in (0.5, 1.0):
        sampler = attrs.evolve(cast(Any, config.sampler), scale=scale)
        arms, _ = draw_arms(
            {"one": main}, config.task, sampler, count=6, seed=0, batch=4, device=torch.device("cpu"), each=each
        )
        drawn[scale] = arms["one"].samples
    assert torch.equal(drawn[0.5], 0.5 * drawn[1.0])
    assert steps == [("one", 1, 2), ("one", 2, 2)] * 2


def test_progress_counts_the_steps_of_all_batches() -> None:
    config = resolve(Request({"task": "toy", "device": "cpu"}), REGISTRY)
    steps: list[tuple[str, int, int]] = []
    draw_arms(
        {"one": preflight(config, REGISTRY).point}, config.task, config.sampler, count=6, seed=0, batch=4,
        device=torch.device("cpu"), each=lambda arm, done, total: steps.append((arm, done, total)),
    )  # fmt: skip
    assert steps == [("one", number, 8) for number in range(1, 9)]


# Metrics of one name


@pytest.mark.parametrize("command", ["run", "evaluate", "compare", "study"])
@pytest.mark.parametrize("own", [False, True])
def test_two_metrics_of_one_name(cli: CommandLine, monkeypatch: pytest.MonkeyPatch, command: str, own: bool) -> None:
    monkeypatch.setenv("TWICE_IN_TASK" if own else "TWICE", "1")
    plugins = ("--plugin", TOY, "--plugin", TWICE)
    samples = cli.store.parent / "samples.npy"
    if command == "evaluate":
        np.save(samples, np.zeros((4, 2), dtype=np.float32))
    args = {
        "run": ("run", *plugins, "--task", "toy", "--device", "cpu"),
        "evaluate": ("evaluate", samples, *plugins, "--task", "toy"),
        "compare": ("compare", *plugins, "--task", "toy", "--device", "cpu"),
        "study": (
            "study",
            "weights(task=toy, guiders=[autoguidance(weight=1.5:2:0.5)], seeds=[0, 1])",
            *plugins,
            "--device",
            "cpu",
        ),
    }[command]
    line = refused(cli, *args)
    assert "two metrics of the name 'distance'" in line
    assert line.count("Distance") == 2
