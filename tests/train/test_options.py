"""Options of a training: dropped conditions, averages, schedules, and every refusal."""

import math
from typing import Any

import pytest
import torch
from gaussian import NULL, GaussianData, LabelledLeaf, draws, options, training, weight_of

from guideplug import (
    Condition,
    Constant,
    Cosine,
    InverseSqrt,
    TrainOptions,
)
from guideplug.errors import ConditionError, ConfigError, RecipeError
from guideplug.train.count import Reached
from guideplug.train.dropping import dropped
from guideplug.train.ema import power_gamma

torch.set_num_threads(1)


# Dropping conditions


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_the_share_of_conditions_is_dropped(share: float) -> None:
    now = training(LabelledLeaf(), GaussianData(labels=True), condition_dropout=share, batch=4000, duration="2it")
    now.run()
    dropped_rows = []
    for step, (x, _, condition, _) in enumerate(now.learner.asked):
        examples, _ = draws(now, step)
        null = condition == NULL
        assert torch.equal(x, examples.x)  # nothing else changes
        assert torch.equal(condition[~null], examples.condition[~null])
        dropped_rows.append(null)
        sd = math.sqrt(share * (1 - share) / 4000)
        assert abs(float(null.float().mean()) - share) <= 4 * sd
    assert share != 0.3 or not torch.equal(*dropped_rows)


def test_dropped_rows_of_tensors_and_dicts() -> None:
    drop = torch.tensor([True, False, True])
    labels = dropped(torch.tensor([0, 1, 2]), torch.tensor([9, 9, 9]), drop)
    assert labels.tolist() == [9, 1, 9]
    image = dropped(torch.ones(3, 1, 2, 2), torch.zeros(3, 1, 2, 2), drop)
    assert image.flatten(1).sum(1).tolist() == [0, 4, 0]
    text = {"text": torch.ones(3, 4, 2), "text_mask": torch.ones(3, 4, dtype=torch.bool)}
    null = {"text": torch.zeros(3, 4, 2), "text_mask": torch.zeros(3, 4, dtype=torch.bool)}
    both = dropped(text, null, drop)
    assert both["text"].sum((1, 2)).tolist() == [0, 8, 0]
    assert both["text_mask"].any(1).tolist() == [False, True, False]
    assert both["text_mask"].dtype == torch.bool


@pytest.mark.parametrize(
    ("condition", "null"),
    [(None, torch.zeros(2)), (torch.zeros(2), {"a": torch.zeros(2)}), ({"b": torch.zeros(2)}, {"a": torch.zeros(2)})],
)
def test_a_null_condition_of_another_kind_is_refused(condition: Condition, null: Condition) -> None:
    with pytest.raises(ConditionError, match="null condition is not of the kind"):
        dropped(condition, null, torch.tensor([True, False]))


def test_dropping_conditions_of_data_without_any_is_refused_in_one_line() -> None:
    with pytest.raises(ConditionError, match="no null condition"):
        training(condition_dropout=0.1).run()
    with pytest.raises(ConditionError, match="null condition is not of the kind"):
        training(LabelledLeaf(), GaussianData(), condition_dropout=0.1).run()


# Averages


def test_averages_of_several_lengths() -> None:
    now = training(ema=(0.05, 0.25))
    history = []
    now.run(each=lambda t: history.append(t.learner.w.detach().double().clone()))
    for length in (0.05, 0.25):
        gamma = power_gamma(length)
        average = history[0]
        for t, weights in enumerate(history[1:], start=2):
            beta = (1 - 1 / t) ** (gamma + 1)
            average = beta * average + (1 - beta) * weights
        assert torch.allclose(now.weights(length)["w"].double(), average, rtol=1e-5)
    assert torch.equal(now.weights()["w"], now.weights(0.05)["w"])
    assert not torch.equal(now.weights(0.25)["w"], now.weights(0.05)["w"])
    with pytest.raises(KeyError):
        now.weights(0.1)


@pytest.mark.parametrize("length", [0.01, 0.05, 0.1, 0.28])
def test_the_profile_of_an_average_has_its_length(length: float) -> None:
    """Weight t^gamma has the relative width sigma_rel = sqrt(gamma + 1) / ((gamma + 2) sqrt(gamma + 3))."""
    gamma = power_gamma(length)
    assert math.sqrt(gamma + 1) / ((gamma + 2) * math.sqrt(gamma + 3)) == pytest.approx(length, rel=1e-9)
    assert gamma >= 0


# Options


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"batch": 0}, "batch"),
        ({"lr": 0.0}, "lr"),
        ({"lr": -1.0}, "lr"),
        ({"lr": math.nan}, "lr"),
        ({"lr": math.inf}, "lr"),
        ({"betas": (0.9, 1.5)}, "betas"),
        ({"betas": (0.9, 1.0)}, "betas"),
        ({"betas": (math.nan, 0.9)}, "betas"),
        ({"weight_decay": -0.1}, "weight_decay"),
        ({"warmup": -1}, "warmup"),
        ({"clip": 0.0}, "clip is 0.0"),
        ({"clip": math.nan}, "clip is nan"),
        ({"accumulate": 0}, "accumulate"),
        ({"condition_dropout": 1.5}, "condition_dropout"),
        ({"ema": ()}, "ema is empty"),
        ({"ema": (0.4,)}, "ema"),
        ({"ema": (0.05, 0.0)}, "ema|EMA length"),
        ({"duration": "0it"}, "must be positive"),
        ({"duration": "1.5it"}, "whole numbers"),
    ],
)
def test_options_that_are_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        options(**changes)


def test_a_duration_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match="no duration"):
        options(duration="soon")


def test_the_longest_average_and_the_ends_of_betas_are_taken() -> None:
    training(ema=(12.0**-0.5,), betas=(0.0, 0.999)).run()


def test_schedules() -> None:
    assert [Constant().factor(Reached(step, 0), 0.5) for step in (0, 10**6)] == [1.0, 1.0]
    root = InverseSqrt(512)
    assert [root.factor(Reached(step, 0), 0.5) for step in (0, 511, 512, 2048)] == [1.0, 1.0, 1.0, 0.5]
    cosine = Cosine(0.2)
    assert [cosine.factor(Reached(7, 0), progress) for progress in (0, 0.5, 1, 2)] == pytest.approx(
        [1.0, 0.6, 0.2, 0.2]
    )
    with pytest.raises(RecipeError, match="needs to know where a training ends"):
        TrainOptions(duration="9s", batch=4, schedule=cosine).check()
    TrainOptions(duration="9kex", batch=4, schedule=cosine).check()
    with pytest.raises(ValueError, match="after"):
        InverseSqrt(0)
    with pytest.raises(ValueError, match="end"):
        Cosine(1.5)


def test_loss_weights() -> None:
    sigma = torch.tensor([0.1, 2.0], dtype=torch.float64)
    for weighting in ("edm", "score", "uniform"):
        found = options(weighting=weighting).loss.weight(sigma, 0.7)
        assert torch.allclose(found, weight_of(weighting, sigma), rtol=1e-12)
