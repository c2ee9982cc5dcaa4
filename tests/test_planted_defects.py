"""Defects, planted one by one in strategies that are right: the kit names the law that each breaks, and none of a twin.

What stands here is what authors do by mistake. Each function of a defect returns what the kit says of it.
"""

import os
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, final

import numpy as np
import pytest
import torch
from attrs import define, evolve, frozen
from torch import Tensor, nn

from guideplug import (
    Arm,
    CandidateRequest,
    Combine,
    Condition,
    Context,
    Denoiser,
    Domain,
    Examples,
    Guider,
    Leaf,
    Level,
    Listener,
    Losses,
    Metric,
    Network,
    Observer,
    Recipe,
    Registry,
    Reward,
    RunInfo,
    Sampler,
    SampleStreams,
    Selection,
    Selector,
    SelectorState,
    Space,
    Start,
    State,
    Task,
    TrainingStreams,
    WeightInput,
    WeightSchedule,
    noised,
    option,
    sigma_grid,
)
from guideplug.testing.guided import Guided
from guideplug.testing.guiders import GUIDER
from guideplug.testing.imports import IMPORT, imported
from guideplug.testing.kit import Kit
from guideplug.testing.law import Laws
from guideplug.testing.metrics import METRIC, Measuring
from guideplug.testing.networks import NETWORK, NetworkCase
from guideplug.testing.observers import OBSERVER, Observing
from guideplug.testing.recipes import RECIPE
from guideplug.testing.rewards import REWARD, RewardCase
from guideplug.testing.samplers import SAMPLER, Sampling
from guideplug.testing.schedules import SCHEDULE
from guideplug.testing.selectors import SELECTOR, Selecting
from guideplug.testing.strategies import STRATEGY
from guideplug.testing.tasks import TASK, TaskCase
from guideplug.testing.toys import LineDenoiser, Normal, Straight

torch.set_num_threads(1)


def broken(laws: Laws[Any], subject: Any) -> dict[str, str]:
    """The laws that do not hold, with the reasons; each says what to do."""
    with torch.random.fork_rng(devices=[]):
        found = [finding for finding in laws.findings(subject) if not finding.holds]
    assert all(finding.fix for finding in found)
    return {finding.law: finding.reason or "" for finding in found}


Row = Callable[[Sequence[Tensor], Tensor, Level], Tensor]


# Guiders


@final
@frozen
class Guides(Guider):
    """Away from a weak network: right without a defect."""

    name = "guides"
    weight: float | WeightSchedule = option(2.0, help="guidance weight; 1 is off")
    defect: str = option("", help="what is wrong")

    def needs(self, task: Task, main: Recipe) -> Mapping[str, Any]:
        return {} if self.defect == "needs" else {"weak": None}

    def guide(self, base: Denoiser, models: Mapping[str, Denoiser]) -> Denoiser:
        weak, w = models["weak"], self.weight
        if not isinstance(w, float):
            return base + (w - 1) * (base - weak)
        right = base + (w - 1) * (base - weak)
        if self.defect in GUIDE:
            return GUIDE[self.defect](base, weak, w)
        if self.defect in ROWS:
            function = ROWS[self.defect]
            return Combine([right], lambda outputs, x, sigma: function(outputs, x, sigma))
        return right


def _leaking() -> Row:
    last: list[Tensor] = []

    def function(outputs: Sequence[Tensor], x: Tensor, sigma: Level) -> Tensor:
        before = last[-1] if last and last[-1].shape == outputs[0].shape else outputs[0]
        last[:] = [outputs[0]]
        return outputs[0] + 0.1 * (before - outputs[0])

    return function


class _CalledByHand(Leaf):
    """A denoiser that calls others itself, behind the planner's back."""

    def __init__(self, base: Denoiser, weak: Denoiser, weight: float) -> None:
        super().__init__(base.space)
        self.parts, self.weight = (base, weak), weight

    def denoise(self, x: Tensor, sigma: Tensor, condition: Condition) -> Tensor:
        base, weak = (part(x, sigma, condition) for part in self.parts)
        denoised: Tensor = base + (self.weight - 1) * (self.parts[0](x, sigma, condition) - weak)
        return denoised


