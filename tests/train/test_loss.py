"""Losses: the default has its bits, objectives in training, weights of importance, scoring, resuming, refusals."""

import copy
import itertools
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, final

import pytest
import torch
from attrs import evolve, frozen
from gaussian import JESTER, AffineLeaf, Chosen, GaussianData, draws, options, resumed, training
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from guideplug import (
    CandidateRequest,
    Condition,
    Denoising,
    GuideplugError,
    Leaf,
    Losses,
    Objective,
    ObjectiveInput,
    Output,
    Registry,
    Selection,
    Selector,
    SelectorState,
    Task,
    Train,
    TrainOptions,
    ValueOutput,
    option,
    tally,
)
from guideplug.config import Reader
from guideplug.objective import minimised
from guideplug.run.prepare import prepare
from guideplug.run.resolve import Request
from guideplug.store import describe, identity
from guideplug.train import Training
from guideplug.train.loss import Loss
from guideplug_autoguidance import Autoguidance

torch.set_num_threads(1)


class UncertainLeaf(AffineLeaf):
    """With a log-variance that depends on the level."""

    outputs: ClassVar[Mapping[str, Output]] = {"logvar": ValueOutput()}

    def __init__(self, w: float = 0.3, *, drop: float = 0.0, u: float = 0.2) -> None:
        super().__init__(w, drop=drop)
        self.u = nn.Parameter(torch.tensor([u, -0.1]))

    def named_outputs(
        self, x: Tensor, sigma: Tensor, condition: Condition, names: Sequence[str]
    ) -> Mapping[str, Tensor]:
        outputs = {"logvar": self.u[0] + self.u[1] * sigma.log()}
        return outputs | ({"denoised": self.denoise(x, sigma, condition)} if "denoised" in names else {})


@final
@frozen
class Uncertain(Objective):
    """The error under a learned log-variance."""

    name = "uncertain"

    def losses(self, examples: ObjectiveInput) -> Tensor:
        denoised, logvar = examples.evaluate("logvar")
        return examples.weight / logvar.exp() * examples.squared_error(denoised) + logvar

    def reads(self) -> Sequence[str]:
        return ("logvar",)


@final
@frozen
class Wrong(Objective):
    """It returns what it is told."""

    name = "wrong"
    shape: str = option("pixels", help="what it returns")

    def losses(self, examples: ObjectiveInput) -> Any:
        (denoised,) = examples.evaluate()
        return {"pixels": denoised, "mean": denoised.mean(), "number": 1.0}[self.shape]


def by_hand(network: Leaf, u: Tensor, now: Training, step: int = 0) -> Tensor:
    examples, sigma = draws(now, step)
    logvar = u[0] + u[1] * sigma.log()
    plain = Loss().of(network, examples, sigma, 0.7)
    return plain / logvar.exp() + logvar


# The default


@pytest.mark.parametrize("weighting", ["edm", "score", "uniform"])
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_the_default_has_the_bits_of_the_formula(weighting: Any, precision: Any) -> None:
    now = training(weighting=weighting, precision=precision)
    examples, sigma = draws(now, 0)
    loss = now.options.loss
    assert loss == Loss(weighting, precision, Denoising())
    narrow = torch.float16 if precision == "fp16" else torch.bfloat16
    with torch.autocast("cpu", narrow, enabled=precision != "fp32"):
        denoised = now.learner(examples.x, sigma, examples.condition)
    error = (denoised.to(examples.target.dtype) - examples.target).square().flatten(1).mean(1)
    assert torch.equal(loss.of(now.learner, examples, sigma, 0.7), loss.weight(sigma, 0.7) * error)


def test_the_default_is_no_part_of_an_identity_and_others_are() -> None:
    task: Any = Reader(Registry.installed()).expression("tree", Task)  # type: ignore[type-abstract]
    main = task.recipe("main", None)
    assert isinstance(main, Train)
    assert main.options.objective == Denoising()
    assert "objective" not in describe(main)["recipe"]["options"]
    other = evolve(main, options=evolve(main.options, objective=Uncertain()))
    assert describe(other)["recipe"]["options"]["objective"] == {"name": "uncertain"}
    assert identity(other) != identity(main)


