"""Following recipes with a store: what is trained, found, kept, resumed and refused."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from attrs import evolve
from torch import Tensor

from guideplug import (
    Duration,
    FineTune,
    Leaf,
    Load,
    LogNormal,
    SampleStreams,
    Snapshot,
    Synthetic,
    Train,
    TrainingStreams,
    TrainOptions,
)
from guideplug.denoise import select_rows
from guideplug.errors import CheckpointError, GuideplugError, RecipeError, StoreError
from guideplug.files.tensors import write_tensors
from guideplug.observe import Listener, Observers
from guideplug.run.builder import StoreWorkshop
from guideplug.store import Store, identity
from guideplug.train import Training
from guideplug_cfg import CFG
from guideplug_edm import Euler
from guideplug_jest import JEST
from guideplug_tree import Tree, TreeMLPNetwork

torch.set_num_threads(1)

TREE = Tree()
OPTIONS = TrainOptions(
    duration="12it", batch=40, lr=0.01, noise=LogNormal(-2.3, 1.5), weighting="score", ema=(0.1, 0.25)
)
MAIN = Train(task=TREE, denoiser=TreeMLPNetwork(4), options=OPTIONS, seed=1)
WEAK = evolve(MAIN, denoiser=TreeMLPNetwork(2), seed=2)
LABELLED = Tree("both", labels=True)
SAMPLER = Euler(num_steps=3)


class Log(Listener):
    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []

    def on_event(self, event: str, data: dict[str, Any]) -> None:
        self.events.append((event, data))

    def count(self, event: str) -> int:
        return sum(name == event for name, _ in self.events)


class Stopped(BaseException):
    pass


class StopAfter:
    """Stops at the n-th step that is asked about."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def __call__(self) -> None:
        self.left -= 1
        if self.left == 0:
            raise Stopped


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def workshop(store: Store, log: Log | None = None, **options: Any) -> StoreWorkshop:
    return StoreWorkshop(store, torch.device("cpu"), Observers([log] if log else []), **options)


def weights(module: torch.nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}


