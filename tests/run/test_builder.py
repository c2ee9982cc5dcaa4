"""Following recipes with a store: what is trained, found, kept and made anew."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from attrs import evolve
from small_training import MAIN, OPTIONS, WEAK, Log, StopAfter, Stopped, equal, trained, weights, workshop

from guideplug import (
    Duration,
    Leaf,
    Snapshot,
    Train,
)
from guideplug.store import Store, identity
from guideplug.train import training
from guideplug_jest import JEST
from guideplug_tree import Tree, TreeMLPNetwork

torch.set_num_threads(1)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


# Found again


def test_a_recipe_is_trained_once_and_found_again_by_an_equal_one(store: Store) -> None:
    log = Log()
    first = workshop(store, log).build(MAIN)
    assert not first.found
    assert equal(weights(first.module), trained(MAIN))
    assert first.facts["iterations"] == 12
    assert (first.facts["seen"], first.facts["backpropagated"]) == (480, 480)
    again = workshop(store, log).build(evolve(MAIN, options=evolve(OPTIONS)))
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
    workshop(store, log).build(MAIN)
    assert not workshop(store, log).build(other).found


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
    facts = shop.build(one).facts
    assert (facts["scored"], facts["backpropagated"]) == (480, 96)


def test_roles_are_those_that_were_expected(store: Store) -> None:
    shop = workshop(store)
    shop.expect({"guide": WEAK, "main": MAIN})
    assert [module.role for module in map(shop.obtain, (WEAK, MAIN)) if isinstance(module, Leaf)] == ["guide", "main"]


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


def test_a_slow_training_reports_by_time_and_ends_with_the_same_bits(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "CHECK_SECONDS", 0.0)
    log = Log()
    built = workshop(store, log).build(MAIN)
    steps = [data for name, data in log.events if name == "step"]
    assert [data["step"] for data in steps] == list(range(1, 13))
    assert len({data["loss"] for data in steps}) == 12  # each of its own step
    assert equal(weights(built.module), trained(MAIN))


# Two processes

SCRIPT = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[2])
import small_training as t
from guideplug.store import Store, identity
log = t.Log()
def stop():
    print("training", flush=True)
    time.sleep(0.2)
shop = t.workshop(Store(Path(sys.argv[1])), log, stop=stop)
module = shop.obtain(t.MAIN)
print(identity(t.MAIN), log.count("train"), t.equal(t.weights(module), t.trained(t.MAIN)), flush=True)
"""


@pytest.mark.slow
def test_two_processes_that_want_one_network_train_it_once(store: Store) -> None:
    identity(MAIN)  # reads every source file, which takes a moment
    command = [sys.executable, "-c", SCRIPT, str(store.root), str(Path(__file__).parent)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "training\n"  # it is at it, for two seconds more
        log = Log()
        made = workshop(store, log).build(MAIN)
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
