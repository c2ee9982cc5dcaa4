"""Trainings that are stopped, by a limit of time or from outside, and go on to the same bits; damage is said."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from attrs import evolve
from small_training import (
    MAIN,
    OPTIONS,
    SYNTHETIC,
    TREE,
    WEAK,
    Log,
    StopAfter,
    Stopped,
    equal,
    trained,
    tuned,
    weights,
    workshop,
)

from guideplug import (
    Duration,
    FineTune,
    Leaf,
    Snapshot,
    Train,
)
from guideplug.errors import GuideplugError, StoreError
from guideplug.files.tensors import write_tensors
from guideplug.store import Store, identity
from guideplug_jest import JEST

torch.set_num_threads(1)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


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
    made = shop.build(LIMITED)
    assert made.facts["iterations"] == 5
    assert made.recipe == LIMITED.with_duration(Duration(5, "it"))
    assert made.identity == identity(made.recipe)
    assert equal(weights(made.module), trained(evolve(MAIN, options=evolve(OPTIONS, duration="5it"))))
    assert shop.obtain(LIMITED) is shop.obtain(made.recipe) is made.module
    log = Log()
    assert workshop(store, log).build(made.recipe).found
    assert log.count("train") == 0
    assert not store.partial()


@pytest.mark.usefixtures("ticking")
def test_what_refers_to_a_time_limited_training_settles_on_what_it_reached(store: Store) -> None:
    shop = workshop(store)
    on = evolve(SYNTHETIC, of=LIMITED)
    recipe = FineTune(of=LIMITED, on=on, options=evolve(OPTIONS, duration="2it"), seed=4)
    made = shop.build(recipe)
    reached = LIMITED.with_duration(Duration(5, "it"))
    assert made.recipe == evolve(recipe, of=reached, on=evolve(on, of=reached))
    assert made.identity == identity(made.recipe)
    assert len(list(store.entries())) == 3
    snapshot = shop.build(Snapshot(of=LIMITED, at=Duration(2, "it")))
    assert snapshot.recipe == Snapshot(of=reached, at=Duration(2, "it"))
    assert equal(weights(snapshot.module), trained(MAIN, 2))
    for settled in (made.recipe, snapshot.recipe):
        assert workshop(store).build(settled).found


@pytest.mark.usefixtures("ticking")
def test_a_role_keeps_its_name_when_its_reference_has_a_time_limit(store: Store) -> None:
    log = Log()
    shop = workshop(store, log)
    weak = evolve(WEAK, options=evolve(OPTIONS, duration="9s"))
    main = evolve(MAIN, selector=JEST(num_chunks=4), models={"weak": weak})
    shop.expect({"weak": weak, "main": main})
    made = shop.build(main)
    assert [data["role"] for name, data in log.events if name == "train"] == ["weak", "main"]
    assert isinstance(made.module, Leaf)
    assert made.module.role == "main"
    assert isinstance(made.recipe, Train)
    assert made.recipe.models == {"weak": weak.with_duration(Duration(5, "it"))}


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
    made = again.build(MAIN)
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
    made = workshop(store, fresh=True).build(MAIN)  # as the line says
    assert equal(weights(made.module), trained(MAIN))


@pytest.mark.parametrize("damage", [lambda p: p.write_bytes(p.read_bytes()[:-8]), damage_middle, lambda p: p.unlink()])
def test_damaged_weights_in_the_store_are_said(store: Store, damage: Callable[[Path], Any]) -> None:
    workshop(store).obtain(MAIN)
    damage(store.root / identity(MAIN) / "weights.safetensors")
    with pytest.raises(StoreError, match=f"remove it with .*guideplug store prune {identity(MAIN)[:12]}"):
        workshop(store).obtain(MAIN)


def test_a_damaged_record_in_the_store_is_said(store: Store) -> None:
    workshop(store).obtain(MAIN)
    (store.root / identity(MAIN) / "entry.json").write_text("{")
    with pytest.raises(StoreError, match=f"guideplug store prune {identity(MAIN)[:12]}"):
        workshop(store).obtain(MAIN)


def test_a_training_that_diverges_leaves_no_entry_and_no_bad_state(store: Store) -> None:
    wild = evolve(MAIN, options=evolve(OPTIONS, lr=1e30, optimizer="sgd"))
    with pytest.raises(GuideplugError, match="diverged"):
        workshop(store).obtain(wild)
    assert not list(store.entries())
    assert not list(store.root.glob("*.partial/state.safetensors"))