def equal(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def trained(recipe: Train, steps: int | None = None, ema: float | None = None) -> dict[str, Tensor]:
    """The oracle: the training itself, without workshop or store, stopped where it is told to."""
    now = Training(recipe.build(), recipe.task, recipe.options, seed=recipe.seed)
    now.run(until=None if steps is None else Duration(steps, "it"))
    return now.weights(ema)


# Found again


def test_a_recipe_is_trained_once_and_found_again_by_an_equal_one(store: Store) -> None:
    log = Log()
    first = workshop(store, log).made(MAIN)
    assert not first.found
    assert equal(weights(first.module), trained(MAIN))
    assert first.facts["iterations"] == 12
    assert (first.facts["seen"], first.facts["backpropagated"]) == (480, 480)
    again = workshop(store, log).made(evolve(MAIN, options=evolve(OPTIONS)))
    assert again.found
    assert equal(weights(again.module), trained(MAIN))
    assert again.identity == first.identity == identity(MAIN)
    assert again.facts["seconds"] == first.facts["seconds"]
    assert (log.count("train"), log.count("trained"), log.count("found")) == (1, 1, 1)
    assert not store.partial()
    for module in (first.module, again.module):
        assert not module.training
        assert not any(parameter.requires_grad for parameter in module.parameters())


def test_within_one_workshop_a_module_is_made_once(store: Store) -> None:
    shop = workshop(store)
    assert shop.obtain(MAIN) is shop.obtain(evolve(MAIN))


@pytest.mark.parametrize(
    "other",
    [
        evolve(MAIN, seed=7),
        evolve(MAIN, denoiser=TreeMLPNetwork(5)),
        evolve(MAIN, task=Tree("B")),
        evolve(MAIN, options=evolve(OPTIONS, lr=0.011)),
        evolve(MAIN, selector=JEST(num_chunks=4), models={"weak": WEAK}),
    ],
)
def test_whatever_decides_the_weights_makes_another_network(store: Store, other: Train) -> None:
    assert identity(other) != identity(MAIN)
    log = Log()
    workshop(store, log).made(MAIN)
    assert not workshop(store, log).made(other).found


def test_a_reference_shared_between_two_recipes_is_trained_once(store: Store) -> None:
    log = Log()
    shop = workshop(store, log)
    jest = JEST(num_chunks=4)
    one = evolve(MAIN, selector=jest, models={"weak": WEAK})
    two = evolve(one, seed=9)
    shop.expect({"weak": WEAK, "main": one})
    for recipe in (one, two, WEAK):
        shop.obtain(recipe)
    assert log.count("train") == 3
    assert [data["role"] for name, data in log.events if name == "train"].count("weak") == 1
    assert len(list(store.entries())) == 3
    facts = shop.made(one).facts
    assert (facts["scored"], facts["backpropagated"]) == (480, 96)


def test_roles_are_those_that_were_expected(store: Store) -> None:
    shop = workshop(store)
    shop.expect({"guide": WEAK, "main": MAIN})
    assert [module.role for module in map(shop.obtain, (WEAK, MAIN)) if isinstance(module, Leaf)] == ["guide", "main"]


# Snapshots


@pytest.mark.parametrize("beforehand", [True, False])
@pytest.mark.parametrize(("at", "ema"), [("5it", None), ("5it", 0.25), (None, 0.25), ("12it", None)])
def test_a_snapshot_is_the_training_stopped_there(
    store: Store, beforehand: bool, at: str | None, ema: float | None
) -> None:
    log = Log()
    moment = None if at is None else Duration.of(at)
    snapshot = Snapshot(of=MAIN, at=moment, ema=ema)
    shop = workshop(store, log)
    if beforehand:
        shop.expect({"snapshot": snapshot})
    shop.obtain(MAIN)
    kept = {path.name for path in (store.root / identity(MAIN)).glob("snapshot-5it*")}
    assert bool(kept) == (beforehand and at == "5it")
    found = weights(shop.obtain(snapshot))
    assert equal(found, trained(MAIN, None if moment is None else int(moment.amount), ema))
    assert log.count("train") == 1
    assert workshop(store).made(snapshot).found


def test_a_snapshot_alone_brings_its_training_about(store: Store) -> None:
    shop, log = workshop(store), Log()
    assert equal(weights(shop.obtain(Snapshot(of=MAIN, at=Duration(3, "it")))), trained(MAIN, 3))
    assert workshop(store, log).made(MAIN).found


def test_a_snapshot_of_a_training_with_selection(store: Store) -> None:
    recipe = evolve(MAIN, selector=JEST(num_chunks=4), models={"weak": WEAK})
    short = evolve(recipe, options=evolve(OPTIONS, duration="5it"))
    snapshot = Snapshot(of=recipe, at=Duration(5, "it"))
    shop = workshop(store)
    shop.obtain(recipe)
    assert equal(weights(shop.obtain(snapshot)), weights(shop.obtain(short)))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"at": Duration(13, "it")}, "at is 13it: the training ends at 12it"),
        ({"at": Duration(1, "s")}, "give iterations"),
        ({"ema": 0.05}, "the training keeps 0.1, 0.25"),
        ({"of": Snapshot(of=MAIN)}, "a snapshot is of train or fine-tune"),
    ],
)
def test_snapshots_that_cannot_be_had(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Snapshot(**{"of": MAIN, **changes})


# Fine-tuning, synthetic data, files


def tuned(on: Any, duration: str = "3it", lr: float = 0.01) -> FineTune:
    return FineTune(of=MAIN, on=on, options=evolve(OPTIONS, duration=duration, lr=lr), seed=4)


SYNTHETIC = Synthetic(of=MAIN, task=TREE, sampler=SAMPLER, count=50, seed=3)


def answers(module: torch.nn.Module) -> Tensor:
    """What a denoiser says: weights that are kept on a constraint may be scaled without changing it."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        return torch.cat([module(torch.randn(50, 2, generator=generator), sigma) for sigma in (0.05, 0.5)])


@pytest.mark.parametrize("on", [TREE, SYNTHETIC])
def test_fine_tuning_starts_from_the_weights_of_its_base(store: Store, on: Any) -> None:
    shop = workshop(store)
    still = answers(shop.obtain(tuned(on, "1it", lr=1e-12)))
    base = shop.obtain(MAIN)
    assert torch.allclose(still, answers(base), atol=1e-5)
    moved = (answers(shop.obtain(tuned(on))) - answers(base)).abs().max()
    assert 1e-4 < float(moved) < 0.5
    assert equal(weights(base), trained(MAIN))  # the base itself stays as it was


def test_fine_tuning_on_a_task_is_training_from_there(store: Store) -> None:
    learner = MAIN.build()
    learner.load_state_dict(trained(MAIN))
    recipe = tuned(TREE)
    now = Training(learner, TREE, recipe.options, seed=4)
    now.run()
    assert equal(weights(workshop(store).obtain(recipe)), dict(now.weights()))


def test_snapshots_of_fine_tuning_start_from_the_base_too(store: Store) -> None:
    shop = workshop(store)
    shop.obtain(tuned(TREE))
    early = weights(shop.obtain(Snapshot(of=tuned(TREE), at=Duration(1, "it"))))
    assert equal(early, weights(shop.obtain(tuned(TREE, "1it"))))


def test_synthetic_data_are_the_samples_of_their_denoiser(store: Store, tmp_path: Path) -> None:
    shop = workshop(store)
    found = shop.obtain(SYNTHETIC).x
    assert found.shape == (50, 2)
    denoiser = shop.obtain(MAIN)
    assert SYNTHETIC.stream_seed != 3  # a run of that seed draws other samples
    streams = SampleStreams(SYNTHETIC.stream_seed, range(50))
    start = TREE.start(streams, SAMPLER.sigmas(denoiser)[0])
    assert torch.equal(found, SAMPLER.sample(denoiser, start.x, start.condition, streams))
    other = workshop(Store(tmp_path / "other"))
    (tmp_path / "other").mkdir()
    assert torch.equal(other.obtain(SYNTHETIC).x, found)
    assert not torch.equal(other.obtain(evolve(SYNTHETIC, seed=4)).x, found)
    assert torch.allclose(other.obtain(evolve(SYNTHETIC, count=7)).x, found[:7], atol=1e-6)
    assert workshop(store).made(SYNTHETIC).found


def test_drawing_from_synthetic_data_gives_samples_under_the_conditions_they_were_drawn_under(store: Store) -> None:
    main = evolve(MAIN, task=LABELLED, options=evolve(OPTIONS, duration="3it", condition_dropout=0.1))
    recipe = Synthetic(of=main, task=LABELLED, sampler=SAMPLER, count=30, seed=3, guider=CFG(weight=1.5))
    data: Any = workshop(store).obtain(recipe)
    labels = LABELLED.start(SampleStreams(recipe.stream_seed, range(30)), 5.0).condition
    examples = data.draw(torch.full((200,), 0.3), TrainingStreams(0, 0))
    assert torch.equal(examples.target, data.x[examples.ids])
    assert torch.equal(examples.condition, select_rows(labels, examples.ids))
    assert set(examples.condition.tolist()) == {0, 1}
    assert len(set(examples.ids.tolist())) > 20
    noise = (examples.x - examples.target) / 0.3
    assert abs(float(noise.std()) - 1) < 0.1
    assert not torch.equal(data.draw(torch.full((200,), 0.3), TrainingStreams(0, 1)).ids, examples.ids)


def test_a_file_is_loaded(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "mine.safetensors"
    write_tensors(path, trained(MAIN))
    recipe = Load(path=str(path), task=TREE, denoiser=TreeMLPNetwork(4))
    made = workshop(store).made(recipe)
    assert equal(weights(made.module), trained(MAIN))
    assert made.found
    assert not list(store.entries())
    moved = tmp_path / "moved.safetensors"
    path.rename(moved)
    elsewhere = evolve(recipe, path=str(moved))
    assert identity(elsewhere) == made.identity  # the bytes count, not where they lie
    write_tensors(moved, trained(MAIN, 3))
    assert identity(elsewhere) != made.identity
    with pytest.raises(CheckpointError, match="cannot be read"):
        identity(recipe)
    with pytest.raises(CheckpointError, match="shape"):
        evolve(elsewhere, denoiser=TreeMLPNetwork(5)).check()


def test_a_recipe_of_no_denoiser_is_refused_where_one_is_needed(store: Store) -> None:
    wrong = evolve(MAIN, selector=JEST(num_chunks=4), models={"weak": SYNTHETIC})
    with pytest.raises(RecipeError, match="is no denoiser"):
        workshop(store).obtain(wrong)


# Time limits


@pytest.fixture
def ticking(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that advances a second whenever it is read: two seconds a step."""
    seconds = iter(range(10**9))
    monkeypatch.setattr("guideplug.train.counters.time.perf_counter", lambda: float(next(seconds)))


LIMITED = evolve(MAIN, options=evolve(OPTIONS, duration="9s"))


@pytest.mark.usefixtures("ticking")
def test_a_time_limit_is_stored_as_the_iterations_reached(store: Store) -> None:
    shop = workshop(store)
    made = shop.made(LIMITED)
    assert made.facts["iterations"] == 5
    assert made.recipe == LIMITED.lasting(Duration(5, "it"))
    assert made.identity == identity(made.recipe)
    assert equal(weights(made.module), trained(evolve(MAIN, options=evolve(OPTIONS, duration="5it"))))
    assert shop.obtain(LIMITED) is shop.obtain(made.recipe) is made.module
    log = Log()
    assert workshop(store, log).made(made.recipe).found
    assert log.count("train") == 0
    assert not store.partial()


@pytest.mark.usefixtures("ticking")
def test_what_refers_to_a_time_limited_training_settles_on_what_it_reached(store: Store) -> None:
    shop = workshop(store)
    on = evolve(SYNTHETIC, of=LIMITED)
    recipe = FineTune(of=LIMITED, on=on, options=evolve(OPTIONS, duration="2it"), seed=4)
    made = shop.made(recipe)
    reached = LIMITED.lasting(Duration(5, "it"))
    assert made.recipe == evolve(recipe, of=reached, on=evolve(on, of=reached))
    assert made.identity == identity(made.recipe)
    assert len(list(store.entries())) == 3
    snapshot = shop.made(Snapshot(of=LIMITED, at=Duration(2, "it")))
    assert snapshot.recipe == Snapshot(of=reached, at=Duration(2, "it"))
    assert equal(weights(snapshot.module), trained(MAIN, 2))
    for settled in (made.recipe, snapshot.recipe):
        assert workshop(store).made(settled).found


@pytest.mark.usefixtures("ticking")
def test_a_role_keeps_its_name_when_its_reference_has_a_time_limit(store: Store) -> None:
    log = Log()
    shop = workshop(store, log)
    weak = evolve(WEAK, options=evolve(OPTIONS, duration="9s"))
    main = evolve(MAIN, selector=JEST(num_chunks=4), models={"weak": weak})
    shop.expect({"weak": weak, "main": main})
    made = shop.made(main)
    assert [data["role"] for name, data in log.events if name == "train"] == ["weak", "main"]
    assert isinstance(made.module, Leaf)
    assert made.module.role == "main"
    assert isinstance(made.recipe, Train)
    assert made.recipe.models == {"weak": weak.lasting(Duration(5, "it"))}


# Stopping


@pytest.mark.parametrize("at", [1, 7, 12])
def test_a_training_that_was_stopped_goes_on_to_the_same_bits(store: Store, at: int) -> None:
    snapshot = Snapshot(of=MAIN, at=Duration(5, "it"))
    shop, log = workshop(store, stop=StopAfter(at)), Log()
    shop.expect({"main": MAIN, "five": snapshot})
    with pytest.raises(Stopped):
        shop.obtain(MAIN)
    (partial,) = store.partial()
    assert (partial / "state.safetensors").is_file()
    assert store.find(identity(MAIN)) is None
    again = workshop(store, log)
    again.expect({"main": MAIN, "five": snapshot})
    made = again.made(MAIN)
    assert next(data["step"] for name, data in log.events if name == "train") == at
    assert equal(weights(made.module), trained(MAIN))
    assert (made.facts["seen"], made.facts["backpropagated"]) == (480, 480)
    assert made.facts["seconds"] > 0
    assert "snapshot-5it-ema0.1.safetensors" in {file.name for file in (store.root / identity(MAIN)).iterdir()}
    assert equal(weights(again.obtain(snapshot)), trained(MAIN, 5))
    assert not store.partial()


def test_stopping_many_times_and_with_selection_changes_nothing(store: Store, tmp_path: Path) -> None:
    recipe = evolve(MAIN, selector=JEST(num_chunks=4), models={"weak": WEAK})
    (tmp_path / "whole").mkdir()
    expected = weights(workshop(Store(tmp_path / "whole")).obtain(recipe))
    for _ in range(20):
        try:
            found = weights(workshop(store, stop=StopAfter(5)).obtain(recipe))
            break
        except Stopped:
            continue
    assert equal(found, expected)


def test_fine_tuning_resumes_too(store: Store) -> None:
    workshop(store).obtain(MAIN)
    with pytest.raises(Stopped):
        workshop(store, stop=StopAfter(2)).obtain(tuned(TREE))
    found = weights(workshop(store).obtain(tuned(TREE)))
    (store.root / identity(tuned(TREE))).rename(store.root / "aside")
    assert equal(found, weights(workshop(store).obtain(tuned(TREE))))


def damage_middle(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-9] ^= 0x40
    path.write_bytes(data)


DAMAGES: dict[str, Callable[[Path], Any]] = {
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-100]),
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("not a state"),
    "another network's": lambda path: write_tensors(path, {"a": torch.zeros(2)}, {"training": "{}"}),
    "without its data": lambda path: write_tensors(path, trained(MAIN)),
    "a flipped bit": damage_middle,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_state_is_said_and_not_trained_on(store: Store, damage: str) -> None:
    with pytest.raises(Stopped):
        workshop(store, stop=StopAfter(4)).obtain(MAIN)
    (partial,) = store.partial()
    DAMAGES[damage](partial / "state.safetensors")
    with pytest.raises(StoreError, match=r"state\.safetensors of an unfinished training.*prune.*--fresh") as refused:
        workshop(store).obtain(MAIN)
    assert "\n" not in str(refused.value)
    made = workshop(store, fresh=True).made(MAIN)  # as the line says
    assert equal(weights(made.module), trained(MAIN))