def test_it_is_an_option_of_training() -> None:
    registry = Registry.installed()
    assert "denoising" in registry.names("objective")
    read = Reader(registry).read({"duration": "1it", "batch": 8, "objective": "denoising"}, TrainOptions, "train")
    assert read.objective == Denoising()
    with pytest.raises(GuideplugError, match=r"no objective is called 'denoise' \(did you mean 'denoising'\?\)"):
        Reader(registry).read({"duration": "1it", "batch": 8, "objective": "denoise"}, TrainOptions, "train")


# Weights of importance


@settings(deadline=None, max_examples=30, derandomize=True)
@given(
    st.sampled_from([Denoising(), Uncertain()]),
    st.lists(st.floats(0.05, 1.0), min_size=3, max_size=5),
    st.integers(1, 2),
    st.booleans(),
)
def test_weighted_draws_are_unbiased(objective: Objective, odds: list[float], drawn: int, replaced: bool) -> None:
    """The expected gradient over all draws of some of N examples, each weighted by 1 / (N p), is that of all."""
    network, count = UncertainLeaf(), len(odds)
    examples, sigma = draws(training(batch=count), 0)
    loss = Loss(objective=objective)
    shares = torch.tensor(odds) / sum(odds)
    weights = 1 / (count * shares)
    parameters = [network.w, network.b] if isinstance(objective, Denoising) else [network.w, network.b, network.u]

    def slope(value: Tensor) -> Tensor:
        return torch.cat([part.flatten() for part in torch.autograd.grad(value, parameters)])

    whole = slope(minimised(loss.of(network, examples, sigma, 0.7), None, count))
    expected = torch.zeros_like(whole)
    for chosen in itertools.product(range(count), repeat=drawn):
        rows = torch.tensor(chosen)
        losses = loss.of(network, examples, sigma, 0.7, rows)
        probability = shares[rows].prod()
        expected += probability * slope(minimised(losses, weights[rows], drawn))
    torch.testing.assert_close(expected, whole, rtol=1e-4, atol=1e-5)


def test_a_step_minimises_the_weighted_mean_of_its_losses() -> None:
    rows, weights = (9, 2, 30), (1.0, 2.0, 0.5)
    now = training(
        UncertainLeaf(),
        selector=Chosen(rows, weights),
        objective=Uncertain(),
        optimizer="sgd",
        duration="1it",
        betas=(0.0, 0.0),
    )
    before = {name: value.detach().clone() for name, value in now.learner.named_parameters()}
    copied = copy.deepcopy(now.learner)
    losses = by_hand(copied, copied.u, now)[list(rows)]  # type: ignore[arg-type]
    (losses * torch.tensor(weights)).mean().backward()
    now.run()
    for name, value in copied.named_parameters():
        assert value.grad is not None
        torch.testing.assert_close(
            now.learner.get_parameter(name), before[name] - 0.01 * value.grad, rtol=1e-5, atol=1e-6
        )


# Selectors score with it


@final
@frozen
class Scored(Selector):
    """Takes all, and keeps the losses."""

    name = "scored"
    guided: bool = option(False, help="whether the learner is guided")
    losses: list[Losses] = option(factory=list, help="where the losses go")

    def plan(self, batch: int, state: SelectorState) -> CandidateRequest:
        guider = Autoguidance(weight=2.0) if self.guided else None
        return CandidateRequest(batch, learner=True, reference="weak", guider=guider)

    def select(
        self, losses: Losses, state: SelectorState, generator: torch.Generator
    ) -> tuple[Selection, SelectorState]:
        self.losses.append(losses)
        return Selection(torch.arange(losses.count)), state


def scoring(selector: Scored, learner: Leaf, weak: Leaf, **changes: Any) -> Training:
    train = options(duration="1it", objective=Uncertain(), **changes)
    references = {"weak": weak}
    return Training(learner, GaussianData(), train, seed=5, selector=selector, references=references, role="learner")


@pytest.mark.parametrize("guided", [False, True])
def test_learner_and_reference_are_scored_by_it_with_outputs_of_their_own(guided: bool) -> None:
    learner, weak, selector = UncertainLeaf(), UncertainLeaf(0.8, u=0.7), Scored(guided)
    now = scoring(selector, learner, weak)
    point = learner + 1.0 * (learner - weak) if guided else learner
    with torch.no_grad():
        expected = by_hand(point, learner.u.clone(), now), by_hand(weak, weak.u.clone(), now)
    with tally() as counts:
        now.run()
    (got,) = selector.losses
    torch.testing.assert_close(got.learner, expected[0])
    torch.testing.assert_close(got.reference, expected[1])
    assert counts[learner].calls == 2  # scored, then trained: the log-variance costs no call
    assert counts[weak].calls == (2 if guided else 1)