GUIDE: dict[str, Callable[[Denoiser, Denoiser, float], Denoiser]] = {
    "not affine": lambda base, weak, w: base + (w - 1) * abs(w) * (base - weak),
    "half as strong": lambda base, weak, w: base + (w - 0.5) * (base - weak),
    "called when off": lambda base, weak, w: Combine(
        [base, weak], lambda outputs, x, sigma: outputs[0] if w == 1 else outputs[0] * w + outputs[1] * (1 - w)
    ),
    "called nearly off": lambda base, weak, w: (
        base if w == 1 else Combine([base, weak], lambda outputs, x, sigma: outputs[0] * w + outputs[1] * (1 - w))
    ),
    "called at 0": lambda base, weak, w: (
        base
        if abs(w - 1) < 1e-9
        else Combine([base, weak], lambda outputs, x, sigma: outputs[1] + w * (outputs[0] - outputs[1]))
    ),
    "called by hand": lambda base, weak, w: base if abs(w - 1) < 1e-9 else _CalledByHand(base, weak, w),
    "state": lambda base, weak, w: Combine([base + (w - 1) * (base - weak)], _leaking()),
    "no denoiser": lambda base, weak, w: base - weak,  # type: ignore[dict-item,return-value]
}


def _batch_mean(outputs: Sequence[Tensor], x: Tensor, sigma: Level) -> Tensor:
    return outputs[0] + 0.1 * (outputs[0] - outputs[0].mean(0))


def _first_row(outputs: Sequence[Tensor], x: Tensor, sigma: Level) -> Tensor:
    return outputs[0] + 0.1 * torch.arange(len(x)).reshape(-1, *[1] * (x.ndim - 1)) / len(x)


def _in_place(outputs: Sequence[Tensor], x: Tensor, sigma: Level) -> Tensor:
    x.mul_(1.5)
    return outputs[0]


def _levels_in_place(outputs: Sequence[Tensor], x: Tensor, sigma: Level) -> Tensor:
    if isinstance(sigma, Tensor):
        sigma.mul_(2)
    return outputs[0]


def _looked_at(outputs: Sequence[Tensor], x: Tensor, sigma: Level) -> Tensor:
    return outputs[0] if float(outputs[0].abs().max()) < 1e6 else outputs[0].clamp(-1, 1)


ROWS: dict[str, Row] = {
    "batch order": _first_row,
    "batch split": _batch_mean,
    "in place": _in_place,
    "levels in place": _levels_in_place,
    "torch's generator": lambda outputs, x, sigma: outputs[0] + 0 * torch.rand(()),
    "NumPy's generator": lambda outputs, x, sigma: outputs[0] + 0 * float(np.random.rand()),  # noqa: NPY002
    "Python's generator": lambda outputs, x, sigma: outputs[0] + 0 * random.random(),
    "wrong type": lambda outputs, x, sigma: outputs[0].float(),
    "wrong device": lambda outputs, x, sigma: outputs[0] + torch.zeros(x.shape, dtype=x.dtype, device="cpu"),
    "looks at values": _looked_at,
    "levels of one": lambda outputs, x, sigma: (
        outputs[0] * (1 + (float(sigma.reshape(-1)[0]) if isinstance(sigma, Tensor) else sigma) * 0.1)
    ),
    "not finite": lambda outputs, x, sigma: outputs[0] / 0,
}

GUIDERS = [
    ("not affine", "the result is affine in the weight"),
    ("half as strong", "weight 1 is the base, bit for bit"),
    ("called when off", "weight 1 calls no guide"),
    ("called nearly off", "a weight within rounding of 1 calls no guide"),
    ("called at 0", "weight 0 does not call a base that does not count"),
    ("called by hand", "each network is called at most once per evaluation, and once for each view of it"),
    ("state", "nothing is kept from one trajectory for another"),
    ("no denoiser", "a guided denoiser is a denoiser"),
    ("not finite", "a guided denoiser is a denoiser"),
    ("needs", "it says in needs, or in may_use, which networks it asks for"),
    ("batch order", "the result does not depend on the order of the batch"),
    ("batch split", "the result does not depend on how the batch is split"),
    ("in place", "inputs are not changed"),
    ("levels in place", "inputs are not changed"),
    ("torch's generator", "no draw from a global generator"),
    ("NumPy's generator", "no draw from a global generator"),
    ("Python's generator", "no draw from a global generator"),
    ("wrong type", "the result has the type of x"),
    ("wrong device", "the result is on the device of x, and no value of it is looked at"),
    ("looks at values", "the result is on the device of x, and no value of it is looked at"),
    ("levels of one", "a tensor of levels gives what the float gives"),
]


def guided(defect: str) -> Guided:
    return Guided(lambda weight=2.0: Guides(weight, defect=defect), shape=(3,))


