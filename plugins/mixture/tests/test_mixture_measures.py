"""The metrics of both tasks: at true samples, and at samples that are wrong in a known way."""

from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor

from guideplug import Arm, Context, Metric
from guideplug_edm import Heun
from guideplug_mixture import Gaussian, Mixture
from guideplug_mixture.gaussian_metrics import moments
from guideplug_mixture.reference import levels, reference

torch.set_num_threads(1)

SAMPLER = Heun(num_steps=32)


def values(task: Gaussian | Mixture, arm: Arm, seed: int = 0) -> dict[str, float | None]:
    context = Context(task, {}, SAMPLER, seed)
    return {metric.name: metric.measure(arm, context) for metric in task.metrics()}


def true(task: Gaussian | Mixture, count: int, seed: int = 1) -> Arm:
    return task.truth(count, Heun(num_steps=2), seed)[0]


def test_exact_transport_is_the_distance_of_shifted_copies() -> None:
    task = Gaussian()
    points, _ = reference(Context(task, {}, SAMPLER, 0))
    shifted = Arm("shifted", points[:512] + torch.tensor([0.3, 0.4]))
    found = values(task, shifted)
    assert found["wasserstein"] == pytest.approx(0.5, abs=1e-5)


@pytest.mark.slow
def test_gaussian_metrics_know_a_shift_and_a_collapse() -> None:
    task = Gaussian()
    good = true(task, 2048)
    base = values(task, good)
    assert cast(float, base["mean-error"]) < 0.1
    assert base["log-det"] == pytest.approx(0, abs=0.15)
    assert cast(float, base["gaussian-w2"]) < 0.1
    assert cast(float, base["wasserstein"]) < 0.3
    once, twice = torch.ones(1, 2048, dtype=torch.float64), torch.full((1, 2048), 2.0, dtype=torch.float64)
    mean, covariance = (part[0] for part in moments(good.samples, torch.cat([once, twice])))
    assert base["mean-error"] == pytest.approx(float(mean.norm()))
    assert torch.allclose(covariance, torch.cov(good.samples.double().T))
    _, doubled = moments(good.samples, twice)
    assert torch.allclose(doubled[0], torch.cov(good.samples.double().repeat(2, 1).T))
    narrow = values(task, Arm("narrow", 0.5 * good.samples))
    assert narrow["log-det"] == pytest.approx(cast(float, base["log-det"]) + 4 * np.log(0.5))
    assert narrow["gaussian-w2"] == pytest.approx(float(task.density.covariance().trace()) ** 0.5 / 2, abs=0.05)
    assert narrow["wasserstein"] == pytest.approx(1.0, abs=0.1)
    moved = values(task, Arm("moved", good.samples + torch.tensor([3.0, 0.0])))
    assert moved["log-det"] == pytest.approx(base["log-det"], abs=1e-4)
    assert moved["gaussian-w2"] == pytest.approx(3, abs=0.1)
    assert covariance.shape == (2, 2)
    assert values(task, Arm("two", good.samples[:2]))["log-det"] is None


def test_mixture_metrics_at_true_samples_and_at_wrong_ones() -> None:
    task = Mixture()
    good = true(task, 4096)
    base = values(task, good)
    assert set(base) == {metric.name for metric in task.metrics()}
    assert base["inside"] == pytest.approx(0.98, abs=0.01)
    assert cast(float, base["class-accuracy"]) > 0.9
    assert cast(float, base["class-shares"]) < 0.03
    assert base["class-0-share"] == pytest.approx(0.25, abs=0.03)
    assert base["class-mmd"] == pytest.approx(0, abs=0.003)
    assert cast(float, base["component-kl"]) < 0.02
    assert base["mmd"] == pytest.approx(0, abs=0.003)
    assert cast(float, base["sliced-w2"]) < 0.06
    wrong = (cast(Tensor, good.condition) + 1) % 4
    mixed = values(task, Arm("mixed", good.samples, wrong))
    assert cast(float, mixed["class-accuracy"]) < 0.1
    assert cast(float, mixed["mmd"]) > 0.3  # each class is elsewhere,
    assert mixed["sliced-w2"] == base["sliced-w2"]  # and the whole as it was
    lost = cast(Tensor, good.condition) != 0
    fewer = values(task, Arm("fewer", good.samples[lost], cast(Tensor, good.condition)[lost]))
    assert fewer["class-shares"] == pytest.approx(0.25, abs=0.03)
    assert cast(float, fewer["class-0-share"]) < 0.01
    assert fewer["mmd"] == pytest.approx(0, abs=0.003)
    assert cast(float, fewer["component-kl"]) > 0.5
    far = values(task, Arm("far", good.samples + 30, good.condition))
    assert far["inside"] == 0
    assert far["mean-log-density"] == -50


def test_without_labels_classes_are_those_of_the_exact_densities() -> None:
    task = Mixture(labels=False)
    arm = true(task, 2048)
    found = values(task, arm)
    assert found["class-accuracy"] is None
    assert found["mmd"] == pytest.approx(0, abs=0.004)
    half = values(task, Arm("half", arm.samples[task.group_of(arm.samples) < 2]))
    assert cast(float, half["mmd"]) > 0.2
    assert half["class-mmd"] is None  # two classes have no sample


def test_quality_within_classes_does_not_count_their_shares() -> None:
    task = Mixture(classes=2, labels=False)
    arm = true(task, 8192)
    first = task.group_of(arm.samples) == 0
    kept = arm.samples[first | (torch.arange(8192) % 4 == 0)]
    found = values(task, Arm("shifted", kept))
    assert found["class-0-share"] == pytest.approx(0.8, abs=0.02)
    assert found["class-mmd"] == pytest.approx(0, abs=0.003)
    assert cast(float, found["mmd"]) > 0.05
    narrow = torch.where(first[:, None], arm.samples, 0.5 * arm.samples)  # class 1 alone is wrong
    assert cast(float, values(task, Arm("narrow", narrow))["class-mmd"]) > 0.02


def test_lines_of_the_figure_hold_their_shares() -> None:
    for task in (Gaussian(), Mixture()):
        lines = levels(task.density, (0.98, 0.5))
        heights = task.density.log_prob(true(task, 20_000, 9).samples.double())
        assert [float((heights >= line).double().mean()) for line in lines] == pytest.approx([0.98, 0.5], abs=0.01)
    peak = float(Gaussian().density.log_prob(torch.zeros(1, 2, dtype=torch.float64)))
    assert levels(Gaussian().density, (0.98,))[0] == pytest.approx(peak + np.log(0.02), abs=0.06)  # a closed form


def test_every_metric_says_what_it_is() -> None:
    for task in (Gaussian(), Mixture()):
        for metric in cast(Any, task.metrics()):
            assert isinstance(metric, Metric)
            assert metric.formula
            assert metric.better in ("higher", "lower", "truth")
