"""Training against the formula written out, and what a resumed training owes."""

import copy
import itertools
import json
import math
from collections.abc import Callable, Mapping
from typing import Any, final

import pytest
import torch
from attrs import evolve, frozen
from safetensors.torch import load, save
from torch import Tensor, nn

from guideplug import (
    CandidateRequest,
    Condition,
    Constant,
    Cosine,
    Duration,
    Examples,
    Guider,
    InverseSqrt,
    Leaf,
    LogNormal,
    Losses,
    Registry,
    Selection,
    Selector,
    SelectorState,
    Space,
    Task,
    TrainingStreams,
    TrainOptions,
    noised,
    option,
)
from guideplug.config import Reader
from guideplug.errors import ConditionError, ConfigError, DivergenceError, RecipeError, SelectionError
from guideplug.train import Training
from guideplug.train.ema import power_gamma
from guideplug.train.examples import dropped
from guideplug_autoguidance import Autoguidance
from guideplug_early import Early
from guideplug_jest import JEST
from guideplug_random import Random

torch.set_num_threads(1)

SPACE = Space(shape=(2,), sigma_data=0.7)
NULL = 3


class AffineLeaf(Leaf):
    """D = (w x + b) / (1 + sigma^2); notes what it is asked."""

    def __init__(self, w: float = 0.3, *, drop: float = 0.0) -> None:
        super().__init__(SPACE)
        self.w = nn.Parameter(torch.tensor([w, w / 2]))
        self.b = nn.Parameter(torch.tensor([0.1, -0.2]))
        self.dropout = nn.Dropout(drop)
        self.asked: list[tuple[Tensor, Tensor, Condition, bool]] = []

    def denoise(self, x: Tensor, sigma: Tensor, condition: Condition) -> Tensor:
        self.asked.append((x, sigma, condition, torch.is_grad_enabled()))
        inner = self.dropout(x) * self.w + self.b + self.shift(condition)
        return inner / (1 + sigma**2)[:, None]

    def shift(self, condition: Condition) -> Tensor | float:
        return 0.0


@final
class LabelledLeaf(AffineLeaf):
    """The same, shifted by label."""

    def __init__(self, w: float = 0.3) -> None:
        super().__init__(w)
        self.table = nn.Parameter(0.1 * torch.arange(8.0).reshape(4, 2))

    def shift(self, condition: Condition) -> Tensor | float:
        assert isinstance(condition, Tensor)
        return self.table[condition]

    def null_condition(self, batch: int, device: torch.device) -> Condition:
        return torch.full((batch,), NULL, device=device)


class GaussianData:
    """N((1, -1), 0.7^2), with labels if asked for; NaN as a target where it is told to."""

    def __init__(self, *, labels: bool = False, nan_at: int | None = None) -> None:
        self.labels, self.nan_at = labels, nan_at

    def draw(self, sigma: Tensor, streams: TrainingStreams) -> Examples:
        generator = streams.generator("data")
        clean = torch.tensor([1.0, -1.0]) + 0.7 * torch.randn(len(sigma), 2, generator=generator)
        condition = torch.randint(NULL, (len(sigma),), generator=generator) if self.labels else None
        examples = noised(clean, sigma, streams, condition)
        if streams.step == self.nan_at:
            target = examples.target.clone()
            target[3, 1] = math.nan
            examples = evolve(examples, target=target)
        return examples


@final
@frozen
class Chosen(Selector):
    """Fixed indices and weights."""

    name = "chosen"
    indices: tuple[int, ...] = option(help="what is kept")
    weights: tuple[float, ...] | None = option(None, help="their weights")

    def plan(self, batch: int, state: SelectorState) -> CandidateRequest:
        return CandidateRequest(batch)

    def select(
        self, losses: Losses, state: SelectorState, generator: torch.Generator
    ) -> tuple[Selection, SelectorState]:
        weights = None if self.weights is None else torch.tensor(self.weights)
        return Selection(torch.tensor(self.indices), weights), state


def options(**changes: Any) -> TrainOptions:
    return TrainOptions(**{"duration": "6it", "batch": 32, "lr": 0.01, "noise": LogNormal(-1.0, 0.8), **changes})


def training(
    learner: Leaf | None = None, data: Any = None, selector: Selector | None = None, seed: int = 5, **changes: Any
) -> Training:
    return Training(
        learner or AffineLeaf(),
        data or GaussianData(),
        options(**changes),
        seed=seed,
        selector=selector,
        references={"weak": AffineLeaf(0.8)},
        role="learner",
    )


def draws(now: Training, step: int, count: int | None = None) -> tuple[Examples, Tensor]:
    """The examples of a step, as the documentation says that they are drawn."""
    streams = TrainingStreams(now.seed, step)
    sigma = now.options.noise.draw(count or now.options.batch, streams.generator("noise level"))
    return now.data.draw(sigma, streams), sigma


