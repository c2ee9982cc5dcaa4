"""What a resumed training owes, and what a training depends on."""

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from gaussian import JESTER, AffineLeaf, GaussianData, LabelledLeaf, resumed, training
from torch import Tensor

from guideplug import (
    Cosine,
    Duration,
)
from guideplug.train import Training
from guideplug_early import Early
from guideplug_random import Random

torch.set_num_threads(1)


def remembered(now: Training) -> dict[str, Any]:
    """Everything that a training has learnt, without the seconds and the loss that is shown."""
    tensors, data = now.state()
    found = {name: tensor.clone() for name, tensor in tensors.items()}
    data["counters"].pop("seconds")
    data.pop("last_loss")  # a mean over the steps since somebody looked, and keeping the state is a look
    data["history"] = [[step, *counts] for step, _, *counts in data["history"]]
    return {**found, **data}


def same(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    return a.keys() == b.keys() and all(
        torch.equal(a[name], b[name]) if isinstance(a[name], Tensor) else a[name] == b[name] for name in a
    )


RESUMABLE: dict[str, dict[str, Any]] = {
    "adam": {},
    "adamw, two averages": {"optimizer": "adamw", "weight_decay": 0.1, "ema": (0.05, 0.2)},
    "sgd": {"optimizer": "sgd", "betas": (0.9, 0.0), "schedule": Cosine(), "warmup": 3},
    "sgd without momentum": {"optimizer": "sgd", "betas": (0.0, 0.0), "clip": 0.1},
    "early-jest by the rule": {"selector": Early(JESTER), "lr": 0.1},
    "early-jest, fixed": {"selector": Early(JESTER, until="3it"), "accumulate": 3},
    "jest": {"selector": JESTER, "optimizer": "adamw"},
    "condition dropout": {"labels": True, "condition_dropout": 0.4, "selector": Random(filter_ratio=0.3)},
    "layers that draw": {"drop": 0.5},
    "bf16": {"precision": "bf16"},
    "fp16": {"precision": "fp16", "clip": 0.1},
}


@pytest.mark.parametrize("case", RESUMABLE)
def test_stopped_at_any_step_and_resumed_it_ends_with_the_same_bits(case: str) -> None:
    changes = dict(RESUMABLE[case])
    labels, drop = changes.pop("labels", False), changes.pop("drop", 0.0)

    def fresh() -> Training:
        return training(LabelledLeaf() if labels else AffineLeaf(drop=drop), GaussianData(labels=labels), **changes)

    steps = 6
    whole = fresh()
    whole.run()
    expected = remembered(whole)
    if case == "early-jest by the rule":
        assert 1 < expected["counters"]["switched_off_at"] < steps
    for stop in range(1, steps + 1):
        first = fresh()
        first.run(until=Duration(stop, "it"))
        again = resumed(first, fresh)
        assert same(remembered(again), remembered(first))
        again.run()
        assert again.step == steps
        assert same(remembered(again), expected), f"stopped after step {stop}"
    half = resumed(fresh(), fresh)  # before the first step
    half.run()
    assert same(remembered(half), expected)


def test_a_training_depends_on_its_seed() -> None:
    ends = []
    for seed in (1, 1, 2):
        now = training(seed=seed)
        now.run()
        ends.append(now.learner.w.detach().clone())
    assert torch.equal(ends[0], ends[1])
    assert not torch.equal(ends[0], ends[2])


def test_the_global_generator_is_left_as_it_was_and_has_no_say() -> None:
    ends = []
    for seed in (3, 4):
        torch.manual_seed(seed)
        before = torch.random.get_rng_state()
        now = training(AffineLeaf(drop=0.5), selector=JESTER)
        now.run()
        assert torch.equal(before, torch.random.get_rng_state())
        ends.append(now.learner.w.detach().clone())
    assert torch.equal(*ends)


def test_layers_draw_anew_each_step() -> None:
    now = training(AffineLeaf(drop=0.5), optimizer="sgd", betas=(0.0, 0.0), duration="2it")
    masks = []
    now.learner.dropout.register_forward_hook(lambda module, args, out: masks.append(out == 0))
    now.run()
    assert not torch.equal(*masks)