def test_the_right_guider_keeps_all_laws() -> None:
    assert broken(STRATEGY, Guides()) == {}
    assert broken(GUIDER, guided("")) == {}


@pytest.mark.parametrize(("defect", "law"), GUIDERS)
def test_a_guiders_defect(defect: str, law: str) -> None:
    assert law in broken(GUIDER, guided(defect))


def test_the_reason_names_the_generator() -> None:
    for whose in ("torch's", "NumPy's", "Python's"):
        found = broken(GUIDER, guided(f"{whose} generator"))
        assert found["no draw from a global generator"] == f"something was drawn from {whose} global generator"


def test_a_wrong_line_is_named() -> None:
    reason = broken(GUIDER, guided("no denoiser"))["a guided denoiser is a denoiser"]
    assert reason == "guide() returned a Direction"
    device = broken(GUIDER, guided("looks at values"))[
        "the result is on the device of x, and no value of it is looked at"
    ]
    assert "in test_planted_defects.py, line " in device


# What all strategies owe


@final
@frozen
class Right(Selector):
    """Half of the candidates, by their losses."""

    name = "right"
    share: float = option(0.5, help="how many")
    defect: str = option("", help="what is wrong")
    memory: ClassVar[list[int]] = []

    def init(self) -> SelectorState:
        return {"steps": 0, "seen": []}

    def plan(self, batch: int, state: SelectorState) -> CandidateRequest:
        return CandidateRequest(2 * batch if self.defect == "too many" else batch, learner=True)

    def select(
        self, losses: Losses, state: SelectorState, generator: torch.Generator
    ) -> tuple[Selection, SelectorState]:
        assert losses.learner is not None
        defect, count = self.defect, losses.count // 2
        p = losses.learner.double().softmax(0)
        after: dict[str, Any] = {"steps": state["steps"] + 1, "seen": [*state["seen"], count]}
        if defect == "losses in place":
            losses.learner.sub_(1.0)
        if defect == "state in place":
            state["seen"].append(count)
        if defect == "state is no data":
            after["seen"] = p
        if defect == "a set in the state":
            after["seen"] = {1, 2}
        chosen = torch.multinomial(p, count, generator=None if defect == "draws globally" else generator)
        if defect == "duplicates":
            chosen[0] = chosen[1]
        if defect == "out of range":
            chosen[0] = losses.count
        if defect == "int32":
            chosen = chosen.int()
        if defect == "keeps state":
            self.memory.append(1)
            chosen = chosen.roll(len(self.memory))
        if defect == "more losses" and losses.reference is not None:
            chosen = chosen.flip(0)
        if defect == "more losses in p" and losses.reference is not None:
            p = losses.reference.double().softmax(0)
        weights = torch.ones(len(chosen) - 1) if defect == "weights" else None
        if defect == "sum":
            p = p * 1.01
        if defect == "negative":
            p = p - p.mean() + 1 / len(p)
            p[0], p[1] = p[0] - 1, p[1] + 1
        if defect == "too few":
            p = p[1:] / p[1:].sum()
        importance = (lambda: torch.ones(len(chosen))) if defect in ("biased", "unsaid") else None
        return Selection(chosen, weights, p, importance), after

    def has_importance(self) -> bool:
        return self.defect == "biased"


SELECTORS = [
    ("too many", "the plan draws at least one and at most a super-batch"),
    ("duplicates", "indices are distinct, of type int64 and in range; weights are one finite number each"),
    ("out of range", "indices are distinct, of type int64 and in range; weights are one finite number each"),
    ("int32", "indices are distinct, of type int64 and in range; weights are one finite number each"),
    ("weights", "indices are distinct, of type int64 and in range; weights are one finite number each"),
    ("sum", "probabilities are a distribution over all candidates"),
    ("negative", "probabilities are a distribution over all candidates"),
    ("too few", "probabilities are a distribution over all candidates"),
    ("losses in place", "losses are not changed"),
    ("draws globally", "no draw from a global generator"),
    ("keeps state", "the same losses, state and generator give the same selection"),
    ("more losses", "the choice does not depend on losses that the plan does not ask for"),
    ("more losses in p", "the choice does not depend on losses that the plan does not ask for"),
    ("state in place", "the state is not changed in place"),
    ("state is no data", "the state survives JSON"),
    ("a set in the state", "the state survives JSON"),
    ("unsaid", "a selection says importance if and only if has_importance()"),
    ("biased", "importance estimates the mean over all candidates without bias"),
]