@pytest.mark.parametrize("damage", [lambda p: p.write_bytes(p.read_bytes()[:-8]), damage_middle, lambda p: p.unlink()])
def test_damaged_weights_in_the_store_are_said(store: Store, damage: Callable[[Path], Any]) -> None:
    workshop(store).obtain(MAIN)
    damage(store.root / identity(MAIN) / "weights.safetensors")
    with pytest.raises(StoreError, match="damaged or missing: remove it with guideplug store prune --damaged"):
        workshop(store).obtain(MAIN)


def test_a_damaged_record_in_the_store_is_said(store: Store) -> None:
    workshop(store).obtain(MAIN)
    (store.root / identity(MAIN) / "entry.json").write_text("{")
    with pytest.raises(StoreError, match="prune --damaged"):
        workshop(store).obtain(MAIN)


def test_a_training_that_diverges_leaves_no_entry_and_no_bad_state(store: Store) -> None:
    wild = evolve(MAIN, options=evolve(OPTIONS, lr=1e30, optimizer="sgd"))
    with pytest.raises(GuideplugError, match="diverged"):
        workshop(store).obtain(wild)
    assert not list(store.entries())
    assert not list(store.root.glob("*.partial/state.safetensors"))


# Fresh


def test_fresh_trains_anew_once_a_run(store: Store) -> None:
    workshop(store).obtain(MAIN)
    workshop(store).obtain(WEAK)
    log = Log()
    shop = workshop(store, log, fresh=True)
    main = evolve(MAIN, seed=6, selector=JEST(num_chunks=4), models={"weak": WEAK})
    for recipe in (WEAK, main, WEAK, MAIN, main, Snapshot(of=MAIN, at=Duration(5, "it")), MAIN):
        shop.obtain(recipe)
    assert log.count("train") == log.count("trained") == 3
    assert equal(weights(shop.obtain(MAIN)), trained(MAIN))
    later = Log()
    workshop(store, later).obtain(main)
    assert later.count("train") == 0


