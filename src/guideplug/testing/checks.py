"""The laws of guideplug as checks: one line in a plugin's tests.

    from guideplug.testing import check_guider
    def test_laws(): check_guider(MyGuider)

Each check raises `AssertionError` naming the law that does not hold. They use closed-form Gaussians, so they take no
training and well under a second.
"""

import json
import math
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any, cast, final, get_args

import attrs
import numpy as np
import torch
from torch import Tensor

from guideplug.config import Reader, Strategy, write
from guideplug.denoise import Condition, Count, Denoiser, Leaf, Level, Space, WeightSchedule, calls, select_rows, tally
from guideplug.guide import Guider
from guideplug.noise import SampleStreams, TrainingStreams
from guideplug.registry import Registry
from guideplug.reward import Reward
from guideplug.sample import Sampler
from guideplug.select import Losses, Selector, checked_selection
from guideplug.task import Network, Task, seeded_build
from guideplug.testing.oracles import CONDITIONS, Conditioning, GaussianDenoiser, example_condition

__all__ = [
    "check_guider",
    "check_network",
    "check_reward",
    "check_sampler",
    "check_selector",
    "check_strategy",
    "check_task",
    "check_weights",
    "models_for",
]

TOLERANCE = 1e-4
"""For results that are equal but for the order of floating-point operations, in float32 and relative to their size."""
SIGMAS = (0.02, 0.5, 7.0)
BATCH = 6


def holds(law: str, condition: bool) -> None:
    """Raise `AssertionError` naming the law unless it holds."""
    if not condition:
        raise AssertionError(f"this does not hold: {law}")


def _close(a: Tensor, b: Tensor) -> bool:
    return bool(torch.allclose(a, b, rtol=TOLERANCE, atol=TOLERANCE))


class _NoGlobalRandomness:
    """Fails if the block drew from a global generator."""

    def __enter__(self) -> None:
        self._torch = torch.random.get_rng_state()
        self._numpy = cast(tuple[Any, ...], np.random.get_state())  # noqa: NPY002 - to see whether someone used it

    def __exit__(self, kind: object, *rest: object) -> None:
        if kind is None:
            holds("no draw from torch's global generator", torch.equal(self._torch, torch.random.get_rng_state()))
            now = cast(tuple[Any, ...], np.random.get_state())  # noqa: NPY002
            same = bool((self._numpy[1] == now[1]).all()) and self._numpy[2] == now[2]
            holds("no draw from NumPy's global generator", same)


def check_strategy(strategy: Strategy) -> None:
    """What every strategy owes: frozen, options with help, equal after being written and read."""
    cls = type(strategy)
    holds(f"{cls.__name__} is an attrs class", attrs.has(cls))
    holds(f"{cls.__name__} is final", getattr(cls, "__final__", False))
    for attribute in attrs.fields(cast(Any, cls)):
        holds(f"option {attribute.name!r} has a help text", bool(attribute.metadata.get("help")))
        try:
            setattr(strategy, attribute.name, getattr(strategy, attribute.name))
        except attrs.exceptions.FrozenInstanceError:
            continue
        holds(f"{cls.__name__} is frozen: decorate it with @attrs.frozen", False)
    reader = Reader(_Known(strategy))
    again = reader.read(write(strategy), cast(Any, _abstract(cls)), cls.kind)
    holds("the strategy equals itself after being written as an expression and read", again == strategy)


class _Known:
    """A catalog of the installed strategies and those that a strategy under test is made of."""

    def __init__(self, strategy: Strategy) -> None:
        self._registry = Registry.installed()
        self._classes: dict[tuple[str, str], type[Strategy]] = {}
        self._note(strategy)

    def _note(self, value: Any) -> None:
        if isinstance(value, Strategy):
            self._classes[value.kind, value.name] = type(value)
        if attrs.has(type(value)):
            for attribute in attrs.fields(type(value)):
                self._note(getattr(value, attribute.name))
        elif isinstance(value, list | tuple):
            for item in value:
                self._note(item)

    def find(self, kind: str, name: str) -> type[Strategy] | str:
        return self._classes.get((kind, name)) or self._registry.find(kind, name)

    def names(self, kind: str) -> list[str]:
        return self._registry.names(kind)


