"""Noise streams: what decides a noisy example, that all are drawn evenly, and losses that are computed once."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from attrs import evolve
from torch import Tensor
from torch.utils.data import TensorDataset

from guideplug import (
    Cosine,
    Duration,
    FineTune,
    LogNormal,
    LogUniform,
    SampleStreams,
    Synthetic,
    Train,
    TrainingStreams,
    TrainOptions,
)
from guideplug.errors import RecipeError
from guideplug.noise import NoiseDistribution
from guideplug.observe import Observers
from guideplug.recipes import SampleSet
from guideplug.rng import derived_seed
from guideplug.run.builder import StoreBuilder
from guideplug.store import Store, identity
from guideplug.train.dataset import FiniteData
from guideplug.train.examples import LossTable, NoiseStreams, with_dropped_conditions
from guideplug_digits import Digits
from guideplug_digits.task import DigitsTransformer
from guideplug_early import Early
from guideplug_edm import Euler
from guideplug_jest import JEST
from guideplug_random import Random
from guideplug_tree import Tree

torch.set_num_threads(1)

ITEMS = torch.arange(24.0).reshape(8, 3)
LABELS = torch.arange(8)
DATA = FiniteData(TensorDataset(ITEMS, LABELS))
NOISE = LogNormal(-1.0, 0.7)
CPU = torch.device("cpu")

DIGITS = Digits()
OPTIONS = TrainOptions(
    duration="6it", batch=24, lr=0.004, noise=LogNormal(-1.2, 1.2), condition_dropout=0.3, noise_streams=3
)
NETWORK = DigitsTransformer(width=8, blocks=1, heads=2)
WEAK = Train(task=DIGITS, denoiser=NETWORK, options=OPTIONS, seed=1)
MAIN = evolve(WEAK, seed=2, selector=JEST(filter_ratio=0.5, num_chunks=4), models={"weak": WEAK})


def draws(count: int = 4, dropout: float = 0.0, noise: NoiseDistribution = NOISE) -> NoiseStreams:
    return NoiseStreams(DATA, count, noise, dropout)


def workshop(root: Path) -> StoreBuilder:
    return StoreBuilder(Store(root), CPU, Observers())


# Streams


def test_an_example_is_decided_by_its_item_and_stream_alone() -> None:
    both = draws(dropout=0.5)
    one = both.numbered(torch.tensor([3, 5, 3]), torch.tensor([1, 0, 2]), CPU)
    two = both.numbered(torch.tensor([5, 1, 3]), torch.tensor([0, 0, 1]), CPU)
    for first, second in ((0, 2), (1, 0)):
        assert torch.equal(one.examples.x[first], two.examples.x[second])
        assert one.sigma[first] == two.sigma[second]
        assert one.drop is not None
        assert two.drop is not None
        assert one.drop[first] == two.drop[second]
    assert not torch.equal(one.examples.x[0], one.examples.x[2])  # another stream of the same item
    assert one.sigma[0] != one.sigma[2]
    assert torch.equal(one.examples.target, ITEMS[[3, 5, 3]])
    assert one.examples.ids is not None
    assert one.examples.ids.tolist() == [3, 5, 3]
    assert one.streams is not None
    assert one.streams.tolist() == [1, 0, 2]


def test_the_noise_is_unit_noise_of_its_own_level() -> None:
    many = draws(4000)
    drawn = many.numbered(torch.full((4000,), 2), torch.arange(4000), CPU)
    noise = (drawn.examples.x - drawn.examples.target) / drawn.sigma[:, None]
    assert abs(float(noise.mean())) < 4 / math.sqrt(12000)
    assert float(noise.std()) == pytest.approx(1, abs=4 / math.sqrt(24000))
    own = SampleStreams(derived_seed("noise streams"), range(8000, 12000))
    assert torch.allclose(noise, own.normal((3,), "noise"), atol=1e-4)
    log = drawn.sigma.double().log()
    assert float(log.mean()) == pytest.approx(-1.0, abs=4 * 0.7 / math.sqrt(4000))
    assert float(log.std()) == pytest.approx(0.7, abs=4 * 0.7 / math.sqrt(8000))


def test_all_noisy_examples_are_drawn_evenly_and_by_the_step_alone() -> None:
    two = draws(2)
    streams = TrainingStreams(0, 5)
    drawn, again = two.draw(16_000, streams), two.draw(16_000, streams)
    assert torch.equal(drawn.examples.x, again.examples.x)
    assert drawn.examples.ids is not None
    assert drawn.streams is not None
    counts = torch.bincount(drawn.examples.ids * 2 + drawn.streams, minlength=16)
    assert float((counts - 1000).square().sum() / 1000) < 45  # chi-square of 15 degrees of freedom, p .0001
    other = two.draw(16_000, TrainingStreams(0, 6))
    assert not torch.equal(other.examples.x, drawn.examples.x)


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_a_share_of_the_noisy_examples_has_its_condition_dropped(share: float) -> None:
    drawn = draws(2000, dropout=share).numbered(torch.arange(8).repeat(2000), torch.arange(2000).repeat(8), CPU)
    if share == 0:
        assert drawn.drop is None
    else:
        assert drawn.drop is not None
        assert float(drawn.drop.float().mean()) == pytest.approx(share, abs=0.02)


@pytest.mark.parametrize("noise", [LogNormal(-2.3, 1.5), LogUniform(0.1, 5.0)])
def test_quantiles_are_those_of_the_draws(noise: NoiseDistribution) -> None:
    drawn = noise.draw(100_000, torch.Generator().manual_seed(0)).double()
    share = torch.tensor([0.05, 0.3, 0.5, 0.8, 0.99], dtype=torch.float64)
    before = share.clone()
    assert torch.allclose(drawn.quantile(share).log(), noise.quantile(share).log(), atol=0.03)
    assert torch.equal(share, before)


# Losses that are computed once


def test_a_training_that_looks_losses_up_is_the_one_that_computes_them(tmp_path: Path) -> None:
    shop = workshop(tmp_path)
    looked_up, computed = shop.begin(MAIN), shop.begin(MAIN)
    computed.scoring = evolve(computed.scoring, tables={})
    seen: list[list[Tensor]] = [[], []]
    for training, kept in zip((looked_up, computed), seen, strict=True):
        select = training.selector.select  # type: ignore[union-attr]

        def noted(losses: Any, *rest: Any, kept: list[Tensor] = kept, select: Any = select) -> Any:
            kept.append(losses.reference)
            return select(losses, *rest)

        object.__setattr__(training, "selector", _Noted(training.selector, noted))
        training.run()
    for ours, theirs in zip(*seen, strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-4, atol=1e-6)
    assert looked_up.counters.scored == computed.counters.scored == 6 * 24
    assert (looked_up.counters.evaluations, computed.counters.evaluations) == (6 * 24, 2 * 6 * 24)
    for name, tensor in looked_up.weights().items():
        assert torch.allclose(tensor, computed.weights()[name], rtol=1e-3, atol=1e-5), name


class _Noted:
    """A selector whose choices are watched."""

    def __init__(self, selector: Any, select: Any) -> None:
        self._selector, self.select = selector, select

    def __getattr__(self, name: str) -> Any:
        return getattr(self._selector, name)


def test_the_table_is_the_networks_losses_one_by_one(tmp_path: Path) -> None:
    shop = workshop(tmp_path)
    table = MAIN.tables["weak"]
    module = shop.obtain(table)
    assert isinstance(module, LossTable)
    assert module.losses.shape == (DIGITS.size(), 3)
    network = shop.obtain(WEAK)
    drawn = table.draws.numbered(torch.tensor([700]), torch.tensor([2]), CPU)
    loss = OPTIONS.loss.of(network, with_dropped_conditions(drawn, network), drawn.sigma, 1.0)  # type: ignore[arg-type]
    scale = OPTIONS.loss.weight(drawn.sigma, DIGITS.space.sigma_data) / OPTIONS.loss.weight(drawn.sigma, 1.0)
    assert float(module.losses[700, 2]) == pytest.approx(float(loss * scale), rel=1e-4)
    facts = shop.build(table).facts
    assert facts["evaluations"] == 3 * (DIGITS.size() or 0)
    assert facts["seconds"] > 0


def test_the_table_is_shared_by_seeds_and_durations_and_not_by_other_noise() -> None:
    def key(recipe: Train) -> str:
        return identity(recipe.tables["weak"])

    same = key(MAIN)
    assert key(evolve(MAIN, seed=9)) == same
    assert key(evolve(MAIN, options=evolve(OPTIONS, duration=Duration(50, "it"), lr=0.1, schedule=Cosine()))) == same
    assert key(evolve(MAIN, selector=Early(JEST(num_chunks=4), until=0.5))) == same
    for changes in (
        {"noise_streams": 4},
        {"noise": LogNormal(-1.0, 1.2)},
        {"condition_dropout": 0.1},
        {"weighting": "uniform"},
        {"score_precision": "bf16"},
    ):
        assert key(evolve(MAIN, options=evolve(OPTIONS, **changes))) != same, changes
    assert key(evolve(MAIN, models={"weak": evolve(WEAK, seed=8)})) != same


@pytest.mark.parametrize(
    "recipe",
    [
        evolve(MAIN, selector=None),
        evolve(MAIN, selector=Random()),
        evolve(MAIN, selector=JEST(score="hard-learner", num_chunks=4)),
        evolve(MAIN, options=evolve(OPTIONS, noise_streams=0)),
    ],
)
def test_nothing_is_computed_that_is_not_looked_up(recipe: Train) -> None:
    assert not recipe.tables


def test_a_stopped_training_goes_on_with_the_same_bits(tmp_path: Path) -> None:
    shop = workshop(tmp_path)
    whole, first = shop.begin(MAIN), shop.begin(MAIN)
    whole.run()
    first.run(until=Duration(3, "it"))
    second = shop.begin(MAIN)
    second.load_state(*first.state())
    second.run()
    for name, tensor in whole.weights().items():
        assert torch.equal(tensor, second.weights()[name]), name


def test_synthetic_samples_have_noise_streams_too(tmp_path: Path) -> None:
    shop = workshop(tmp_path)
    samples = Synthetic(of=WEAK, task=DIGITS, sampler=Euler(num_steps=2), count=10)
    tuned = FineTune(of=WEAK, on=samples, options=OPTIONS)
    shop.obtain(tuned)
    module = shop.obtain(samples)
    assert isinstance(module, SampleSet)
    items, condition = module.items(torch.tensor([4, 1]))
    assert torch.equal(items, module.x[[4, 1]])
    assert isinstance(condition, Tensor)
    assert len(condition) == 2


def test_endless_data_are_refused_before_any_training() -> None:
    tree = Tree()
    main = tree.recipe("main", None)
    assert isinstance(main, Train)
    with pytest.raises(RecipeError, match="'tree' draws its examples anew: set noise_streams to 0"):
        evolve(main, options=evolve(main.options, noise_streams=4)).check()