def test_fresh_forgets_an_unfinished_training(store: Store) -> None:
    with pytest.raises(Stopped):
        workshop(store, stop=StopAfter(4)).obtain(MAIN)
    log = Log()
    workshop(store, log, fresh=True).obtain(MAIN)
    assert next(data["step"] for name, data in log.events if name == "train") == 0


# Averages of lengths chosen afterwards

LONG = evolve(
    MAIN,
    options=evolve(OPTIONS, duration="320it", batch=16, ema=(0.05, 0.15), averages=32),
    denoiser=TreeMLPNetwork(3),
)
SHORT = evolve(MAIN, options=evolve(OPTIONS, ema=(0.05, 0.15), averages=12))


def apart(a: dict[str, Tensor], b: dict[str, Tensor]) -> float:
    """The distance of two networks' weights, as a share of the second's norm."""
    square = sum(float((a[name] - b[name]).double().square().sum()) for name in b)
    return (square / sum(float(tensor.double().square().sum()) for tensor in b.values())) ** 0.5


def files(store: Store, recipe: Train | FineTune) -> dict[str, bytes]:
    folder = store.root / identity(recipe)
    return {path.name: path.read_bytes() for path in folder.glob("snapshot-*")}


def test_a_length_chosen_afterwards_is_the_average_kept_at_it(store: Store, tmp_path: Path) -> None:
    """Of a real training; measured: 6e-6 and less from the average itself, where the kept lengths are .14 apart."""
    log = Log()
    shop = workshop(store, log)
    shop.obtain(LONG)
    kept = evolve(LONG, options=evolve(LONG.options, ema=(0.10, 0.13, 0.05), averages=0))
    (tmp_path / "kept").mkdir()
    direct = workshop(Store(tmp_path / "kept"))
    spread = apart(weights(shop.obtain(LONG)), weights(shop.obtain(Snapshot(of=LONG, ema=0.15))))
    for at in (None, Duration(160, "it")):
        for length in (0.10, 0.13):
            found = weights(shop.obtain(Snapshot(of=LONG, at=at, ema=length)))
            wanted = weights(direct.obtain(Snapshot(of=kept, at=at, ema=length)))
            assert apart(found, wanted) < 2e-5
            assert apart(found, wanted) < 1e-3 * spread
            assert len(Snapshot(of=LONG, at=at, ema=length).parts) == (64 if at is None else 32)  # none is of later
    assert log.count("train") == 1  # and nothing was trained again
    assert spread > 0.01


