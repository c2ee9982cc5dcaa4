"""The identity of recipes: equal ones have one, everything that decides the weights changes it, nothing else does."""

import inspect
import json
import math
import re
import shutil
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import attrs
import pytest
import torch
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from guideplug.config import Duration, Reader, Strategy, write
from guideplug.errors import CheckpointError
from guideplug.files.tensors import write_tensors
from guideplug.guide import Guider
from guideplug.recipe import Recipe
from guideplug.recipes import Augmented, FineTune, Load, Resampled, Snapshot, Synthetic, Train
from guideplug.registry.registry import KINDS, Registry
from guideplug.run.resolve import Request, resolve
from guideplug.sample import Sampler
from guideplug.select import Selector
from guideplug.store import describe, identity
from guideplug.store import identity as _identity_function
from guideplug.task import Network, Task
from guideplug.train import Cosine, TrainOptions

REGISTRY = Registry.installed()
READER = Reader(REGISTRY)


def made(kind: Any, text: str) -> Any:
    return READER.expression(text, kind)


TREE = made(Task, "tree")
DIGITS = made(Task, "digits")
MAIN: Train = TREE.recipe("main", None)
WEAK: Train = TREE.recipe("weak", MAIN)
FULL = evolve(
    MAIN,
    options=evolve(MAIN.options, clip=1.0, ema=(0.01, 0.05), schedule=Cosine()),
    selector=made(Selector, "early-jest(until=5it)"),
    models={"weak": WEAK},
)
SYNTHETIC = Synthetic(
    of=WEAK,
    task=TREE,
    sampler=made(Sampler, "heun(churn=1)"),
    count=64,
    guider=made(Guider, "autoguidance"),
    models={"weak": WEAK},
)


@pytest.fixture(scope="module")
def recipes(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Recipe]:
    path = tmp_path_factory.mktemp("weights") / "main.safetensors"
    write_tensors(path, {"w": torch.zeros(1)})
    return {
        "train": evolve(FULL, on=evolve(SYNTHETIC, guider=None, models={}), start=WEAK),
        "fine-tune": FineTune(of=WEAK, on=SYNTHETIC, options=MAIN.options),
        "fine-tune on a task": FineTune(of=WEAK, on=TREE, options=MAIN.options),
        "snapshot": Snapshot(of=FULL, at=Duration(7, "it"), ema=0.05),
        "synthetic": SYNTHETIC,
        "augmented": Augmented(on=SYNTHETIC, task=DIGITS, real=10),
        "resampled": Resampled(of=SYNTHETIC, task=TREE, share=0.25, group=0, count=8),
        "load": Load(path=str(path), task=TREE, denoiser=MAIN.denoiser),
    }


# Every field, however deep: what can be changed about a recipe.


def _others(kind: Any, value: Any) -> Iterator[Any]:
    """Values that an option of a type may have instead of ``value``."""
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        if value is not None and type(None) in get_args(kind):
            yield None
        for inner in get_args(kind):
            fits = not isinstance(inner, type) or value is None or isinstance(value, inner)
            yield from _others(inner, value if fits else None)
    elif origin is Literal:
        yield from (other for other in get_args(kind) if other != value)
    elif kind is bool:
        yield not value
    elif kind is int:
        yield (value or 0) + 1
    elif kind is float:
        yield from (0.5 * (0.0 if value is None or math.isinf(value) else value) + 0.125, 0.05, 0.01)
    elif kind is str:
        yield f"{value}-2"
    elif kind is Duration:
        yield Duration(1 if value is None else value.amount + 1, "it")
    elif origin is tuple:
        first, *others = get_args(kind)
        value = value or (None,) if others == [Ellipsis] else value or range(len(others) + 1)
        yield from ((*value[:-1], other) for other in _others(first, value[-1]))
    elif origin is not None and issubclass(origin, Mapping):
        yield {**value, "another": WEAK}
        yield {f"{name}2": item for name, item in value.items()}
        for name, item in value.items():
            yield from ({**value, name: changed} for _, changed in _changed(item))
    elif isinstance(value, kind) and attrs.has(type(value)):
        yield from (changed for _, changed in _changed(value))
    if isinstance(kind, type) and issubclass(kind, Strategy) and inspect.isabstract(kind):
        for plugin in REGISTRY.plugins:
            for offer in plugin.offers:
                if isinstance(offer.what, type) and issubclass(offer.what, kind) and offer.what is not type(value):
                    try:
                        yield offer.what()
                    except TypeError:
                        continue


