"""The loop that trains on its own samples: what each generation is trained on, what is shared, found again, refused."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from attrs import evolve

from guideplug import Augmented, Duration, FineTune, Guider, Sampler, Synthetic, Train, TrainOptions
from guideplug.config import Reader
from guideplug.errors import GuideplugError
from guideplug.experiments.comparison.trainings import needed_for
from guideplug.observe import Listener, Observers
from guideplug.registry.registry import Registry
from guideplug.run.builder import StoreBuilder
from guideplug.run.preflight import preflight
from guideplug.run.resolve import Request, read_file, resolve, to_toml
from guideplug.store import Store, describe, identity
from guideplug_mad import Auxiliary, Generation

torch.set_num_threads(1)

REGISTRY = Registry.installed()
READER = Reader(REGISTRY)


class Log(Listener):
    def __init__(self) -> None:
        self.trained: list[str] = []

    def on_event(self, event: str, data: dict[str, Any]) -> None:
        if event == "trained":
            self.trained.append(data["role"])


@pytest.fixture
def first(tmp_path: Path) -> Train:
    """A training on 20 rows of a file."""
    rows = torch.randn(40, 2, generator=torch.Generator().manual_seed(0))
    (tmp_path / "rows.csv").write_text("a,b\n" + "\n".join(f"{x:.4f},{y:.4f}" for x, y in rows.tolist()) + "\n")
    text = f'points("{tmp_path / "rows.csv"}", heldout=0.5)'
    task: Any = READER.expression(text, REGISTRY.find("task", "points"))  # type: ignore[arg-type]
    network: Any = READER.expression("points-mlp(width=4, blocks=1)", REGISTRY.find("denoiser", "points-mlp"))  # type: ignore[arg-type]
    options = TrainOptions(duration=Duration(16, "it"), batch=16, lr=0.01, warmup=2)
    return Train(task=task, denoiser=network, options=options, seed=1)


def guider(text: str) -> Guider:
    found: Guider = READER.expression(text, Guider)  # type: ignore[type-abstract]
    return found


def generation(first: Train, number: int = 2, **options: Any) -> Generation:
    sampler: Any = READER.expression("euler(num_steps=2)", Sampler)  # type: ignore[type-abstract]
    return Generation(of=first, number=number, sampler=sampler, **options)


def workshop(folder: Path, log: Listener | None = None) -> StoreBuilder:
    return StoreBuilder(Store(folder / "store"), torch.device("cpu"), Observers([log] if log else []))


def weights(module: torch.nn.Module) -> torch.Tensor:
    return torch.cat([tensor.flatten().double() for tensor in module.state_dict().values()])


def data_of(training: Train, shop: StoreBuilder) -> torch.Tensor:
    data: Any = shop.begin(training).data
    found: torch.Tensor = data.items(torch.arange(data.size()))[0]
    return found


def test_the_second_generation_is_trained_on_real_examples_and_samples_of_the_first(
    first: Train, tmp_path: Path
) -> None:
    shop, recipe = workshop(tmp_path), generation(first, synthetic=7)
    samples: Any = shop.obtain(recipe.training.on.on)  # type: ignore[union-attr]
    assert isinstance(recipe.training.on, Augmented)
    assert recipe.training.on.on.of == first  # type: ignore[attr-defined]
    real = first.task.items(torch.arange(20))[0]
    assert samples.x.shape == (7, 2)
    assert torch.equal(data_of(recipe.training, shop), torch.cat([real, samples.x]))
    assert torch.equal(weights(shop.obtain(recipe)), weights(shop.obtain(recipe.training)))  # and nothing else
    # From scratch: its initial weights are its own, and none is what the first has learned.
    assert not torch.equal(weights(recipe.build()), weights(first.build()))
    assert recipe.training.seed not in (first.seed, generation(first, 3).training.seed)


def test_a_fully_synthetic_generation_has_no_real_example(first: Train, tmp_path: Path) -> None:
    shop, recipe = workshop(tmp_path), generation(first, 3, real=False)
    assert isinstance(recipe.training.on, Synthetic)
    data = data_of(recipe.training, shop)
    assert data.shape == (20, 2)  # as many as there are data
    real = first.task.items(torch.arange(20))[0]
    assert not (data[:, None] == real).all(-1).any()
    previous: Any = recipe.training.on.of
    assert previous == evolve(recipe, number=2)


def test_the_first_generation_is_its_training(first: Train, tmp_path: Path) -> None:
    shop, log = workshop(tmp_path), Log()
    assert torch.equal(weights(shop.obtain(generation(first, 1))), weights(shop.obtain(first)))
    workshop(tmp_path, log).obtain(generation(first, 1, guider=guider("sims")))
    assert not log.trained


def test_what_a_generation_is_does_not_grow_with_its_number(first: Train) -> None:
    texts = [json.dumps(describe(generation(first, number, guider=guider("sims")))) for number in (11, 12, 50, 99)]
    assert len(set(map(len, texts))) == 1
    assert len(json.dumps(describe(generation(first, 2, guider=guider("sims"))))) == len(texts[0]) - 1
    assert len({identity(generation(first, number)) for number in range(1, 9)}) == 8
    trainings = [
        len(json.dumps(describe(generation(first, number, guider=guider("sims")).training))) for number in (3, 99)
    ]
    assert abs(trainings[1] - trainings[0]) < 20  # the lengths of numbers and of seeds


def test_every_option_is_part_of_its_identity(first: Train) -> None:
    recipe = generation(first)
    changes: dict[str, Any] = {
        "of": evolve(first, seed=2),
        "number": 3,
        "sampler": evolve(recipe.sampler, num_steps=3),  # type: ignore[type-var]
        "synthetic": 5,
        "real": False,
        "guider": guider("sims"),
        "budget": Duration(3, "it"),
        "lr": 0.2,
        "seed": 1,
    }
    assert changes.keys() == {attribute.name for attribute in type(recipe).__attrs_attrs__}
    keys = {identity(evolve(recipe, **{name: value})) for name, value in changes.items()} | {identity(recipe)}
    assert len(keys) == len(changes) + 1


def test_a_late_generation_is_made_upwards_and_a_loop_goes_on_where_it_was(first: Train, tmp_path: Path) -> None:
    short = evolve(first, options=evolve(first.options, duration=Duration(1, "it")))
    log, late = Log(), generation(short, 40, synthetic=2)
    depth, limit = 0, sys.getrecursionlimit()
    frame: Any = sys._getframe()
    while frame is not None:
        depth, frame = depth + 1, frame.f_back
    sys.setrecursionlimit(depth + 150)
    try:
        found = workshop(tmp_path, log).obtain(late)
    finally:
        sys.setrecursionlimit(limit)
    assert log.trained == [f"helper {identity(short)[:6]}", *(f"generation {number}" for number in range(2, 41))]
    log.trained.clear()
    again = workshop(tmp_path, log)
    assert torch.equal(weights(again.obtain(late)), weights(found))
    assert not log.trained
    again.obtain(evolve(late, number=41))
    assert log.trained == ["generation 41"]


def test_loops_with_other_guidance_share_the_first_generation_and_its_copy(first: Train, tmp_path: Path) -> None:
    log = Log()
    plain, one, two = (generation(first, guider=g) for g in (None, guider("sims(omega=1)"), guider("sims(omega=2)")))
    copy = f"helper {identity(one.training.on.on.models['synthetic'])[:6]}"  # type: ignore[union-attr]
    workshop(tmp_path, log).obtain(plain)
    assert log.trained == [f"helper {identity(first)[:6]}", "generation 2"]
    log.trained.clear()
    shop = workshop(tmp_path, log)
    shop.obtain(one)
    assert log.trained == [copy, "generation 2"]
    log.trained.clear()
    shop.obtain(two)
    assert log.trained == ["generation 2"]
    found = [weights(shop.obtain(each)) for each in (plain, one, two)]
    assert not any(torch.equal(a, b) for a, b in ((found[0], found[1]), (found[1], found[2])))
    off = weights(shop.obtain(generation(first, guider=guider("sims(omega=0)"))))
    assert torch.equal(off, found[0])  # the same draws: off, it is the standard loop


def test_the_samples_for_the_next_are_guided_away_from_a_copy_that_saw_unguided_samples(first: Train) -> None:
    recipe = generation(first, 5, guider=guider("sims(omega=1)"), budget="3it", lr=0.5, synthetic=9)
    samples = recipe.samples
    assert (samples.of, samples.guider, samples.count) == (recipe, guider("sims(omega=1)"), 9)
    copy: Any = samples.models["synthetic"]
    assert isinstance(copy, FineTune)
    assert (copy.of, copy.on.of, copy.on.guider, copy.on.count) == (recipe, recipe, None, 9)
    assert copy.on.seed != samples.seed
    assert (copy.options.duration, copy.options.lr, copy.options.warmup) == (Duration(3, "it"), 0.005, 0)
    assert copy.options.schedule.name == "constant"
    assert generation(first).copy.options.duration == Duration(2, "it")  # an eighth
    assert not generation(first, 5).samples.models


def test_the_auxiliary_is_the_loop_s_own_copy(first: Train, tmp_path: Path) -> None:
    recipe, shop = generation(first, 2, synthetic=3, guider=guider("sims")), workshop(tmp_path)
    assert Auxiliary(of=recipe).with_roles({}) == recipe.samples.models["synthetic"]
    nested = shop.obtain(Auxiliary(of=recipe))
    assert torch.equal(weights(nested), weights(shop.obtain(recipe.copy)))
    with pytest.raises(ValueError, match="of is the recipe 'train'"):
        Auxiliary(of=first)


def test_a_run_measures_what_the_loop_gives_at_a_generation(first: Train, tmp_path: Path) -> None:
    path = f'points("{first.task.path}")'  # type: ignore[attr-defined]
    models = {
        "main": "generation(number=3, synthetic=4, guider=sims(omega=2), budget=2it)",
        "synthetic": "auxiliary(of=main)",
    }
    values = {"task": path, "guider": "sims(omega=2)", "device": "cpu", "duration": "4it"}
    config = resolve(Request(values, models), REGISTRY)
    main: Any = config.main
    assert (main.of.options.duration, main.sampler, main.guider) == (Duration(4, "it"), config.sampler, config.guider)
    assert config.models == {"synthetic": main.copy}
    preflight(config, REGISTRY)
    (tmp_path / "config.toml").write_text(to_toml(config))
    assert 'of = "main"' in (tmp_path / "config.toml").read_text()
    assert resolve(Request(file=read_file(tmp_path)), REGISTRY) == config
    needed = needed_for(config.recipes.values())
    assert [training for training, _ in needed.trainings] == [main.of, main.copy]
    assert needed.unknown == ("generation",)


def refused(text: str, task: str) -> str:
    with pytest.raises(GuideplugError) as caught:
        resolve(Request({"task": task, "device": "cpu"}, {"main": text}), REGISTRY)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("generation(number=0)", "number is 0: it must be at least 1"),
        ("generation(number=2)", "say how many samples, as in synthetic=1000"),
        ("generation(number=2, synthetic=10)", "there are no real ones to add samples to"),
        ("generation(number=2, synthetic=10, real=false, budget=9s)", "budget is 9s, a time: give iterations"),
        (
            "generation(number=2, synthetic=10, real=false, guider=autoguidance)",
            "guider 'autoguidance' needs a network for 'weak'",
        ),
        ("generation(of=generation(number=2, synthetic=2, real=false), number=2)", "of is the recipe 'generation'"),
        ("generation(of=train(on=synthetic(of=train)), number=2)", "of is trained on a recipe's data"),
        ("auxiliary(of=train)", "of is the recipe 'train': give generation"),
    ],
)
def test_loops_that_cannot_be_are_refused(text: str, said: str) -> None:
    assert said in refused(text, "tree")


def test_endless_data_have_a_fully_synthetic_loop() -> None:
    text = "generation(number=3, synthetic=10, real=false, guider=autoguidance(model=synthetic))"
    config = resolve(Request({"task": "tree", "device": "cpu"}, {"main": text}), REGISTRY)
    assert isinstance(config.main, Generation)