def _abstract(cls: type[Strategy]) -> type[Strategy]:
    for base in cls.__mro__[1:]:
        if base in (Guider, WeightSchedule, Selector, Sampler, Network, Task):
            return cast(type[Strategy], base)
    return cls


class _Models(dict[str, Denoiser]):
    """A closed-form denoiser for whatever role is asked for, each different."""

    def __init__(self, conditioning: Conditioning, shape: tuple[int, ...]) -> None:
        super().__init__()
        self._conditioning: Conditioning = conditioning
        self._shape = shape

    def __missing__(self, role: str) -> Denoiser:
        number = len(self)
        self[role] = GaussianDenoiser(
            0.3 + 0.2 * number, 0.6 + 0.1 * number, conditioning=self._conditioning, shape=self._shape
        )
        return self[role]


def models_for(
    guider: Guider, conditioning: Conditioning = "none", *, shape: tuple[int, ...] = (2,)
) -> Mapping[str, Denoiser]:
    """A closed-form denoiser for every role that a guider asks for or may use, each different."""
    models = _Models(conditioning, shape)
    for role in guider.may_use():
        models[role]
    return models


def check_guider(
    make: Callable[..., Guider],
    *,
    models: Callable[[Conditioning], Mapping[str, Denoiser]] | None = None,
    shape: tuple[int, ...] = (2,),
    base: Callable[[Conditioning], Leaf] | None = None,
) -> None:
    """The laws of a guider, under every kind of condition.

    For all: it guides without changing its inputs or drawing from global generators; each network is called at most
    once an evaluation, and once more for each perturbed view and each other shape; the result does not depend on the
    order of the batch or on how it is split; repeated, it is the same. If it has an option ``weight``: 1 is the base,
    bit for bit, and calls no guide; the result is affine in it; where its type says that it takes schedules, a schedule
    is the number that it gives at a level.

    Args:
        make: the guider's class, or a function that makes one; given ``weight=`` where it takes that.
        models: the other networks by role, for a kind of condition; by default closed-form ones for every role.
        shape: the shape of a sample, for guiders that are for images only: (1, 8, 8).
        base: what is guided, for a kind of condition; by default a closed-form denoiser of samples of that shape.
    """
    guider = make()
    check_strategy(guider)
    for conditioning in CONDITIONS:
        main = (
            GaussianDenoiser(0.1, 0.5, conditioning=conditioning, shape=shape) if base is None else base(conditioning)
        )
        others: Mapping[str, Denoiser] = (
            models_for(guider, conditioning, shape=main.space.shape) if models is None else models(conditioning)
        )
        generator = torch.Generator().manual_seed(3)
        x = torch.randn(BATCH, *main.space.shape, generator=generator)
        condition = example_condition(conditioning, BATCH, generator)
        with _NoGlobalRandomness():
            _check_evaluation(guider.guide(main, others), x, condition)
        if any(attribute.name == "weight" for attribute in attrs.fields(cast(Any, type(guider)))):
            _check_weight(make, main, others, x, condition)


def _check_evaluation(point: Denoiser, x: Tensor, condition: Condition) -> None:
    holds("a guided denoiser is a denoiser", isinstance(point, Denoiser))
    order = torch.tensor([4, 0, 5, 2, 1, 3])
    for sigma in SIGMAS:
        before = x.clone()
        with tally() as counts:
            whole = point(x, sigma, condition)
        holds("inputs are not changed", torch.equal(before, x))
        planned = calls(point, sigma, conditional=condition is not None)
        once = all(count.calls <= planned.get(network, Count()).calls for network, count in counts.counts.items())
        holds("each network is called at most once an evaluation, and once for each view of it", once)
        holds("the same inputs give the same result", torch.equal(whole, point(x, sigma, condition)))
        shuffled = point(x[order], sigma, select_rows(condition, order))
        holds("the result does not depend on the order of the batch", _close(shuffled, whole[order]))
        parts = [point(x[rows], sigma, select_rows(condition, rows)) for rows in (slice(0, 2), slice(2, BATCH))]
        holds("the result does not depend on how the batch is split", _close(torch.cat(parts), whole))
        levels = torch.full((len(x),), sigma)
        holds("a tensor of levels gives what the float gives", _close(point(x, levels, condition), whole))


