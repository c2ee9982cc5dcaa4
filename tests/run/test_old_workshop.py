"""A recipe that was written for the `Workshop` of plugin API 1 gets what it got, with a warning."""

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, final

import pytest
import torch
from attrs import evolve, frozen
from torch import nn

import guideplug
from guideplug import Duration, LogNormal, Recipe, Snapshot, Synthetic, Train, TrainOptions, option
from guideplug.observe import Listener, Observers
from guideplug.run.builder import StoreBuilder
from guideplug.store import Store
from guideplug_edm import Euler
from guideplug_tree import Tree, TreeMLPNetwork

OPTIONS = TrainOptions(duration="4it", batch=8, noise=LogNormal(-2.3, 1.5), weighting="score")
MAIN = Train(task=Tree(), denoiser=TreeMLPNetwork(2), options=OPTIONS, seed=1)
SYNTHETIC = Synthetic(of=MAIN, task=Tree(), sampler=Euler(num_steps=2), count=6)


@final
@frozen(kw_only=True)
class Old(Recipe):
    """Does its work as `make` of API 1 did."""

    name = "old"
    of: Recipe = option(help="whose work it has the workshop do")
    work: Callable[[Any, Recipe, nn.Module], object] = option(help="what it calls")

    def build(self) -> nn.Module:
        return self.of.build()

    def make(self, module: nn.Module, workshop: Any) -> Mapping[str, Any]:
        self.work(workshop, self.of, module)
        return {}


class Log(Listener):
    def __init__(self) -> None:
        self.events: list[tuple[str, Any]] = []

    def on_event(self, event: str, data: dict[str, Any]) -> None:
        self.events.append((event, data.get("step")))


def made(recipe: Recipe, folder: Path, log: Log | None = None) -> nn.Module:
    """Its module, made as it is followed, without the store's hash of a function."""
    folder.mkdir(exist_ok=True)
    builder = StoreBuilder(Store(folder), torch.device("cpu"), Observers([log] if log else []))
    module = recipe.build()
    with builder._making_of("0" * 64, folder):
        recipe.make(module, builder)
    return module


def train(workshop: Any, recipe: Any, module: nn.Module) -> None:
    recipe.initialize(module, workshop)
    workshop.train(recipe, module)


CASES: list[tuple[str, Recipe, Any]] = [
    ("train", MAIN, train),
    ("snapshot", Snapshot(of=MAIN, at=Duration(2, "it")), lambda w, of, m: m.load_state_dict(w.snapshot(of))),
    ("synthesize", SYNTHETIC, lambda w, of, m: m.x.copy_(w.synthesize(of))),
]


@pytest.mark.parametrize(("method", "of", "work"), CASES, ids=[name for name, *_ in CASES])
def test_its_methods_do_what_the_recipe_does_now(method: str, of: Recipe, work: Any, tmp_path: Path) -> None:
    with pytest.warns(DeprecationWarning, match=f"plugin API 1: workshop.{method}") as warned:
        old = made(Old(of=of, work=work), tmp_path / "old").state_dict()
    assert len(warned) == 1
    assert warned[0].filename == __file__
    now = StoreBuilder(Store(tmp_path / "now"), torch.device("cpu"), Observers()).obtain(of).state_dict()
    assert all(torch.equal(old[name], value) for name, value in now.items())


def test_progress_that_names_its_recipe_tells_what_it_told(tmp_path: Path) -> None:
    def work(workshop: Any, recipe: Recipe, module: nn.Module) -> None:
        for step, loss in ((0, None), (1, None), (2, 0.5)):
            workshop.progress(recipe, step, 2, loss)

    log = Log()
    with pytest.warns(DeprecationWarning, match=r"workshop.progress\(recipe, step, total\)"):
        made(Old(of=MAIN, work=work), tmp_path, log)
    assert log.events == [("train", 0), ("step", 2), ("trained", 2)]


def test_the_old_names_are_warned_of() -> None:
    with pytest.warns(DeprecationWarning, match=r"guideplug.Workshop is called guideplug.Builder"):
        assert guideplug.Workshop is guideplug.Builder  # type: ignore[attr-defined]
    with pytest.warns(DeprecationWarning, match="among is now called with_roles"):
        assert MAIN.among({}) is MAIN
    with pytest.warns(DeprecationWarning, match="lasting is now called with_duration"):
        assert MAIN.lasting(Duration(9, "it")) == MAIN.with_duration(Duration(9, "it"))


def test_a_recipe_that_defines_among_is_asked_it() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")

        @final
        @frozen(kw_only=True)
        class Chooses(Recipe):
            """Takes a role of the run."""

            name = "chooses"
            of: Recipe | None = option(None, help="the role's recipe")

            def among(self, roles: Mapping[str, Recipe]) -> Recipe:
                return evolve(self, of=roles["weak"])

            def build(self) -> nn.Module:
                return nn.Linear(1, 1)

            def make(self, module: nn.Module, workshop: Any) -> Mapping[str, Any]:
                return {}

    texts = [str(one.message) for one in caught if issubclass(one.category, DeprecationWarning)]
    assert len(texts) == 1
    assert "Chooses.among has a new name: call it with_roles" in texts[0]
    assert Chooses().with_roles({"weak": MAIN}) == Chooses(of=MAIN)