def test_the_right_selector_keeps_all_laws() -> None:
    assert broken(STRATEGY, Right()) == {}
    assert broken(SELECTOR, Selecting(Right())) == {}


@pytest.mark.parametrize(("defect", "law"), SELECTORS)
def test_a_selectors_defect(defect: str, law: str) -> None:
    found = broken(SELECTOR, Selecting(Right(defect=defect)))
    assert law in found
    assert "\n" not in found[law]


class _Plain(Selector):
    def plan(self, batch: int, state: SelectorState) -> CandidateRequest:
        return CandidateRequest(batch)

    def select(self, losses: Losses, state: SelectorState, generator: torch.Generator) -> Any:
        return Selection(torch.arange(losses.count)), state


@final
@define(slots=False)
class Thawed(_Plain):
    """Its options can be changed."""

    name = "thawed"
    share: float = option(0.5, help="how many")


@final
@frozen
class Unsaid(_Plain):
    """An option that nobody explains."""

    name = "unsaid"
    share: float = 0.5


@frozen
class Open(_Plain):
    """Others may derive from it."""

    name = "open"


@final
@frozen
class Silent(_Plain):
    name = "silent"


@final
class Bare(_Plain):
    """No attrs class."""

    name = "bare"


@final
@frozen
class Unwritten(_Plain):
    """An option that is not what it is read as."""

    name = "unwritten"
    share: float = option(0.5, help="how many", converter=lambda value: value / 2)


@pytest.mark.parametrize(
    ("strategy", "law"),
    [
        (Thawed(), "it is frozen"),
        (Unsaid(), "every option has a help text"),
        (Open(), "it is final"),
        (Silent(), "it says in a line what it is"),
        (Bare(), "it is an attrs class"),
        (Unwritten(), "it equals itself after being written as an expression and read"),
    ],
)
def test_what_a_strategy_owes(strategy: Selector, law: str) -> None:
    assert list(broken(STRATEGY, strategy)) == [law]


# Samplers


@final
@frozen
class Steps(Sampler):
    """Euler's method: right without a defect."""

    name = "steps"
    defect: str = option("", help="what is wrong")

    def sigmas(self, denoiser: Denoiser) -> list[float]:
        grid = sigma_grid(24, denoiser.space.sigma_min, denoiser.space.sigma_max)
        return grid[:-1] if self.defect == "no end" else grid

    def steps(
        self, denoiser: Denoiser, x: Tensor, condition: Condition = None, streams: SampleStreams | None = None
    ) -> Iterator[State]:
        defect, sigmas = self.defect, self.sigmas(denoiser)
        if defect != "not begun":
            denoiser = denoiser.trajectory()
        if defect == "in place":
            x.mul_(1.0001)
        steps = len(sigmas) - 1
        for i in range(steps):
            sigma, after = sigmas[i], sigmas[i + 1]
            beyond = sigmas[min(i + 2, steps)]
            toward = {"no toward": None, "toward itself": sigma, "toward the next but one": beyond}.get(defect, after)
            level: Any = torch.full((len(x),), sigma) if defect == "tensors" else sigma
            given = None if defect == "forgets the condition" else condition
            step = {"no step": None, "another step": (sigma, 0.5 * sigma)}.get(defect, (sigma, after))
            denoised = denoiser(x, level, given, toward=toward, step=step)
            if defect == "more calls" and float(denoised.mean()) > 0.2:
                denoised = denoiser(x, level, given, toward=toward, step=step)
            slope = (x - denoised) / sigma
            if defect == "too far":
                slope = slope * 1.02
            x = x + (after - sigma) * slope
            if defect == "draws globally":
                x = x + 1e-4 * torch.randn(x.shape)
            if defect == "of the batch":
                x = x - 0.01 * x.mean(0) / steps
            if defect == "wrong type":
                x = x.float()
            if defect == "wrong device":
                x = x + torch.zeros(x.shape, dtype=x.dtype, device="cpu")
            if defect == "shifted":
                x = x + 0.01
            yield State(i + 1, steps, sigma if defect == "last state" else after, x)