class LabelledUncertain(UncertainLeaf):
    """Under a null condition of its own."""

    def __init__(self, null: int) -> None:
        super().__init__()
        self.null, self.table = null, nn.Parameter(0.1 * torch.arange(8.0).reshape(4, 2))

    def shift(self, condition: Condition) -> Tensor:
        assert isinstance(condition, Tensor)
        return self.table[torch.where(condition == self.null, 3, condition)]

    def named_outputs(
        self, x: Tensor, sigma: Tensor, condition: Condition, names: Sequence[str]
    ) -> Mapping[str, Tensor]:
        assert isinstance(condition, Tensor)
        outputs = dict(super().named_outputs(x, sigma, condition, names))
        return outputs | {"logvar": outputs["logvar"] + 0.5 * (condition == self.null)}

    def null_condition(self, batch: int, device: torch.device) -> Condition:
        return torch.full((batch,), self.null, device=device)


def test_dropped_conditions_reach_the_outputs_too() -> None:
    learner, weak, selector = LabelledUncertain(3), LabelledUncertain(9), Scored(guided=True)
    train = options(duration="1it", objective=Uncertain(), condition_dropout=0.5)
    now = Training(
        learner, GaussianData(labels=True), train, seed=5, selector=selector, references={"weak": weak}, role="learner"
    )
    equal = LabelledUncertain(3)
    same = Scored(guided=True)
    then = Training(
        LabelledUncertain(3), GaussianData(labels=True), train, seed=5, selector=same, references={"weak": equal},
        role="learner",
    )  # fmt: skip
    now.run()
    then.run()
    torch.testing.assert_close(selector.losses[0].learner, same.losses[0].learner)
    torch.testing.assert_close(selector.losses[0].reference, same.losses[0].reference)


# Resuming, accumulation


@pytest.mark.parametrize("changes", [{}, {"drop": 0.5}, {"accumulate": 3}, {"precision": "bf16"}, {"jest": True}])
def test_a_resumed_training_ends_with_the_same_bits(changes: dict[str, Any]) -> None:
    changes = dict(changes)
    drop, jest = changes.pop("drop", 0.0), changes.pop("jest", False)

    def fresh() -> Training:
        now = training(UncertainLeaf(drop=drop), selector=JESTER if jest else None, objective=Uncertain(), **changes)
        now.scoring.references["weak"] = UncertainLeaf(0.8)  # type: ignore[index]
        return now

    whole, part = fresh(), fresh()
    whole.run()
    part.run(until=part.options.duration.__class__(3, "it"))
    again = resumed(part, fresh)
    again.run()
    for name, value in whole.learner.state_dict().items():
        assert torch.equal(value, again.learner.state_dict()[name])
    assert not torch.equal(whole.learner.u, UncertainLeaf().u)  # type: ignore[arg-type]


@pytest.mark.parametrize("parts", [2, 5, 64])
def test_accumulation_changes_nothing_but_rounding(parts: int) -> None:
    whole, split = (training(UncertainLeaf(), objective=Uncertain(), accumulate=number) for number in (1, parts))
    for now in (whole, split):
        now.run()
    for name, value in whole.learner.state_dict().items():
        torch.testing.assert_close(split.learner.state_dict()[name], value, rtol=1e-4, atol=1e-5)


# Refusals


def test_an_output_that_the_network_lacks_is_refused_before_any_work() -> None:
    with pytest.raises(GuideplugError) as error:
        prepare(Request(values={"task": "tree"}, sets=[("train.objective", "edm2-uncertainty")]))
    assert str(error.value) == (
        "the role 'main', recipe 'train': its training: objective edm2-uncertainty reads the output 'logvar', and the "
        "network 'main', a TreeDenoiser, has none of that name: it has none but the denoised samples; choose another "
        "objective or network"
    )


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ("pixels", r"objective wrong returned shape \(32, 2\) for 32 examples: return one loss per example"),
        ("mean", r"objective wrong\(shape=mean\) returned shape \(\) for 32 examples"),
        ("number", r"objective wrong\(shape=number\) returned a float for 32 examples"),
    ],
)
def test_losses_of_another_shape_are_refused(shape: str, message: str) -> None:
    with pytest.raises(GuideplugError, match=message):
        training(objective=Wrong(shape)).run()