def _changed(instance: Any) -> Iterator[tuple[str, Any]]:
    """``instance`` with one thing changed, and which of its fields it was in."""
    attrs.resolve_types(type(instance))
    for attribute in attrs.fields(type(instance)):
        if not attribute.metadata.get("identity", True):
            continue
        value = getattr(instance, attribute.name)
        for other in _others(attribute.type, value):
            try:
                if other != value:
                    yield attribute.name, evolve(instance, **{attribute.name: other})
            except ValueError:  # options that do not go together
                continue


KINDS_OF_RECIPES = [
    "train",
    "fine-tune",
    "fine-tune on a task",
    "snapshot",
    "synthetic",
    "augmented",
    "resampled",
    "load",
]


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS_OF_RECIPES)
def test_every_field_changes_it(recipes: Mapping[str, Recipe], name: str) -> None:
    recipe = recipes[name]
    seen = {identity(recipe): recipe}
    reached: set[str] = set()
    for field, changed in _changed(recipe):
        assert changed != recipe
        if isinstance(changed, Load) and field == "path":
            with pytest.raises(CheckpointError):
                identity(changed)
            continue
        reached.add(field)
        key = identity(changed)
        assert seen.setdefault(key, changed) == changed, f"{field} is not part of the identity"
    counted = (attribute for attribute in attrs.fields(type(recipe)) if attribute.metadata.get("identity", True))  # type: ignore[arg-type]
    assert reached == {attribute.name for attribute in counted} - {"path"}
    assert len(seen) > len(reached)


def test_what_a_training_is_on_counts_and_without_it_the_task_s_data_are_told_by_nothing_else() -> None:
    on = evolve(FULL, on=SYNTHETIC)
    assert describe(FULL)["recipe"]["on"] is None
    assert len({identity(FULL), identity(on), identity(evolve(FULL, on=evolve(SYNTHETIC, seed=1)))}) == 3
    with_others = dict(describe(on)["recipe"], on=None)
    assert with_others == describe(FULL)["recipe"]


def test_every_training_option_changes_it() -> None:
    reached = {field for field, changed in _changed(FULL.options) if identity(evolve(FULL, options=changed))}
    assert reached == {attribute.name for attribute in attrs.fields(TrainOptions)} - {"averages"}


def test_storing_averages_makes_no_other_network_but_other_combinations_of_them() -> None:
    def storing(averages: int) -> Train:
        return evolve(FULL, options=evolve(FULL.options, averages=averages))

    def at(averages: int, ema: float) -> str:
        return identity(Snapshot(of=storing(averages), ema=ema))

    assert identity(storing(64)) == identity(FULL)
    assert '"averages"' not in json.dumps(describe(storing(64)))
    assert at(64, 0.05) == at(0, 0.05) == identity(Snapshot(of=FULL, ema=0.05))
    assert len({at(64, 0.03), at(128, 0.03), at(64, 0.04), at(64, 0.05)}) == 4


@pytest.mark.parametrize("name", KINDS_OF_RECIPES)
def test_equal_recipes_have_one_identity(recipes: Mapping[str, Recipe], name: str) -> None:
    recipe = recipes[name]
    key = identity(recipe)
    assert len(key) == 64
    assert set(key) <= set("0123456789abcdef")
    assert identity(evolve(recipe)) == key  # type: ignore[type-var]
    again: Recipe = READER.read(write(recipe), KINDS["guideplug_recipes"], "it")
    assert again == recipe
    assert identity(again) == key
    json.dumps(describe(recipe), allow_nan=False)


@given(st.integers(1, 10**9), st.integers(1, 10**6))
def test_numbers_that_are_equal_are_one(lr: int, steps: int) -> None:
    whole = evolve(MAIN, options=evolve(MAIN.options, lr=lr, duration=Duration(steps, "it")))
    real = evolve(MAIN, options=evolve(MAIN.options, lr=float(lr), duration=Duration(float(steps), "it")))
    assert whole == real
    assert identity(whole) == identity(real)


def test_the_order_of_roles_does_not_count() -> None:
    one = evolve(MAIN, models={"a": WEAK, "b": MAIN})
    two = evolve(MAIN, models={"b": MAIN, "a": WEAK})
    assert one == two
    assert identity(one) == identity(two)
    assert identity(evolve(MAIN, models={"b": WEAK, "a": MAIN})) != identity(one)