SAMPLERS = [
    ("no end", "levels fall, and end at 0"),
    ("in place", "the start is not changed"),
    ("draws globally", "no draw from a global generator"),
    ("draws globally", "the same start and streams give the same samples"),
    ("shifted", "samples of a Gaussian have its mean"),
    ("too far", "samples of a Gaussian have its standard deviation"),
    ("of the batch", "a sample alone is the sample in a batch"),
    ("last state", "the last state is the end, at sigma 0"),
    ("not begun", "the trajectory is begun once"),
    ("forgets the condition", "the condition is passed on"),
    ("tensors", "levels are floats, above 0"),
    ("no toward", "each evaluation says the level that it is on its way to"),
    ("toward itself", "each evaluation says the level that it is on its way to"),
    ("toward the next but one", "each evaluation says the level that it is on its way to"),
    ("no step", "each evaluation says the step that it belongs to"),
    ("another step", "each evaluation says the step that it belongs to"),
    ("more calls", "what is planned is what is called"),
    ("wrong type", "samples have the type of the start"),
    ("wrong device", "samples are on the device of the start, and no value of them is looked at"),
]


def test_the_right_sampler_keeps_all_laws() -> None:
    assert broken(STRATEGY, Steps()) == {}
    assert broken(SAMPLER, Sampling(Steps())) == {}


@pytest.mark.parametrize(("defect", "law"), SAMPLERS)
def test_a_samplers_defect(defect: str, law: str) -> None:
    assert law in broken(SAMPLER, Sampling(Steps(defect=defect)))


# Networks


class _Net(Leaf):
    def __init__(self, space: Space, defect: str) -> None:
        super().__init__(space)
        self.layer, self.defect = nn.Linear(space.shape[-1], space.shape[-1]), defect
        self.kept = torch.rand(()) if defect == "state outside" else torch.zeros(())
        self.register_buffer("zero", torch.zeros(()))
        self.calls = 0

    zero: Tensor

    def denoise(self, x: Tensor, sigma: Tensor, condition: Condition) -> Tensor:
        defect = self.defect
        if defect == "in place":
            x.mul_(1.5)
        if defect == "levels in place":
            sigma.mul_(2)
        level = sigma[:, None]
        denoised = (x + self.layer(x)) / (1 + level**2)
        if defect == "wrong shape":
            return denoised[:, :1]
        if defect == "wrong type":
            return denoised.float() if x.dtype == torch.float64 else denoised.double()
        if defect == "single precision":
            return denoised.float()
        if defect == "low levels":
            return denoised / (level > 0.01)
        if defect == "batch":
            return denoised - 0.1 * denoised.mean(0)
        if defect == "one level":
            return (x + self.layer(x)) / (1 + float(sigma[0]) ** 2)
        if defect == "draws":
            return denoised + 0 * torch.rand(())
        if defect == "counts":
            self.calls += 1
            return denoised * self.calls
        if defect == "wrong device":
            return denoised + torch.zeros(x.shape, dtype=x.dtype, device="cpu")
        return denoised + self.kept.to(x) if defect == "state outside" else denoised


@final
@frozen
class Builds(Network):
    """A linear layer: right without a defect."""

    name = "builds"
    defect: str = option("", help="what is wrong")

    def build(self, domain: Domain) -> Leaf:
        space = evolve(domain.space, sigma_max=1.0) if self.defect == "range" else domain.space
        net = _Net(space, self.defect)
        if self.defect == "labels":
            net.num_labels = 3
        if self.defect == "seed":
            torch.nn.init.uniform_(net.layer.weight, generator=torch.Generator().manual_seed(random.getrandbits(32)))
        return net


NETWORKS = [
    ("range", "it builds a denoiser of the domain's space"),
    ("labels", "what it builds knows the labels"),
    ("seed", "equal seeds build equal networks"),
    ("seed", "building leaves global generators alone"),
    ("wrong shape", "one clean sample for each noisy one, over the whole range of levels"),
    ("wrong type", "one clean sample for each noisy one, over the whole range of levels"),
    ("low levels", "one clean sample for each noisy one, over the whole range of levels"),
    ("single precision", "it answers in the type of its parameters"),
    ("wrong device", "it answers on the device of its parameters, and looks at no value"),
    ("batch", "rows do not depend on each other"),
    ("one level", "the level is its own for each row"),
    ("draws", "no draw from a global generator when it answers"),
    ("counts", "the same inputs give the same answer"),
    ("in place", "inputs are not changed"),
    ("levels in place", "inputs are not changed"),
    ("state outside", "its state is all that there is to it"),
]


def test_the_right_network_keeps_all_laws() -> None:
    assert broken(STRATEGY, Builds()) == {}
    assert broken(NETWORK, NetworkCase(Builds(), Normal())) == {}


@pytest.mark.parametrize(("defect", "law"), NETWORKS)
def test_a_networks_defect(defect: str, law: str) -> None:
    assert law in broken(NETWORK, NetworkCase(Builds(defect=defect), Normal()))


# Tasks