# The formula


def weight_of(weighting: str, sigma: Tensor) -> Tensor:
    if weighting == "score":
        return 1 / sigma**2
    return (sigma**2 + 0.49) / (0.49 * sigma**2) if weighting == "edm" else sigma * 0 + 1


def loss_by_hand(w: Tensor, b: Tensor, examples: Examples, sigma: Tensor, weighting: str) -> Tensor:
    denoised = (examples.x.double() * w + b) / (1 + sigma.double()[:, None] ** 2)
    return weight_of(weighting, sigma.double()) * (denoised - examples.target.double()).square().sum(1) / 2


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


# Selection


@pytest.mark.parametrize("weights", [None, (2.0, 0.5, 1.0, 0.0)])
@pytest.mark.parametrize("accumulate", [1, 3])
def test_only_what_is_selected_is_back_propagated_with_its_weights(
    weights: tuple[float, ...] | None, accumulate: int
) -> None:
    chosen = (7, 0, 21, 13)
    now = training(
        selector=Chosen(chosen, weights), optimizer="sgd", betas=(0.0, 0.0), accumulate=accumulate, duration="1it"
    )
    before = torch.cat([now.learner.w, now.learner.b]).detach().double().requires_grad_()
    examples, sigma = draws(now, 0)
    each = loss_by_hand(before[:2], before[2:], examples, sigma, "edm")[list(chosen)]
    (g,) = torch.autograd.grad((each * torch.tensor(weights or (1.0,) * 4)).sum() / 4, before)
    now.run()
    after = torch.cat([now.learner.w, now.learner.b]).detach().double()
    assert torch.allclose(after, before.detach() - 0.01 * g, rtol=1e-5, atol=1e-7)
    seen = torch.cat([x for x, _, _, graph in now.learner.asked if graph])
    assert torch.equal(seen, examples.x[list(chosen)])


def test_selecting_everything_in_order_is_no_selection_bit_for_bit() -> None:
    plain, selected = training(), training(selector=Chosen(tuple(range(32))))
    plain.run()
    selected.run()
    assert torch.equal(plain.learner.w, selected.learner.w)
    shuffled = training(selector=Chosen((1, 0, *range(2, 32))), duration="1it")
    shuffled.run()
    examples, _ = draws(shuffled, 0)
    assert torch.equal(shuffled.learner.asked[-1][0][:2], examples.x[[1, 0]])


def test_learner_and_reference_are_scored_on_the_same_inputs_without_a_graph() -> None:
    reference = LabelledLeaf(0.8)
    now = Training(
        LabelledLeaf(),
        GaussianData(labels=True),
        options(condition_dropout=0.3),
        seed=1,
        selector=JEST(filter_ratio=0.5, num_chunks=2),
        references={"weak": reference},
    )
    now.run()
    scored = [asked for asked in now.learner.asked if not asked[3]]
    assert len(scored) == len(reference.asked) == 6
    for ours, theirs in zip(scored, reference.asked, strict=True):
        assert not theirs[3]
        assert all(torch.equal(a, b) for a, b in zip(ours[:3], theirs[:3], strict=True))
    assert len([asked for asked in now.learner.asked if asked[3]]) == 6
    assert all(parameter.grad is None for parameter in reference.parameters())


def test_a_selector_gets_the_losses_it_asked_for() -> None:
    got: list[Losses] = []

    @final
    @frozen
    class Nosy(Selector):
        name = "nosy"

        def plan(self, batch: int, state: SelectorState) -> CandidateRequest:
            return CandidateRequest(8, learner=True, reference="weak")

        def select(
            self, losses: Losses, state: SelectorState, generator: torch.Generator
        ) -> tuple[Selection, SelectorState]:
            got.append(losses)
            return Selection(torch.arange(losses.count)), state

    now = training(selector=Nosy(), duration="1it")
    examples, sigma = draws(now, 0, 8)
    mine = loss_by_hand(now.learner.w.double(), now.learner.b.double(), examples, sigma, "edm")
    weak = now.scoring.references["weak"]
    theirs = loss_by_hand(weak.w.double(), weak.b.double(), examples, sigma, "edm")
    now.run()
    assert got[0].learner is not None
    assert got[0].reference is not None
    assert torch.allclose(got[0].learner.double(), mine, rtol=1e-5)
    assert torch.allclose(got[0].reference.double(), theirs, rtol=1e-5)
    assert not got[0].learner.requires_grad