def test_every_stored_average_is_the_training_stopped_there(store: Store) -> None:
    shop = workshop(store)
    shop.obtain(SHORT)
    names = {f"snapshot-{step}it-ema{length}.safetensors" for step in range(1, 12) for length in (0.05, 0.15)}
    assert set(files(store, SHORT)) == names | {f"snapshot-end-ema{length}.safetensors" for length in (0.05, 0.15)}
    before = files(store, SHORT)
    assert equal(weights(shop.obtain(Snapshot(of=SHORT, at=Duration(7, "it"), ema=0.15))), trained(SHORT, 7, 0.15))
    workshop(store).obtain(Snapshot(of=SHORT, at=Duration(7, "it"), ema=0.1))
    assert files(store, SHORT) == before  # all that was needed was there


@pytest.mark.parametrize(("duration", "averages", "moments"), [("12it", 5, (3, 5, 8, 10, 12)), ("3it", 9, (1, 2, 3))])
def test_averages_are_stored_evenly(duration: str, averages: int, moments: tuple[int, ...]) -> None:
    assert evolve(OPTIONS, duration=duration, averages=averages).averaged_at == moments
    assert evolve(OPTIONS, duration=duration).averaged_at == ()


def test_stopping_many_times_leaves_all_averages_with_the_same_bits(store: Store, tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    whole = Store(tmp_path / "whole")
    wanted = Snapshot(of=SHORT, ema=0.1)
    expected = weights(workshop(whole).obtain(wanted))
    stops = 0
    for _ in range(20):
        try:
            found = weights(workshop(store, stop=StopAfter(5)).obtain(wanted))
            break
        except Stopped:
            stops += 1
    assert stops == 2
    assert files(store, SHORT) == files(whole, SHORT)
    assert len(files(store, SHORT)) == 24
    assert equal(found, expected)


def test_a_network_trained_without_averages_gets_them_by_training_once_more(store: Store, tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    whole, bare = Store(tmp_path / "whole"), evolve(SHORT, options=evolve(SHORT.options, averages=0))
    workshop(whole).obtain(SHORT)
    workshop(store).obtain(bare)
    log = Log()
    shop = workshop(store, log)
    assert shop.made(SHORT).found
    found = weights(shop.obtain(Snapshot(of=SHORT, ema=0.1)))
    assert equal(found, weights(workshop(whole).obtain(Snapshot(of=SHORT, ema=0.1))))
    assert files(store, SHORT) == files(whole, SHORT)
    assert workshop(store).made(Snapshot(of=SHORT, ema=0.1)).found


def test_an_expected_snapshot_does_not_need_the_training_twice(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StoreWorkshop, "_again", lambda *_: pytest.fail("trained again"))
    wanted = [Snapshot(of=SHORT, at=Duration(9, "it"), ema=0.1), Snapshot(of=SHORT, at=Duration(9, "it"), ema=0.15)]
    shop = workshop(store)
    shop.expect({str(number): one for number, one in enumerate(wanted)})
    for one in wanted:
        shop.obtain(one)


def test_fine_tuning_stores_averages_too(store: Store) -> None:
    recipe = evolve(tuned(TREE), options=evolve(SHORT.options, duration="6it", averages=6))
    kept = evolve(recipe, options=evolve(recipe.options, ema=(0.1, 0.15), averages=0))
    shop = workshop(store)
    found = weights(shop.obtain(Snapshot(of=recipe, ema=0.1)))
    between = apart(weights(shop.obtain(Snapshot(of=recipe, ema=0.15))), weights(shop.obtain(kept)))
    assert apart(found, weights(shop.obtain(kept))) < 0.05 * between  # measured: .01


@pytest.mark.parametrize(
    ("changes", "snapshot", "said"),
    [
        ({"averages": 0}, {"ema": 0.1}, r"the training keeps 0.05, 0.15; add it .* train.averages=64"),
        ({"ema": (0.05,)}, {"ema": 0.1}, r"the training keeps 0.05; add it to the training's ema, or keep two lengths"),
        ({"duration": "9s"}, {"ema": 0.1}, r"along a training of known iterations"),
        ({}, {"ema": 0.005}, r"averages of 0.05, 0.15 stored at 32 moments until then .* error of 43 %, more than 5 %"),
        ({}, {"ema": 0.1, "at": "155it"}, r"ask for a stored moment \(150it and 160it are nearest\)"),
        ({}, {"ema": 0.1, "at": "9it"}, r"stored at 0 moments until then .* 100 %"),
        ({}, {"ema": 0.3}, r"EMA length 0.3: it must be between 0 and 0.289"),
        ({}, {"ema": 0.0}, r"EMA length 0: it must be"),
    ],
)
def test_lengths_that_cannot_be_had_are_refused_before_anything_is_trained(
    changes: dict[str, Any], snapshot: dict[str, Any], said: str
) -> None:
    of = evolve(LONG, options=evolve(LONG.options, **changes))
    moment = Duration.of(snapshot["at"]) if "at" in snapshot else None
    with pytest.raises(ValueError, match=said) as refused:
        Snapshot(of=of, ema=snapshot["ema"], at=moment)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"duration": "9s"}, "averages is 32, .* the duration 9s .* give iterations"),
        ({"duration": "64ex"}, "the duration 64ex does not tell its steps"),
        ({"ema": (0.05,)}, "keeps the one EMA length 0.05: others are combined of two"),
    ],
)
def test_averages_of_no_use_are_refused(changes: dict[str, Any], said: str) -> None:
    for recipe in (LONG, evolve(tuned(TREE), options=LONG.options)):
        recipe.check()
        with pytest.raises(RecipeError, match=said):
            evolve(recipe, options=evolve(LONG.options, **changes)).check()


