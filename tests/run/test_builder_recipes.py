"""Snapshots, fine-tuning, synthetic data and files: what a builder makes of each recipe."""

from pathlib import Path
from typing import Any

import pytest
import torch
from attrs import evolve
from small_training import MAIN, OPTIONS, SAMPLER, SYNTHETIC, TREE, WEAK, Log, equal, trained, tuned, weights, workshop
from torch import Tensor

from guideplug import (
    Duration,
    Load,
    SampleStreams,
    Snapshot,
    Synthetic,
    TrainingStreams,
)
from guideplug.denoise import select_rows
from guideplug.errors import CheckpointError, RecipeError
from guideplug.files.tensors import write_tensors
from guideplug.store import Store, identity
from guideplug.train import Training
from guideplug_cfg import CFG
from guideplug_jest import JEST
from guideplug_tree import Tree, TreeMLPNetwork

torch.set_num_threads(1)


LABELLED = Tree("both", labels=True)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


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
    assert workshop(store).build(snapshot).found


def test_a_snapshot_alone_brings_its_training_about(store: Store) -> None:
    shop, log = workshop(store), Log()
    assert equal(weights(shop.obtain(Snapshot(of=MAIN, at=Duration(3, "it")))), trained(MAIN, 3))
    assert workshop(store, log).build(MAIN).found


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
    assert workshop(store).build(SYNTHETIC).found


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
    made = workshop(store).build(recipe)
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