def test_device_threads_and_samples_are_no_part_of_it() -> None:
    base: dict[str, Any] = {"guider": "autoguidance", "selector": "jest", "duration": "16it", "batch": 256}
    keys = set()
    for more in ({}, {"threads": 7}, {"samples": 3}, {"sample_seed": 9}, {"sample_batch": 2}, {"sampler": "euler"}):
        config = resolve(Request({**base, "device": "cpu", **more}), REGISTRY)
        keys.add((identity(config.main), identity(config.models["weak"])))
        text = json.dumps(describe(config.main))
        assert '"device"' not in text
        assert '"threads"' not in text
    assert len(keys) == 1
    moved = evolve(resolve(Request({**base, "device": "cpu"}), REGISTRY), device="cuda", threads=3)
    assert (identity(moved.main), identity(moved.models["weak"])) in keys


def test_a_guider_does_not_change_the_network() -> None:
    one = resolve(Request({"guider": "autoguidance"}), REGISTRY)
    assert identity(one.main) == identity(resolve(Request({}), REGISTRY).main) == identity(MAIN)


def test_the_bytes_of_a_loaded_file_count_and_its_path_does_not(tmp_path: Path) -> None:
    def load(path: Path) -> str:
        recipe = Load(path=str(path), task=TREE, denoiser=MAIN.denoiser)
        assert identity(FineTune(of=recipe, on=TREE, options=MAIN.options)) != identity(recipe)
        return identity(recipe)

    one, two = tmp_path / "one.safetensors", tmp_path / "sub" / "two.safetensors"
    write_tensors(one, {"w": torch.zeros(1)})
    two.parent.mkdir()
    shutil.copy(one, two)
    assert load(one) == load(two)
    before = load(one)
    write_tensors(one, {"w": torch.ones(1)})
    assert load(one) != before
    assert load(two) == before
    one.unlink()
    with pytest.raises(CheckpointError, match=r"one\.safetensors cannot be read: No such file"):
        load(one)


def test_the_data_count(monkeypatch: pytest.MonkeyPatch, recipes: Mapping[str, Recipe]) -> None:
    loaded = Synthetic(of=recipes["load"], task=TREE, sampler=SYNTHETIC.sampler)
    trained = [FULL, SYNTHETIC, recipes["fine-tune"], recipes["fine-tune on a task"], recipes["snapshot"], loaded]
    before = [identity(recipe) for recipe in trained]
    load = identity(recipes["load"])
    monkeypatch.setattr(type(TREE), "fingerprint", lambda self: "other data")
    for recipe, key in zip(trained, before, strict=True):
        assert identity(recipe) != key, recipe.name
    assert identity(recipes["load"]) == load  # its weights are what they are


# The code that a recipe is followed with

SOURCE = Path(inspect.getfile(made(Selector, "random").__class__))


def test_an_edited_plugin_changes_it(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    text = SOURCE.read_text().replace('name = "random"', 'name = "mine"')

    def trained(source: str) -> str:
        path.write_text(source)
        registry = Registry.installed([str(path)])
        return identity(evolve(MAIN, selector=Reader(registry).expression("mine", Selector)))

    plain = trained(text)
    assert trained(text) == plain
    assert trained(text + "# edited\n") == plain
    assert trained(text.replace("return True", "return False")) != plain
    assert trained(text) == plain
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    path = elsewhere / "mine.py"
    assert trained(text) == plain
    path = elsewhere / "my.own.py"
    trained(text)
    assert identity(MAIN) == identity(evolve(MAIN))


def test_a_network_does_not_depend_on_plugins_it_does_not_use() -> None:
    assert set(describe(MAIN)["code"]) == {"guideplug", "guideplug_tree"}
    assert set(describe(FULL)["code"]) == {"guideplug", "guideplug_tree", "guideplug_early", "guideplug_jest"}
    assert "guideplug_edm" in describe(SYNTHETIC)["code"]
    assert len(describe(MAIN)["code"]["guideplug_tree"]) == 16  # of Python alone, so without its version


def test_a_package_that_holds_more_than_python_counts_with_its_version(tmp_path: Path) -> None:
    module = inspect.getmodule(_identity_function)
    assert module is not None
    beyond = module._beyond_python  # type: ignore[attr-defined]
    assert beyond("guideplug_tree") == ""
    assert re.fullmatch(r"numpy [\d.]+, ", beyond("numpy"))


def test_networks_of_equal_options_and_other_classes_differ() -> None:
    @attrs.frozen
    class Same(Network):
        name = "same"
        hidden: int = 64

        def build(self, domain: Any) -> Any:
            raise NotImplementedError

    Same.__module__ = type(MAIN.denoiser).__module__
    assert identity(evolve(MAIN, denoiser=Same())) != identity(MAIN)