@final
@frozen
class Has(Task):
    """Points of a normal distribution: right without a defect."""

    name = "has"
    defect: str = option("", help="what is wrong")
    right: ClassVar[Normal] = Normal()
    asked: ClassVar[list[int]] = []

    @property
    def space(self) -> Space:
        return self.right.space

    def draw(self, sigma: Tensor, streams: TrainingStreams) -> Examples:
        if self.defect == "levels in place":
            sigma.mul_(2)
        if self.defect == "draws globally":
            return noised(torch.randn(len(sigma), 2), sigma, streams)
        examples = self.right.draw(sigma, TrainingStreams(0, 0) if self.defect == "one step" else streams)
        if self.defect == "shape":
            return evolve(examples, target=examples.target[:, :1])
        if self.defect == "counts":
            self.asked.append(1)
            return evolve(examples, x=examples.x + len(self.asked))
        return evolve(examples, group=torch.full((len(sigma),), 2)) if self.defect == "groups" else examples

    def groups(self) -> Sequence[str]:
        return ("one", "two") if self.defect == "groups" else ()

    @property
    def num_labels(self) -> int | None:
        return 2 if self.defect == "labels" else None

    def start(self, streams: SampleStreams, sigma: float) -> Start:
        if self.defect == "starts of the batch":
            generator = torch.Generator().manual_seed(streams.seed)
            return Start(sigma * torch.randn(len(streams), 2, generator=generator))
        return self.right.start(streams, sigma)

    def recipe(self, role: str, main: Recipe | None) -> Recipe | None:
        return None if self.defect == "no recipe" else self.right.recipe(role, main)

    def sampler(self) -> str:
        return self.right.sampler()

    def fingerprint(self) -> str:
        if self.defect == "fingerprint":
            self.asked.append(1)
        return f"data {len(self.asked)}" if self.defect == "fingerprint" else "data"

    def truth(self, count: int, sampler: Sampler, seed: int) -> Sequence[Arm]:
        if self.defect == "truth":
            return [Arm("truth", torch.randn(count, 2, generator=torch.Generator().manual_seed(random.getrandbits(9))))]
        return self.right.truth(count, sampler, seed)

    def metrics(self) -> Sequence[Metric]:
        return self.right.metrics() if self.defect != "metrics" else [*self.right.metrics(), *self.right.metrics()]

    def primary(self) -> Sequence[str]:
        named = self.right.primary()
        return {"stranger": ("nobody's",), "twice": (*named, *named)}.get(self.defect, named)

    def figure(self, arms: Sequence[Arm], path: Path) -> None:
        if self.defect != "figure":
            self.right.figure(arms, path)


TASKS = [
    ("shape", "examples have the shape of the data"),
    ("levels in place", "levels are not changed"),
    ("draws globally", "no draw from a global generator"),
    ("counts", "equal streams give equal examples"),
    ("one step", "another step gives other examples"),
    ("groups", "each example's group is the number of a name"),
    ("starts of the batch", "a start alone is the start in a batch"),
    ("no recipe", "the main network's recipe builds a denoiser of its space"),
    ("fingerprint", "what identifies the data is the same each time"),
    ("truth", "there are true samples, decided by the seed"),
    ("metrics", "metrics have distinct names"),
    ("stranger", "primary metrics are named once per aspect, and can be resampled"),
    ("twice", "primary metrics are named once per aspect, and can be resampled"),
    ("figure", "the figure is a PNG"),
    ("labels", "it says how many labels its conditions choose from"),
]


def test_the_right_task_keeps_all_laws() -> None:
    assert broken(STRATEGY, Has()) == {}
    assert broken(TASK, TaskCase(Has())) == {}


@pytest.mark.parametrize(("defect", "law"), TASKS)
def test_a_tasks_defect(defect: str, law: str) -> None:
    assert law in broken(TASK, TaskCase(Has(defect=defect)))


# Metrics


class _Measures(Metric):
    better, aspect = "lower", "fidelity"
    formula = "mean of |x|^2"

    def measure(self, arm: Arm, context: Context) -> float | None:
        return float(arm.samples.square().mean())


@final
@frozen
class Measures(_Measures):
    """Right."""

    name = "measures"


def metric(defect: str, **changes: Any) -> Metric:
    """A metric with some of its class's attributes changed."""
    return frozen(type(defect, (_Measures,), {"name": defect, "__doc__": "Wrong.", **changes}))()  # type: ignore[no-any-return]