@pytest.mark.parametrize(
    ("selector", "seen", "scored", "backpropagated", "selections", "off"),
    [
        (None, 192, 0, 192, 0, None),
        (Random(filter_ratio=0.75), 48, 0, 48, 0, None),
        (JEST(filter_ratio=0.75, num_chunks=4), 192, 192, 48, 6, None),
        (Early(JEST(filter_ratio=0.75, num_chunks=4), until="2it"), 192, 64, 2 * 8 + 4 * 32, 2, 2),
        (JEST(filter_ratio=0.75, num_chunks=4, score="easy-reference"), 192, 192, 48, 6, None),
    ],
)
def test_counters(
    selector: Selector | None, seen: int, scored: int, backpropagated: int, selections: int, off: int | None
) -> None:
    now = training(selector=selector)
    now.run()
    c = now.counters
    assert (c.seen, c.scored, c.backpropagated, c.selections) == (seen, scored, backpropagated, selections)
    assert c.selecting == (0 if selector is None else off or 6)
    assert c.switched_off_at == off  # so many steps were selected
    share = c.mean_effective_sample_size
    assert (share is None) == (selections == 0)
    assert share is None or 1 / 32 <= share <= 1
    assert c.total_seconds == pytest.approx(sum(c.seconds.values()))
    assert (c.seconds["score"] > 0) == (scored > 0)


@final
@frozen
class UnderGuidance(Selector):
    """Asks for the losses of the guided learner, and for the reference's; keeps what it got."""

    name = "under-guidance"
    guider: Guider | None = option(help="what guides it")
    got: list[Losses] = option(factory=list, help="where the losses go")

    def plan(self, batch: int, state: SelectorState) -> CandidateRequest:
        return CandidateRequest(batch, learner=True, reference="weak", guider=self.guider)

    def select(
        self, losses: Losses, state: SelectorState, generator: torch.Generator
    ) -> tuple[Selection, SelectorState]:
        self.got.append(losses)
        return Selection(torch.arange(8)), state


def test_the_learner_is_scored_under_guidance_and_trained_without() -> None:
    selector = UnderGuidance(Autoguidance(weight=3.0))
    now = training(selector=selector, duration="1it", optimizer="sgd", betas=(0.0, 0.0))
    examples, sigma = draws(now, 0)
    weak, w, b = now.scoring.references["weak"], *(p.detach().double().clone() for p in (now.learner.w, now.learner.b))
    guided = [3 * ours - 2 * theirs.detach().double() for ours, theirs in zip((w, b), (weak.w, weak.b), strict=True)]
    expected = loss_by_hand(*guided, examples, sigma, "edm")
    p = torch.cat([w, b]).requires_grad_()
    (g,) = torch.autograd.grad(loss_by_hand(p[:2], p[2:], examples, sigma, "edm")[:8].mean(), p)
    now.run()
    assert selector.got[0].learner is not None
    assert torch.allclose(selector.got[0].learner.double(), expected, rtol=1e-4)
    theirs = loss_by_hand(weak.w.double(), weak.b.double(), examples, sigma, "edm")
    assert torch.allclose(selector.got[0].reference.double(), theirs, rtol=1e-4)  # type: ignore[union-attr]
    after = torch.cat([now.learner.w, now.learner.b]).detach().double()
    assert torch.allclose(after, p.detach() - 0.01 * g, rtol=1e-5, atol=1e-7)
    assert all(parameter.grad is None for parameter in weak.parameters())


@pytest.mark.parametrize(("guider", "each"), [(None, 2), (Autoguidance(weight=3.0), 3), (Autoguidance(weight=1.0), 2)])
@pytest.mark.parametrize("accumulate", [1, 3])
def test_evaluations_in_scoring_are_counted(guider: Guider | None, each: int, accumulate: int) -> None:
    now = training(selector=UnderGuidance(guider), accumulate=accumulate)
    now.run()
    assert (now.counters.scored, now.counters.evaluations) == (6 * 32, 6 * 32 * each)
    again = resumed(now, lambda: training(selector=UnderGuidance(guider), accumulate=accumulate))
    assert again.counters.evaluations == now.counters.evaluations


def test_a_role_of_the_guider_that_was_not_given_is_named() -> None:
    now = training(selector=UnderGuidance(Autoguidance(model="other")))
    with pytest.raises(SelectionError, match=r"guider 'autoguidance', which .* asked for the role 'other', and"):
        now.run()


def test_scores_may_be_of_lower_precision_than_training() -> None:
    def scored(**changes: Any) -> tuple[Training, Losses]:
        selector = UnderGuidance(None)
        now = on_task("digits", selector, duration=Duration(3, "it"), **changes)
        now.run()
        return now, selector.got[-1]  # an untrained one answers 0 in any precision

    plain, fine = scored()
    low, coarse = scored(score_precision="bf16")
    assert fine.learner is not None
    assert coarse.learner is not None
    assert coarse.learner.dtype == torch.float32
    assert not torch.equal(fine.learner, coarse.learner)
    assert torch.allclose(fine.learner, coarse.learner, rtol=0.05)
    for one, other in zip(plain.learner.parameters(), low.learner.parameters(), strict=True):
        assert torch.equal(one, other)  # what is selected is the same, and trained in full precision