def _check_weight(
    make: Callable[..., Guider], base: Leaf, models: Mapping[str, Denoiser], x: Tensor, condition: Condition
) -> None:
    def at(weight: float, sigma: float) -> Tensor:
        guided: Tensor = make(weight=weight).guide(base, models)(x, sigma, condition)
        return guided

    for sigma in SIGMAS:
        with tally() as counts:
            off = at(1.0, sigma)
        holds("weight 1 is the base, bit for bit", torch.equal(off, base(x, sigma, condition)))
        holds("weight 1 calls no guide", counts.calls == 1 and counts[base].outputs == len(x))
        with tally() as counts:
            near = at(1.0 + 2e-10, sigma)
        holds("a weight within rounding of 1 calls no guide", counts.calls == 1 and torch.equal(near, off))
        guided = at(3.0, sigma) - off
        holds("the result is affine in the weight", _close(at(2.0, sigma) - off, guided / 2))
        holds("the result is affine in the weight", _close(at(-1.0, sigma) - off, -guided))
    cls = type(make())
    attrs.resolve_types(cast(Any, cls))
    if WeightSchedule in get_args(attrs.fields_dict(cast(Any, cls))["weight"].type):
        _check_scheduled(make, base, models, x, condition)


def _check_scheduled(
    make: Callable[..., Guider], base: Leaf, models: Mapping[str, Denoiser], x: Tensor, condition: Condition
) -> None:
    guided = make(weight=_Rising()).guide(base, models)
    for sigma in SIGMAS:
        number = make(weight=1.0 + sigma).guide(base, models)(x, sigma, condition)
        holds("a weight schedule is the number that it gives", _close(guided(x, sigma, condition), number))
        levels = torch.full((len(x),), sigma)
        holds("a weight schedule is the number that it gives", _close(guided(x, levels, condition), number))
    with tally() as counts:
        guided(x, 2.0**-40, condition)
    holds("a weight schedule that gives 1 calls no guide", counts.calls == 1 and counts[base].outputs == len(x))


@final
@attrs.frozen
class _Rising(WeightSchedule):
    """1 + sigma."""

    name = "rising"

    @property
    def least(self) -> float:
        return 1.0

    def at(self, sigma: Level, space: Space) -> Level:
        return 1.0 + sigma


def check_weights(schedule: WeightSchedule) -> None:
    """The laws of a weight schedule: finite, never below its bound, the same for a float and a tensor.

    Also for levels outside the range of its space, and without looking into a tensor.
    """
    check_strategy(schedule)
    for space in (Space((2,)), Space((2,), sigma_data=1.0, sigma_min=0.03, sigma_max=5.0)):
        levels = torch.logspace(-3, 2.5, 56, dtype=torch.float64)
        values = schedule.at(levels, space)
        holds("a tensor gives a tensor of its shape", isinstance(values, Tensor) and values.shape == levels.shape)
        with torch.device("meta"):
            unseen = schedule.at(torch.empty(3), space)
        holds("a tensor is not looked into", isinstance(unseen, Tensor) and unseen.device.type == "meta")
        for sigma, value in zip(levels.tolist(), cast(Tensor, values).tolist(), strict=True):
            number = cast(float, schedule.at(sigma, space))
            holds("a float gives a float", type(number) is float)
            holds("weights are finite", math.isfinite(number))
            size = 1e-9 * (1.0 + abs(number))
            holds("a float and a tensor give one weight", abs(number - value) <= size)
            holds("no weight is below least", number >= schedule.least - size)


