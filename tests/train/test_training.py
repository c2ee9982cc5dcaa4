"""Training against the formula written out; where it ends, what goes wrong, and in which precision."""

import copy
import itertools
import math
from collections.abc import Callable
from typing import Any, final

import pytest
import torch
from attrs import evolve
from gaussian import JESTER, SPACE, Chosen, GaussianData, draws, loss_by_hand, training
from torch import Tensor, nn

from guideplug import (
    Condition,
    Cosine,
    Duration,
    InverseSqrt,
    Leaf,
    LogNormal,
    Registry,
    Selector,
    Task,
)
from guideplug.config import Reader
from guideplug.errors import DivergenceError
from guideplug.train import Training
from guideplug_jest import JEST

torch.set_num_threads(1)


class AdamByHand:
    def __init__(self, size: int, betas: tuple[float, float], decay: float = 0.0, *, decoupled: bool = False) -> None:
        self.m, self.v, self.t, self.betas = torch.zeros(size).double(), torch.zeros(size).double(), 0, betas
        self.decay, self.decoupled = decay, decoupled

    def step(self, p: Tensor, g: Tensor, lr: float) -> Tensor:
        (b1, b2), self.t = self.betas, self.t + 1
        if self.decoupled:
            p = p * (1 - lr * self.decay)
        else:
            g = g + self.decay * p
        self.m, self.v = b1 * self.m + (1 - b1) * g, b2 * self.v + (1 - b2) * g**2
        return p - lr * (self.m / (1 - b1**self.t)) / ((self.v / (1 - b2**self.t)).sqrt() + 1e-8)


class MomentumByHand:
    def __init__(self, momentum: float) -> None:
        self.momentum, self.v = momentum, None

    def step(self, p: Tensor, g: Tensor, lr: float) -> Tensor:
        self.v = g if self.v is None else self.momentum * self.v + g
        return p - lr * self.v


RATES: dict[str, Callable[[int], float]] = {
    "plain": lambda t: 0.01,
    "warm": lambda t: 0.01 * min((t + 1) / 4, 1.0) / math.sqrt(max(t / 2, 1.0)),
    "cosine": lambda t: 0.01 * (0.1 + 0.9 * (1 + math.cos(math.pi * t / 6)) / 2),
}


CASES: list[tuple[str, dict[str, Any], str, Any]] = [
    ("plain", {}, "edm", AdamByHand(4, (0.9, 0.99))),
    ("plain", {"weighting": "score", "betas": (0.5, 0.9)}, "score", AdamByHand(4, (0.5, 0.9))),
    ("warm", {"warmup": 4, "schedule": InverseSqrt(2), "weighting": "uniform"}, "uniform", AdamByHand(4, (0.9, 0.99))),
    ("cosine", {"schedule": Cosine(0.1), "clip": 0.5}, "edm", AdamByHand(4, (0.9, 0.99))),
    ("plain", {"weight_decay": 0.3}, "edm", AdamByHand(4, (0.9, 0.99), 0.3)),
    (
        "plain",
        {"optimizer": "adamw", "weight_decay": 0.3},
        "edm",
        AdamByHand(4, (0.9, 0.99), 0.3, decoupled=True),
    ),
    ("plain", {"optimizer": "sgd", "betas": (0.8, 0.0), "clip": 0.7}, "edm", MomentumByHand(0.8)),
    ("plain", {"optimizer": "sgd", "betas": (0.0, 0.0)}, "edm", MomentumByHand(0.0)),
]