@pytest.mark.parametrize("averages", [-1, 513])
def test_averages_have_a_number_that_can_be_worked_with(averages: int) -> None:
    with pytest.raises(ValueError, match="averages is"):
        evolve(OPTIONS, averages=averages)


# Two processes

SCRIPT = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[2])
import test_workshop as t
log = t.Log()
def stop():
    print("training", flush=True)
    time.sleep(0.2)
shop = t.workshop(t.Store(Path(sys.argv[1])), log, stop=stop)
module = shop.obtain(t.MAIN)
print(t.identity(t.MAIN), log.count("train"), t.equal(t.weights(module), t.trained(t.MAIN)), flush=True)
"""


def test_two_processes_that_want_one_network_train_it_once(store: Store) -> None:
    identity(MAIN)  # reads every source file, which takes a moment
    command = [sys.executable, "-c", SCRIPT, str(store.root), str(Path(__file__).parent)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "training\n"  # it is at it, for two seconds more
        log = Log()
        made = workshop(store, log).made(MAIN)
        key, theirs, same = other.communicate(timeout=60)[0].splitlines()[-1].split()
    assert other.returncode == 0
    assert key == identity(MAIN), "the source was edited while this ran"
    assert (theirs, log.count("train")) == ("1", 0)
    assert same == "True"
    assert made.found
    assert equal(weights(made.module), trained(MAIN))
    assert len(list(store.entries())) == 1


def test_an_entry_says_what_it_was_made_of(store: Store) -> None:
    workshop(store).obtain(MAIN)
    (entry,) = store.entries()
    assert not isinstance(entry, tuple)
    assert entry.damage() == ""
    recipe = json.loads(json.dumps(entry.recipe))["recipe"]
    assert recipe["name"] == "train"
    assert recipe["options"]["duration"] == "12it"
    assert set(entry.files) >= {"weights.safetensors", "snapshot-end-ema0.1.safetensors"}