def check_selector(selector: Selector, *, batch: int = 256) -> None:
    """The laws of a selector.

    Valid indices, the plan kept, decided by the generator alone, state as JSON; and where it says importance, that
    estimates means over all candidates without bias.
    """
    check_strategy(selector)
    generator = torch.Generator().manual_seed(5)
    states: list[Any] = []
    for _ in range(2):
        state = selector.init()
        chosen: list[Tensor] = []
        for step in range(3):
            plan = selector.plan(batch, state)
            holds("the plan draws at least one and at most a super-batch", 1 <= plan.count <= batch)
            generator.manual_seed(step)
            learner = torch.rand(plan.count, generator=generator)
            reference = torch.rand(plan.count, generator=generator)
            losses = Losses(
                plan.count, learner if plan.learner else None, reference if plan.reference is not None else None
            )
            before = (learner.clone(), reference.clone())
            with _NoGlobalRandomness():
                selection, state = selector.select(losses, state, torch.Generator().manual_seed(11 + step))
            holds("losses are not changed", torch.equal(before[0], learner) and torch.equal(before[1], reference))
            checked_selection(selection, plan.count, selector)
            if selection.probabilities is not None:
                total = float(selection.probabilities.sum())
                holds("probabilities sum to 1", abs(total - 1) < 1e-6 and len(selection.probabilities) == plan.count)
            says = selection.importance is not None
            holds("a selection says importance if and only if has_importance()", says == selector.has_importance())
            holds("the state survives JSON", json.loads(json.dumps(state)) == state)
            chosen.append(selection.indices)
        states.append(chosen)
    same = all(torch.equal(a, b) for a, b in zip(*states, strict=True))
    holds("the same losses and generator give the same selection", same)
    if selector.has_importance():
        _check_importance(selector, batch)


def _check_importance(selector: Selector, batch: int, draws: int = 300) -> None:
    """Means of three features over all candidates against their estimates from many selections."""
    state = selector.init()
    plan = selector.plan(batch, state)
    learner, reference = torch.rand(2, plan.count, generator=torch.Generator().manual_seed(23))
    losses = Losses(plan.count, learner if plan.learner else None, reference if plan.reference is not None else None)
    features = torch.stack([torch.ones(plan.count), learner, reference]).double()
    found = []
    for draw in range(draws):
        selection, _ = selector.select(losses, state, torch.Generator().manual_seed(draw))
        assert selection.importance is not None
        factors = selection.importance()
        holds(
            "importance is one finite number for each index",
            factors.shape == selection.indices.shape and bool(torch.isfinite(factors).all()),
        )
        found.append((features[:, selection.indices] * factors.double()).mean(1))
    estimates = torch.stack(found)
    allowed = 5 * estimates.std(0) / draws**0.5 + 1e-5
    off = (estimates.mean(0) - features.mean(1)).abs()
    holds("importance estimates the mean over all candidates without bias", bool((off <= allowed).all()))


def check_sampler(sampler: Sampler) -> None:
    """The laws of a sampler: a Gaussian's mean and spread, no leak between samples, levels that fall to 0."""
    check_strategy(sampler)
    denoiser = GaussianDenoiser(0.4, 0.5)
    sigmas = sampler.sigmas(denoiser)
    holds("levels fall, and end at 0", sigmas[-1] == 0 and all(a > b for a, b in pairwise(sigmas)))
    streams = SampleStreams(0, range(2048))
    x = denoiser.mean + (denoiser.std**2 + sigmas[0] ** 2) ** 0.5 * streams.normal((2,), "start")
    before = x.clone()
    with _NoGlobalRandomness():
        end = sampler.sample(denoiser, x, None, streams)
    holds("the start is not changed", torch.equal(before, x))
    off = float((end.mean(0) - denoiser.mean).abs().max() / denoiser.std)
    holds(f"samples of a Gaussian have its mean (off by {off:.2f} standard deviations)", off < 0.15)
    ratio = float(end.std() / denoiser.std)
    holds(f"samples of a Gaussian have its standard deviation ({ratio:.2f} of it)", 0.85 < ratio < 1.15)
    alone = sampler.sample(denoiser, x[17:18], None, SampleStreams(0, [17]))
    holds("a sample alone is the sample in a batch", _close(alone, end[17:18]))
    last = list(sampler.steps(denoiser, x, None, streams))[-1]
    holds("the last state is the end, at sigma 0", torch.equal(last.x, end) and last.sigma == 0)


