"""Which trainings stand under a reference, and which of them do the same work."""

from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from guideplug import FineTune, LogNormal, Recipe, Train, TrainOptions
from guideplug.config import Duration
from guideplug.experiments.comparison.trainings import iteration_of, needed_for, plain
from guideplug.recipes import Load, Snapshot, Synthetic
from guideplug_edm import Euler
from guideplug_random import Random
from guideplug_tree import Tree, TreeMLPNetwork

OPTIONS = TrainOptions(duration="12it", batch=40, noise=LogNormal(-2.3, 1.5))
MAIN = Train(task=Tree(), denoiser=TreeMLPNetwork(4), options=OPTIONS)


def steps(*recipes: Recipe) -> list[tuple[Any, int | None]]:
    return list(needed_for(recipes).trainings)


def snapshot(amount: int | None) -> Snapshot:
    return Snapshot(of=MAIN, at=None if amount is None else Duration(amount, "it"))


def test_a_training_is_itself_and_a_snapshot_a_share_of_one() -> None:
    assert steps(MAIN) == [(MAIN, None)]
    assert steps(snapshot(4)) == [(MAIN, 4)]
    assert steps(snapshot(None)) == [(MAIN, None)]


def test_a_training_is_needed_once_and_as_far_as_any_needs_it() -> None:
    assert steps(snapshot(4), snapshot(8), snapshot(6)) == [(MAIN, 8)]
    assert steps(snapshot(4), MAIN, snapshot(8)) == [(MAIN, None)]


def test_what_stands_on_others_needs_them_first() -> None:
    other = evolve(MAIN, seed=1)
    tuned = FineTune(of=snapshot(6), on=Tree(), options=OPTIONS)
    assert steps(tuned) == [(MAIN, 6), (tuned, None)]
    sampler = Euler(num_steps=3)
    drawn = FineTune(of=MAIN, on=Synthetic(of=other, task=Tree(), sampler=sampler), options=OPTIONS)
    assert steps(drawn) == [(MAIN, None), (other, None), (drawn, None)]
    scored = evolve(MAIN, selector=Random(), models={"weak": other})
    assert steps(scored) == [(other, None), (scored, None)]


def test_nobody_knows_what_a_file_took(tmp_path: Path) -> None:
    path = tmp_path / "weak.safetensors"
    path.write_bytes(b"")
    file = Load(path=str(path), task=Tree(), denoiser=MAIN.denoiser)
    assert needed_for([file, MAIN]).unknown == ("load",)
    tuned = FineTune(of=file, on=Tree(), options=OPTIONS)
    assert (needed_for([tuned]).trainings, needed_for([tuned]).unknown) == (((tuned, None),), ("load",))


@pytest.mark.parametrize(
    ("other", "same"),
    [
        (evolve(MAIN, seed=3), True),
        (MAIN.with_duration(Duration(5, "it")), True),
        (MAIN.with_duration(Duration(5, "s")), True),
        (evolve(MAIN, denoiser=TreeMLPNetwork(6)), False),
        (evolve(MAIN, options=evolve(OPTIONS, batch=20)), False),
        (evolve(MAIN, selector=Random()), False),
        (plain(evolve(MAIN, selector=Random(), models={"weak": MAIN})), True),
    ],
)
def test_trainings_that_differ_in_seed_and_length_do_the_same_work(other: Train, same: bool) -> None:
    assert (iteration_of(other) == iteration_of(MAIN)) is same


def test_seeds_of_networks_below_make_no_other_work() -> None:
    first, second = (FineTune(of=evolve(MAIN, seed=seed), on=Tree(), options=OPTIONS) for seed in (0, 1))
    assert iteration_of(first) == iteration_of(second)
