"""Networks that trainings share: none by default, whatever the task, guider, selector or study."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import pytest

from guideplug import Recipe, Registry, Study, Trial
from guideplug.config import Strategy, format_value, write
from guideplug.errors import GuideplugError
from guideplug.experiments.comparison.grid import Grid, GridRequest, resolve_grid
from guideplug.experiments.comparison.shared import shared_guides, shared_references
from guideplug.guide import Guider
from guideplug.recipe import nested_recipes
from guideplug.run.resolve import Request, RunConfig, resolve
from guideplug.select import Selector
from guideplug.task import Task
from guideplug.testing.examples import examples_of

REGISTRY = Registry.installed()
SEED = 7


def expressions(kind: type[Strategy], folder: Path) -> list[str]:
    """Expressions of every strategy of a kind; one that holds others is there around installed ones."""
    inner = {Guider: ("autoguidance", "cfg", "sims"), Selector: ("jest",)}.get(kind, ())
    others = [REGISTRY.find(kind.kind, name)() for name in inner]  # type: ignore[operator]
    found: list[str] = []
    for cls in REGISTRY.classes(kind):  # type: ignore[type-abstract]
        try:
            texts = [format_value(write(one)) for one in examples_of(cls, folder, others)]
        except (GuideplugError, TypeError):  # it needs files or code of the user's
            continue
        found += [text for text in texts if "kit-" not in text]  # the kit's toys are not installed
    return list(dict.fromkeys(found))


@pytest.fixture(scope="module")
def offered(tmp_path_factory: Any) -> dict[type[Strategy], list[str]]:
    folder = tmp_path_factory.mktemp("examples")
    return {kind: expressions(kind, folder) for kind in (Task, Guider, Selector)}


def seeds(recipe: Recipe) -> Iterator[int]:
    """Every seed in a recipe and in those that it stands on."""
    seed = getattr(recipe, "seed", None)
    if isinstance(seed, int):
        yield seed
    for inner in nested_recipes(recipe):
        yield from seeds(inner)


def configured(**values: Any) -> RunConfig | None:
    try:
        return resolve(Request({"device": "cpu", "threads": 1, **values}, check_files=False), REGISTRY)
    except GuideplugError:
        return None


def test_the_seed_of_every_network_of_a_run_is_the_runs(offered: Mapping[type[Strategy], list[str]]) -> None:
    tried: set[str] = set()
    for task in offered[Task]:
        for kind, key in ((Guider, "guider"), (Selector, "selector")):
            for text in offered[kind]:
                config = configured(task=task, seed=SEED, **{key: text})
                if config is None:
                    continue
                for role, recipe in config.recipes.items():
                    assert set(seeds(recipe)) <= {SEED}, f"{task}, {text}: role {role} has another seed"
                    tried.add(f"{key}:{role}")
    assert tried >= {
        "guider:weak", "guider:unconditional", "guider:synthetic", "selector:weak", "guider:main", "selector:main",
    }, tried  # fmt: skip


def grid(sets: tuple[tuple[str, str], ...] = (), models: Mapping[str, str] | None = None, **changes: Any) -> Grid:
    values = {"task": "tree", "device": "cpu", "threads": 1}
    request = GridRequest(run=Request(values, models=models or {}, sets=sets), **{"seeds": (0, 1), **changes})
    return resolve_grid(attrs.evolve(request, snapshots=4), REGISTRY)


def test_a_comparison_of_everything_shares_nothing_by_default(offered: Mapping[type[Strategy], list[str]]) -> None:
    guiders = [text for text in offered[Guider] if configured(task="tree", guider=text)]
    selectors = [text for text in offered[Selector] if configured(task="tree", selector=text)]
    found = grid(guiders=guiders, selectors=("none",))
    assert shared_guides(found) == {}
    found = grid(selectors=selectors)
    assert len(found.request.selectors) > 5
    assert shared_references(found) == {}


SELECTING = {"guiders": ("none", "autoguidance", "blend([cfg, autoguidance])", "cfg"), "selectors": ("none", "jest")}


@pytest.mark.parametrize(
    "how",
    [
        {"sets": (("models.weak.seed", "0"),)},
        {"models": {"weak": "train(seed=5)"}},
        {"models": {"weak": "snapshot(of=train(seed=5), at=8it)"}},
        {"models": {"weak": "fine-tune(of=train(seed=5), on=synthetic(of=main, count=64), duration=4it)"}},
    ],
    ids=["--set", "--model", "snapshot", "fine-tuned copy"],
)
def test_a_guide_that_serves_several_trainings_is_shared(how: Any) -> None:
    found = grid(**how, **SELECTING)
    assert {name.partition("(")[0]: roles for name, roles in shared_guides(found).items()} == {
        "autoguidance": ("weak",), "blend": ("weak",),
    }  # fmt: skip
    assert shared_guides(grid(**how, **SELECTING, seeds=(3,))) == {}


def test_a_reference_that_serves_several_trainings_is_shared() -> None:
    found = grid(sets=(("models.weak.seed", "0"),), guiders=("none", "cfg"), selectors=("none", "jest"))
    assert shared_references(found) == {"jest": ("weak",)}
    assert shared_guides(found) == {}
    assert shared_references(grid(guiders=("none", "cfg"), selectors=("none", "jest"))) == {}


def test_a_guide_made_of_main_is_not_shared_for_what_selects_for_main() -> None:
    found = grid(sets=(("models.weak.seed", "0"),), guiders=("sims", "autoguidance"), selectors=("jest",))
    assert list(shared_guides(found)) == ["autoguidance"]
    assert list(shared_references(found)) == ["jest"]


STUDIES = [cls for cls in REGISTRY.classes(Study) if cls.__module__.startswith("guideplug")]  # type: ignore[type-abstract]


def resolved(trial: Trial) -> RunConfig:
    run = dict(trial.run)
    models: Any = run.pop("models", {})
    values = {"device": "cpu", "threads": 1, **run}
    request = Request(values, models=models, sets=tuple(trial.sets.items()), spare_roles=True, check_files=False)
    return resolve(request, REGISTRY)


@pytest.mark.parametrize("cls", STUDIES, ids=[cls.name for cls in STUDIES])
def test_the_networks_of_a_study_have_the_seed_of_their_trial(cls: type[Study]) -> None:
    """The trials of two seeds, one of each kind; a study that shares guides says so in its sentences instead."""
    trials = [trial for trial in cls().trials() if trial.axes.get("seed", 0) in (1, 2)]
    places = {}
    for trial in trials:  # a few strengths along an axis say as much as all
        key = tuple(value for name, value in trial.axes.items() if isinstance(value, str) or name == "seed")
        places.setdefault(key, trial)
    assert places or "seed" not in cls().trials()[0].axes
    for trial in places.values():
        for role, recipe in resolved(trial).recipes.items():
            assert set(seeds(recipe)) <= {trial.axes["seed"]}, f"{trial}: role {role}"