def check_reward(reward: Reward, x0: Tensor, condition: Condition = None) -> None:
    """The laws of a reward: a finite number for each of a few samples, of that sample alone, with a gradient.

    Args:
        reward: the reward.
        x0: clean samples that it is for, (B, *), B > 1.
        condition: theirs.
    """
    check_strategy(reward)
    asked = x0.detach().clone().requires_grad_()
    before = x0.clone()
    with _NoGlobalRandomness():
        scores = reward.score(asked, condition)
    holds("samples are left as they are", torch.equal(asked.detach(), before))
    holds("each sample has one number", isinstance(scores, Tensor) and scores.shape == (len(x0),))
    holds("scores are finite", bool(torch.isfinite(scores).all()))
    holds("scores have a gradient", scores.requires_grad)
    (slope,) = torch.autograd.grad(scores[0], asked)
    holds("the gradient is finite", bool(torch.isfinite(slope).all()))
    holds("a score does not depend on the other samples", not bool(slope[1:].any()))
    rows = torch.arange(len(x0) - 1, -1, -1)
    turned = reward.score(x0[rows], select_rows(condition, rows))
    holds("the order of the batch does not matter", _close(turned, scores.detach()[rows]))


def check_task(task: Task, *, count: int = 12) -> None:
    """The laws of a task: shapes, draws decided by streams alone, starts that do not depend on the batch."""
    check_strategy(task)
    space = task.space
    holds("the space is a Space", isinstance(space, Space))
    sigma = torch.linspace(space.sigma_min, space.sigma_max / 4, count)
    with _NoGlobalRandomness():
        examples = task.draw(sigma, TrainingStreams(0, 0))
        again = task.draw(sigma, TrainingStreams(0, 0))
        other = task.draw(sigma, TrainingStreams(0, 1))
    shape = (count, *space.shape)
    holds(f"examples have shape {shape}", tuple(examples.x.shape) == shape and tuple(examples.target.shape) == shape)
    holds("equal streams give equal examples", torch.equal(examples.x, again.x))
    holds("another step gives other examples", not torch.equal(examples.x, other.x))
    group, names = task.group(examples), task.groups()
    holds("examples have groups if and only if the task names some", (group is None) == (not names))
    if group is not None:
        numbers = group.dtype == torch.int64 and tuple(group.shape) == (count,)
        holds("each example's group is the number of a name", numbers and 0 <= int(group.min()) <= int(group.max()))
        holds("each example's group is the number of a name", int(group.max()) < len(names))
    size = task.size()
    if size is not None:
        items, condition = task.items(torch.tensor([0, size - 1]))
        holds("items have the data's shape", tuple(items.shape) == (2, *space.shape))
        holds("finite data say which items examples come from", examples.ids is not None)
        assert examples.ids is not None
        again_, _ = task.items(examples.ids)
        holds("an example's target is the item of its id", torch.equal(again_, examples.target))
        holds("items have conditions if and only if examples do", (condition is None) == (examples.condition is None))
    streams = SampleStreams(0, range(count))
    with _NoGlobalRandomness():
        start = task.start(streams, space.sigma_max)
        one = task.start(SampleStreams(0, [7]), space.sigma_max)
    holds(f"starts have shape {shape}", tuple(start.x.shape) == shape)
    holds("a start alone is the start in a batch", torch.equal(one.x, start.x[7:8]))
    main = task.recipe("main", None)
    holds("the task has a recipe for its main network", main is not None)
    holds("metrics have distinct names", len({m.name for m in task.metrics()}) == len(task.metrics()))


def check_network(network: Network, task: Task) -> None:
    """The laws of a network: built by its seed alone, right shapes, rows that do not know of each other."""
    check_strategy(network)
    with _NoGlobalRandomness():
        first, second = (seeded_build(network, task, 4) for _ in range(2))
    same = all(
        torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    )
    holds("equal seeds build equal networks", same)
    first.eval()
    start = task.start(SampleStreams(0, range(BATCH)), task.space.sigma_max)
    with torch.no_grad(), _NoGlobalRandomness():
        whole = first(start.x, 1.0, start.condition)
        parts = [first(start.x[i : i + 1], 1.0, select_rows(start.condition, slice(i, i + 1))) for i in range(BATCH)]
    holds("rows do not depend on each other", _close(torch.cat(parts), whole))
    if first.has_null:
        with torch.no_grad():
            holds("the null condition can be asked", first(start.x, 1.0).shape == start.x.shape)