@final
@frozen
class Firsts(Selector):
    """The first of the candidates, without scoring them."""

    name = "firsts"
    share: float = option(0.25, help="how many of them")

    def plan(self, batch: int, state: SelectorState) -> CandidateRequest:
        return CandidateRequest(batch)

    def select(
        self, losses: Losses, state: SelectorState, generator: torch.Generator
    ) -> tuple[Selection, SelectorState]:
        return Selection(torch.arange(round(self.share * losses.count))), state


def on_task(task: str, selector: Selector | None, **changes: Any) -> Training:
    """A short training of a small network on an installed task."""
    found: Task = Reader(Registry.installed()).expression(task, Task)
    recipe = found.recipe("main", None)
    changed = evolve(recipe.options, **{"batch": 40, "duration": Duration(36, "it"), **changes})
    network = evolve(recipe, options=changed).build()
    weak = found.recipe("weak", recipe).build()
    return Training(network, found, changed, seed=2, selector=selector, references={"weak": weak})


@pytest.mark.parametrize("task", ["tree", "tree(classes=both, labels=true)", "digits"])
def test_offered_and_selected_are_counted_by_group_in_every_sixteenth_step(task: str) -> None:
    now = on_task(task, Firsts())
    offered = selected = torch.zeros(len(now.data.groups()), dtype=torch.int64)
    for step in (0, 16, 32):
        examples, _ = draws(now, step)
        group = now.data.group(examples)  # before conditions are dropped
        assert group is not None
        offered = offered + torch.bincount(group, minlength=len(offered))
        selected = selected + torch.bincount(group[:10], minlength=len(offered))
    now.run()
    assert now.composition == {
        "groups": list(now.data.groups()),
        "offered": offered.tolist(),
        "selected": selected.tolist(),
    }
    assert (int(offered.sum()), int(selected.sum())) == (120, 30)
    half = on_task(task, Firsts())
    half.run(until=Duration(17, "it"))
    again = resumed(half, lambda: on_task(task, Firsts()))
    again.run()
    assert again.composition == now.composition


@pytest.mark.parametrize(
    "selector", [None, Random(), Firsts(1.0), Early(JEST(filter_ratio=0.5, num_chunks=4), until="9it")]
)
def test_groups_are_counted_only_while_something_is_left_out(selector: Selector | None) -> None:
    now = on_task("tree", selector)
    now.run()
    composition = now.composition
    if isinstance(selector, Early):
        assert composition is not None
        assert (sum(composition["offered"]), sum(composition["selected"])) == (40, 20)  # of step 0 alone
    else:
        assert composition is None


def test_data_without_groups_have_no_composition() -> None:
    now = training(selector=Firsts())
    now.run()
    assert now.composition is None


def test_a_reference_that_was_not_given_is_named() -> None:
    now = Training(AffineLeaf(), GaussianData(), options(), seed=0, selector=JEST(num_chunks=2))
    with pytest.raises(SelectionError, match="for the role 'weak', and none was given"):
        now.run()


@pytest.mark.parametrize(
    ("chosen", "said"), [((0, 0), "duplicate"), ((0, 32), "out of range"), ((), "type torch.float32")]
)
def test_a_selection_that_cannot_be_used_stops_the_training(chosen: tuple[int, ...], said: str) -> None:
    now = training(selector=Chosen(chosen))
    before = now.learner.w.detach().clone()
    with pytest.raises(SelectionError, match=rf"'chosen' returned.*{said}"):
        now.run()
    assert torch.equal(now.learner.w, before)


# Going on


def resumed(now: Training, fresh: Callable[[], Training]) -> Training:
    """Another training that got the state of this one as it would be read from a file."""
    tensors, data = now.state()
    again = fresh()
    again.load_state(load(save({name: t.contiguous() for name, t in tensors.items()})), json.loads(json.dumps(data)))
    return again


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


JESTER = JEST(filter_ratio=0.5, num_chunks=4)
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
    assert [Constant().factor(step, 0.5) for step in (0, 10**6)] == [1.0, 1.0]
    root = InverseSqrt(512)
    assert [root.factor(step, 0.5) for step in (0, 511, 512, 2048)] == [1.0, 1.0, 1.0, 0.5]
    cosine = Cosine(0.2)
    assert [cosine.factor(7, progress) for progress in (0, 0.5, 1, 2)] == pytest.approx([1.0, 0.6, 0.2, 0.2])
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