@pytest.mark.parametrize(("rate", "changes", "weighting", "optimizer"), CASES)
def test_steps_follow_the_formula_written_out(
    rate: str, changes: dict[str, Any], weighting: str, optimizer: Any
) -> None:
    now, optimizer = training(**changes), copy.deepcopy(optimizer)
    p = torch.cat([now.learner.w, now.learner.b]).detach().double()
    clipped = 0
    for step in range(6):
        examples, sigma = draws(now, step)
        p = p.requires_grad_()
        loss = loss_by_hand(p[:2], p[2:], examples, sigma, weighting).mean()
        (g,) = torch.autograd.grad(loss, p)
        clip = now.options.clip
        if clip is not None and g.norm() > clip:
            g, clipped = g * clip / g.norm(), clipped + 1
        assert now.learning_rate == pytest.approx(RATES[rate](step), rel=1e-12)
        p = optimizer.step(p.detach(), g, RATES[rate](step))
        now.run(until=Duration(step + 1, "it"))
        found = torch.cat([now.learner.w, now.learner.b]).detach().double()
        assert torch.allclose(found, p, rtol=1e-5, atol=1e-6)
        assert now.last_loss == pytest.approx(loss.item(), rel=1e-5)
    assert (clipped > 0) == (now.options.clip is not None)


def test_the_loss_of_each_example() -> None:
    now = training(weighting="score")
    examples, sigma = draws(now, 0)
    expected = loss_by_hand(now.learner.w.double(), now.learner.b.double(), examples, sigma, "score")
    found = now.options.loss.of(now.learner, examples, sigma, 0.7)
    assert torch.allclose(found.double(), expected, rtol=1e-4)
    rows = torch.tensor([4, 1])
    some = now.options.loss.of(now.learner, examples, sigma, 0.7, rows)
    assert torch.allclose(some, found[rows], rtol=1e-6)


def test_a_gaussian_is_learnt() -> None:
    """The best affine answer at one level: D = m + s^2 / (s^2 + sigma^2) (x - m)."""
    now = training(duration="400it", batch=512, lr=0.03, noise=LogNormal(math.log(0.5), 1e-6), schedule=Cosine())
    now.run()
    gain = 0.49 / (0.49 + 0.25)
    assert torch.allclose(now.learner.w / 1.25, torch.full((2,), gain), atol=0.02)
    assert torch.allclose(now.learner.b / 1.25, torch.tensor([1.0, -1.0]) * (1 - gain), atol=0.02)


@pytest.mark.parametrize("selector", [None, JEST(filter_ratio=0.5, num_chunks=4), Chosen((9, 2, 30), (1.0, 2.0, 0.5))])
@pytest.mark.parametrize("parts", [2, 4, 5, 64])
def test_accumulation_changes_nothing_but_rounding(selector: Selector | None, parts: int) -> None:
    whole, split = training(selector=selector), training(selector=selector, accumulate=parts)
    for now in (whole, split):
        now.run()
    for a, b in zip(whole.learner.parameters(), split.learner.parameters(), strict=True):
        assert torch.allclose(a, b, rtol=1e-5, atol=1e-6)
    assert (whole.counters.backpropagated, whole.counters.scored) == (
        split.counters.backpropagated,
        split.counters.scored,
    )
    most = max(len(x) for x, *_ in split.learner.asked)
    assert most <= math.ceil(32 / min(parts, 32))


# Where it ends


def test_durations() -> None:
    steps = training(duration="4it")
    steps.run()
    assert steps.step == 4
    examples = training(duration="100ex")  # 32 a step
    examples.run()
    assert (examples.step, examples.counters.backpropagated) == (4, 128)
    selected = training(duration="100ex", selector=JEST(filter_ratio=0.5, num_chunks=4))
    selected.run()
    assert (selected.step, selected.counters.backpropagated) == (7, 112)
    assert selected.done(Duration(7, "it"))
    assert not selected.done(Duration(8, "it"))
    selected.run()  # done is done
    assert selected.step == 7


def test_seconds_are_those_of_the_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = itertools.count()
    monkeypatch.setattr("guideplug.train.counters.time.perf_counter", lambda: float(next(clock)))
    now = training(duration="5s")
    now.run()  # a second each for data and learning
    assert now.step == 3
    assert now.counters.seconds == {"data": 3.0, "score": 0.0, "select": 0.0, "learn": 3.0}


def test_each_is_called_after_every_step_and_may_stop_it() -> None:
    now, steps = training(), []

    def each(training: Training) -> None:
        steps.append(training.step)
        if training.step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        now.run(each=each)
    assert steps == [1, 2, 3]
    now.run(each=lambda training: steps.append(training.step))
    assert steps == [1, 2, 3, 4, 5, 6]
    assert not now.learner.training