def _sorted(self: Metric, arm: Arm, context: Context) -> float:
    values = arm.samples[:, 0]
    values.copy_(values.sort().values)
    return float(values[0] ** 2)


def _changes_references(self: Metric, arm: Arm, context: Context) -> float:
    context.references["truth"].samples.sub_(1.0)
    return 0.0


METRICS = [
    (metric("way", better="upwards"), "it says which way is better, of which aspect, and by which formula"),
    (metric("silent", formula=""), "it says which way is better, of which aspect, and by which formula"),
    (metric("tensor", measure=lambda self, arm, context: arm.samples.mean()),
     "the value is a number, or None where there is none"),
    (metric("nan", measure=lambda self, arm, context: float("nan")), "the value of true samples is finite"),
    (metric("draws", measure=lambda self, arm, context: float(torch.rand(()))), "the same samples have the same value"),
    (metric("global", measure=lambda self, arm, context: 0 * random.random()), "no draw from a global generator"),
    (metric("sorts", measure=_sorted), "samples are not changed"),
    (metric("references", measure=_changes_references), "samples are not changed"),
    (metric("reversed", better="higher"), "what is better is better"),
    (metric("unweighted", resampler=lambda self, arm, context: lambda weights: weights.mean(1)),
     "its resampler gives what it measures of repeated samples"),
    (metric("flat", resampler=lambda self, arm, context: lambda weights: weights.sum()),
     "its resampler gives what it measures of repeated samples"),
]  # fmt: skip


def test_the_right_metric_keeps_all_laws() -> None:
    assert broken(STRATEGY, Measures()) == {}
    assert broken(METRIC, Measuring(Measures(), Normal())) == {}


@pytest.mark.parametrize(("wrong", "law"), METRICS, ids=lambda value: value.name if isinstance(value, Metric) else "")
def test_a_metrics_defect(wrong: Metric, law: str) -> None:
    assert law in broken(METRIC, Measuring(wrong, Normal()))


# Weight schedules, rewards, recipes, observers


class _Falls(WeightSchedule):
    @property
    def least(self) -> float:
        return 1.0

    def at(self, at: WeightInput) -> Level:
        return 1.0 + 1.0 / (1.0 + at.sigma)


@pytest.mark.parametrize(
    ("at", "law"),
    [
        (lambda self, at: 1.0 + 1.0 / (1.0 + at.sigma), None),
        (lambda self, at: torch.as_tensor(2.0), "a float gives a float"),
        (lambda self, at: at.sigma * float("inf"), "weights are finite"),
        (lambda self, at: 0.5 + 0.0 * at.sigma, "no weight is below least"),
        (lambda self, at: 2.0, "a tensor gives a tensor of its shape"),
        (lambda self, at: 1.0 + (at.sigma if (at.sigma > 1e4).all() else 0 * at.sigma) if isinstance(at.sigma, Tensor)
         else 1.0, "a tensor is not looked into"),
        (lambda self, at: 3.0 if isinstance(at.sigma, float) else 2.0 + 0 * at.sigma,
         "a float and a tensor give one weight"),
        (lambda self, at: 2.0 + 0.0 * at.sigma + random.random(), "no draw from a global generator"),
    ],
)  # fmt: skip
def test_a_schedules_defect(at: Any, law: str | None) -> None:
    found = broken(SCHEDULE, frozen(type("Schedule", (_Falls,), {"name": "schedule", "at": at}))())
    assert found == {} if law is None else law in found


def test_a_rewards_defect() -> None:
    class Likes(Reward):
        """Small samples."""

        name = "likes"

        def score(self, x0: Tensor, condition: Condition) -> Tensor:
            return -x0.square().sum(1) + x0.mean()

    found = broken(REWARD, RewardCase(Likes(), torch.randn(4, 2, generator=torch.Generator().manual_seed(0))))
    assert list(found) == ["a score does not depend on the other samples"]


@final
@frozen
class Gives(Recipe):
    """A linear layer whose first weights nobody decides."""

    name = "gives"
    seed: int | None = option(None, help="decides the weights")

    def build(self) -> nn.Module:
        return LineDenoiser(Space((2,)), self.seed)

    def make(self, module: nn.Module, builder: Any) -> Mapping[str, Any]:
        return {}


@final
@frozen
class Unsaid(Recipe):
    """A sampler, and no word of what it draws."""

    name = "unsaid"
    sampler: Sampler = option(factory=Straight, help="how it draws")

    def build(self) -> nn.Module:
        return LineDenoiser(Space((2,)), 0)

    def make(self, module: nn.Module, builder: Any) -> Mapping[str, Any]:
        return {}


