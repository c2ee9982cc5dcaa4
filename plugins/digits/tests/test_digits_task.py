"""The digits as a task: laws, recipes, metrics at known values and at degenerate samples."""

import math
from functools import cache

import pytest
import torch
from attrs import evolve
from torch import Tensor

from guideplug import Arm, Context, Duration, Load, SampleStreams, Train, TrainingStreams
from guideplug.testing import check_network, check_task
from guideplug_digits import Digits, DigitsTransformer
from guideplug_digits.images import load_split
from guideplug_digits.task import SPACE
from guideplug_edm import Euler

torch.set_num_threads(1)

DIGITS = Digits()
SAMPLER = Euler(num_steps=1)


def test_it_keeps_the_laws_of_tasks() -> None:
    check_task(DIGITS)


@pytest.mark.parametrize("network", [DigitsTransformer(), DigitsTransformer(width=16, blocks=1, heads=2)])
def test_it_keeps_the_laws_of_networks(network: DigitsTransformer) -> None:
    check_network(network, DIGITS)


def context() -> tuple[Context, Arm]:
    (truth,) = DIGITS.truth(449, SAMPLER, 0)
    return Context(DIGITS, {"truth": truth}, SAMPLER), truth


@cache
def true_values() -> dict[str, float | None]:
    shared, truth = context()
    return {metric.name: metric.measure(truth, shared) for metric in DIGITS.metrics()}


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("class accuracy", 0.98, 1.0),
        ("precision", 0.85, 1.0),
        ("recall", 0.85, 1.0),
        ("density", 0.8, 1.2),
        ("coverage", 0.9, 1.0),
        ("Fréchet distance", 0.0, 3.0),
        ("nearest training image", 1.0, 4.0),
    ],
)
def test_real_images_have_good_values(name: str, low: float, high: float) -> None:
    value = true_values()[name]
    assert value is not None
    assert low < value <= high


def test_copies_of_training_images_are_found_out() -> None:
    shared, _ = context()
    train = load_split().train
    (memorised,) = (metric for metric in DIGITS.metrics() if metric.aspect == "memorisation")
    assert memorised.measure(Arm("guided", train.images, train.labels), shared) == pytest.approx(0, abs=1e-4)


def test_noise_is_worse_than_real_images_in_every_metric_of_fidelity() -> None:
    shared, truth = context()
    noise = Arm("guided", torch.rand(449, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1, truth.condition)
    for metric in DIGITS.metrics():
        value, real = metric.measure(noise, shared), true_values()[metric.name]
        assert value is not None
        assert real is not None
        assert value < real if metric.better == "higher" else value > real, metric.name


@pytest.mark.parametrize("count", [1, 2, 30])
@pytest.mark.parametrize("fill", [0.0, 50.0, None])
def test_every_metric_is_finite_on_degenerate_samples(count: int, fill: float | None) -> None:
    shared, _ = context()
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(count, 1, 8, 8, generator=generator) if fill is None else torch.full((count, 1, 8, 8), fill)
    arm = Arm("guided", images, torch.zeros(count, dtype=torch.int64))
    for metric in DIGITS.metrics():
        value = metric.measure(arm, shared)
        assert value is None or math.isfinite(value), metric.name


def test_samples_are_asked_for_under_the_reference_labels_in_their_order() -> None:
    labels = load_split().reference.labels
    start = DIGITS.start(SampleStreams(0, range(451)), 80.0)
    assert isinstance(start.condition, Tensor)
    assert torch.equal(start.condition[:449], labels)
    assert torch.equal(start.condition[449:], labels[:2])
    assert float(start.x.std()) == pytest.approx(80.0, rel=0.02)
    assert DIGITS.samples() == 449


def test_training_draws_from_the_training_half_only() -> None:
    train = load_split().train
    examples = DIGITS.draw(torch.full((64,), 0.5), TrainingStreams(0, 0))
    assert examples.ids is not None
    assert torch.equal(examples.target, train.images[examples.ids])
    assert torch.equal(examples.condition, train.labels[examples.ids])
    assert float(((examples.x - examples.target) / 0.5).std()) == pytest.approx(1.0, abs=0.05)


def test_recipes_are_relative_to_the_main_one() -> None:
    main = DIGITS.recipe("main", None)
    assert isinstance(main, Train)
    assert main.options.condition_dropout == 0.1
    weak = DIGITS.recipe("weak", main)
    assert isinstance(weak, Train)
    assert weak.denoiser == DigitsTransformer(width=32, blocks=2)
    assert weak.options.duration == Duration(375, "it")
    assert evolve(weak, denoiser=main.denoiser, options=main.options) == main
    small = DIGITS.recipe("weak", evolve(main, denoiser=DigitsTransformer(width=8, blocks=1, heads=4)))
    assert isinstance(small, Train)
    assert small.denoiser == DigitsTransformer(width=8, blocks=1, heads=4)
    small.build()
    assert DIGITS.recipe("unconditional", main) is None  # the null class does that
    assert DIGITS.recipe("weak", Load(path="a", task=DIGITS, denoiser=DigitsTransformer())) is None
    assert DIGITS.recipe("weak", None) is None


def test_the_network_refuses_what_it_cannot_be() -> None:
    with pytest.raises(ValueError, match="multiple of 2 heads = 8"):
        DigitsTransformer(width=30)
    assert DigitsTransformer().build(DIGITS).space == SPACE


def test_the_fingerprint_is_that_of_the_training_half() -> None:
    assert DIGITS.fingerprint() == Digits().fingerprint()
    assert len(DIGITS.fingerprint()) == 64