# What goes wrong


@pytest.mark.parametrize("at", [0, 4, 33])
@pytest.mark.parametrize("selector", [None, JESTER])
def test_a_loss_that_is_not_finite_is_named(at: int, selector: Selector | None) -> None:
    now = training(data=GaussianData(nan_at=at), duration="40it", selector=selector)
    _, sigma = draws(now, at)
    with pytest.raises(DivergenceError) as stopped:
        now.run()
    said = str(stopped.value)
    assert "'learner'" in said
    assert f"step {at} " in said
    assert f"sigma {float(sigma[3]):.4g}" in said
    assert "\n" not in said


def test_a_reference_that_is_not_finite_is_named() -> None:
    now = training(selector=JESTER)
    now.scoring.references["weak"].b.data.fill_(math.inf)
    with pytest.raises(DivergenceError, match=r"training 'learner' diverged: the loss of 'weak' that step 0 "):
        now.run()


def test_a_weight_that_is_not_finite_is_named_with_its_step() -> None:
    @final
    class Breaking(Leaf):
        def __init__(self) -> None:
            super().__init__(SPACE)
            self.w = nn.Parameter(torch.ones(()))
            self.steps = 0

        def denoise(self, x: Tensor, sigma: Tensor, condition: Condition) -> Tensor:
            return x * self.w

        def after_step(self) -> None:
            self.steps += 1
            if self.steps == 6:
                self.w.data.fill_(math.nan)

    with pytest.raises(DivergenceError, match=r"'learner' diverged: a weight is not finite after step 5;"):
        training(Breaking()).run()


@pytest.mark.parametrize("clip", [None, 1.0])
def test_a_gradient_that_is_not_finite_is_named_with_its_step(clip: float | None) -> None:
    @final
    class Steep(Leaf):
        """Its output is finite everywhere, and its slope is not where the weight is 0."""

        def __init__(self) -> None:
            super().__init__(SPACE)
            self.w = nn.Parameter(torch.ones(()))

        def denoise(self, x: Tensor, sigma: Tensor, condition: Condition) -> Tensor:
            return x * self.w.abs().sqrt()

    now = training(Steep(), clip=clip)

    def each(training: Training) -> None:
        if training.step == 3:
            now.learner.w.data.zero_()

    with pytest.raises(DivergenceError, match=r"'learner' diverged: the gradient of step 3 is not finite, and its "):
        now.run(each=each)


def test_an_average_that_is_not_finite_is_named() -> None:
    now = training(duration="5it")

    def each(training: Training) -> None:
        if training.step == 4:
            next(iter(now.averages.parameters(now.options.ema[0]).values())).fill_(math.inf)

    with pytest.raises(DivergenceError, match=r"'learner' diverged: an average of the weights is not finite after "):
        now.run(each=each)


# Precision


def test_bf16_runs_and_keeps_its_weights_in_full() -> None:
    fine, coarse = training(selector=JESTER), training(precision="bf16", selector=JESTER)
    fine.run()
    coarse.run()
    assert coarse.learner.w.dtype == torch.float32
    assert torch.allclose(fine.learner.w, coarse.learner.w, atol=0.05)


@pytest.mark.parametrize("task", ["tree", "tree(classes=both, labels=true)", "digits"])
def test_installed_networks_train_in_bf16(task: str) -> None:
    found: Task = Reader(Registry.installed()).expression(task, Task)
    recipe = found.recipe("main", None)
    ends = []
    for precision in ("fp32", "bf16"):
        changed = evolve(recipe.options, precision=precision, batch=8, duration=Duration(3, "it"))
        network = evolve(recipe, options=changed).build()
        now = Training(network, found, changed, seed=0)
        now.run()
        assert all(parameter.dtype == torch.float32 for parameter in network.parameters())
        ends.append(torch.cat([parameter.detach().flatten() for parameter in network.parameters()]))
    assert not torch.equal(*ends)
    assert torch.allclose(*ends, atol=0.1)