def test_a_recipes_defect() -> None:
    right = Normal().recipe("main", None)
    assert right is not None
    assert broken(STRATEGY, right) == broken(RECIPE, right) == {}
    assert {"equal recipes build equal modules", "building leaves global generators alone"} <= broken(
        RECIPE, Gives()
    ).keys()
    assert "what guides or samples in it is tried before any work" in broken(RECIPE, Unsaid())


class Quiet(Listener):
    """Right."""

    def __init__(self, observed: RunInfo) -> None:
        self.folder = observed.folder

    def on_event(self, event: str, data: dict[str, Any]) -> None:
        pass


class Picky(Quiet):
    def on_event(self, event: str, data: dict[str, Any]) -> None:
        {"run": 1, "step": 2}[event]


class Loud(Quiet):
    def on_event(self, event: str, data: dict[str, Any]) -> None:
        sys.stdout.write(event)


class Unclosed(Quiet):
    def on_event(self, event: str, data: dict[str, Any]) -> None:
        self.file = event

    def close(self) -> None:
        assert self.file


class Draws(Quiet):
    def on_event(self, event: str, data: dict[str, Any]) -> None:
        random.random()


class Sets(Quiet):
    def on_event(self, event: str, data: dict[str, Any]) -> None:
        os.environ["GUIDEPLUG_TEST_OF_OBSERVERS"] = str(time.perf_counter_ns())


class Beside(Quiet):
    def on_event(self, event: str, data: dict[str, Any]) -> None:
        (self.folder.parent / "mine.txt").touch()


class Lives(Quiet):
    def __init__(self, observed: RunInfo) -> None:
        threading.Thread(target=time.sleep, args=(2,), daemon=True).start()


@pytest.mark.parametrize(
    ("listener", "law"),
    [
        (Quiet, None),
        (Picky, "it takes every event, also one that it does not know"),
        (Loud, "nothing is printed on standard output"),
        (Unclosed, "it closes, also before anything happened"),
        (Draws, "no random generator has been drawn from or seeded"),
        (Sets, "what it changes of the environment is put back"),
        (Beside, "it writes into the run's folder alone"),
        (Lives, "its threads have ended when it is closed"),
    ],
)
def test_an_observers_defect(listener: type[Quiet], law: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GUIDEPLUG_TEST_OF_OBSERVERS", "")

    @final
    @frozen
    class Watches(Observer):
        """Watches."""

        name = "watches"

        def open(self, observed: RunInfo) -> Listener:
            return listener(observed)

    found = broken(OBSERVER, Observing(Watches()))
    assert found == {} if law is None else law in found


# Modules


def test_what_an_import_costs(tmp_path: Path) -> None:
    sources = {
        "light": "import guideplug\n",
        "heavy": "import matplotlib.pyplot\n",
        "slow": "import time\nend = time.process_time() + 0.7\nwhile time.process_time() < end:\n    pass\n",
        "gone": "import nothing_of_this_name\n",
        "ends": "import os\nos._exit(3)\n",
    }
    for name, source in sources.items():
        (tmp_path / f"{name}.py").write_text(source)
    found = imported({name: str(tmp_path / f"{name}.py") for name in sources})
    laws = {name: list(broken(IMPORT, cost)) for name, cost in found.items()}
    assert laws["light"] == []
    assert "its import brings in nothing slow" in laws["heavy"]
    assert laws["slow"] == ["its import takes less than 0.5 s"]
    assert laws["gone"] == laws["ends"] == ["it can be imported by itself"]
    assert "nothing_of_this_name" in found["gone"].error


def test_what_cannot_be_tried_is_said(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        '''
from typing import final
from attrs import frozen
from guideplug import Guider, hook, option

@final
@frozen
class Mine(Guider):
    """Wants a text."""
    name = "mine"
    place: str = option(help="a file")
    def guide(self, base, models):
        return base

@hook
def guideplug_guiders():
    return [Mine]

@hook
def guideplug_presets():
    return {"guider": {"ours": "mine(nothing=1)"}}
'''
    )
    registry = Registry()
    registry.load_file(file)
    found = {checked.what: checked for checked in Kit(registry).check(registry.plugin("mine"), None)}
    (finding,) = found["guider mine"].findings
    assert finding.law == "an example can be made"
    assert "has the option 'place' without a default" in str(finding.reason)
    (finding,) = found["guider ours"].findings
    assert not finding.holds
    assert "nothing" in str(finding.reason)
