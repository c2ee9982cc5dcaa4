"""The laws of an objective: a finite loss per example, of that example alone, unbiased under weights of importance."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from attrs import evolve, field, frozen
from torch import Tensor, nn

from guideplug.denoise import Condition, Leaf, LeafWrapper, Output, PointOutput, Space, ValueOutput, per_row
from guideplug.objective import Objective, ObjectiveInput, minimised
from guideplug.rng import TrainingStreams
from guideplug.task import Examples, noised
from guideplug.testing.law import Laws, must
from guideplug.testing.law_helpers import BATCH, close, no_global_draws
from guideplug.testing.strategies import STRATEGY

__all__ = ["OBJECTIVE", "ObjectiveCase", "check_objective", "objective_case"]

POINTS = Space((3,))


class _Outputs(Leaf):
    """A network with parameters of its own for each named output, all of one kind."""

    def __init__(self, names: Sequence[str], kind: Output) -> None:
        super().__init__(POINTS)
        self.outputs = dict.fromkeys(names, kind)
        shape = POINTS.shape if isinstance(kind, PointOutput) else kind.shape
        self.scale = nn.Parameter(torch.tensor(0.5))
        self.rates = nn.ParameterDict({name: 0.3 * torch.rand(shape) + 0.1 for name in names})

    def denoise(self, x: Tensor, sigma: Tensor, condition: Condition) -> Tensor:
        return x * self.scale / (1 + per_row(sigma, x) ** 2)

    def named_outputs(
        self, x: Tensor, sigma: Tensor, condition: Condition, names: Sequence[str]
    ) -> Mapping[str, Tensor]:
        outputs = {"denoised": self.denoise(x, sigma, condition)}
        for name, rate in self.rates.items():
            outputs[name] = rate * (sigma if rate.ndim == 0 else per_row(sigma, rate.expand(len(x), *rate.shape)))
        return outputs


class _Watched(LeafWrapper):
    """A network whose outputs are recorded."""

    def __init__(self, of: Leaf) -> None:
        super().__init__(of)
        self.outputs = of.outputs
        self.seen: dict[str, Tensor] = {}

    def denoise(self, x: Tensor, sigma: Tensor, condition: Condition) -> Tensor:
        self.seen["denoised"] = self.of.denoise(x, sigma, condition)
        return self.seen["denoised"]

    def named_outputs(
        self, x: Tensor, sigma: Tensor, condition: Condition, names: Sequence[str]
    ) -> Mapping[str, Tensor]:
        outputs = self.of.named_outputs(x, sigma, condition, names)
        self.seen |= {name: outputs[name] for name in names}
        return outputs


@frozen(eq=False)
class ObjectiveCase:
    """An objective under test, a network that has what it reads, and noisy examples."""

    objective: Objective
    network: Leaf
    examples: Examples = field()
    sigma: Tensor = field(factory=lambda: torch.linspace(0.1, 2.0, BATCH))

    @examples.default
    def _examples(self) -> Examples:
        shape = self.network.space.shape
        clean = 0.5 * torch.randn(BATCH, *shape, generator=torch.Generator().manual_seed(2))
        return noised(clean, torch.linspace(0.1, 2.0, BATCH), TrainingStreams(0, 0))

    def losses(self, rows: Any = slice(None), network: Leaf | None = None, **changes: Any) -> Tensor:
        """The losses of some of the examples."""
        sigma, own = self.sigma[rows], network or self.network
        examples = evolve(self.examples, x=self.examples.x[rows].clone(), target=self.examples.target[rows].clone())
        weight = 1 / sigma**2 + 1 / own.space.sigma_data**2
        return self.objective.losses(ObjectiveInput(own, own, examples, sigma, weight, **changes))


OBJECTIVE: Laws[ObjectiveCase] = Laws()


def check_objective(objective: Objective, network: Leaf | None = None) -> None:
    """The laws of an objective: a finite loss per example, of that example alone, unbiased under weights of importance.

    Args:
        objective: the objective.
        network: a denoiser with the outputs that it reads; by default a small one, whose outputs are numbers per sample
            or denoised samples.
    """
    STRATEGY.check(objective)
    OBJECTIVE.check(objective_case(objective) if network is None else ObjectiveCase(objective, network))


def objective_case(objective: Objective) -> ObjectiveCase:
    """An objective with a small network that has what it reads: numbers per sample, or else denoised samples."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        cases = [ObjectiveCase(objective, _Outputs(objective.reads(), kind)) for kind in (ValueOutput(), PointOutput())]
    return next((case for case in cases if _computes(case)), cases[0])


def _computes(case: ObjectiveCase) -> bool:
    try:
        case.losses()
    except Exception:  # reported by the laws
        return False
    return True


@OBJECTIVE.add("each example has one loss", "return losses (B,): average over the other axes", premise=True)
def _numbers(case: ObjectiveCase) -> None:
    losses: Any = case.losses()
    must(isinstance(losses, Tensor), f"it gave a {type(losses).__name__}")
    must(losses.shape == case.sigma.shape, f"{len(case.sigma)} examples gave {tuple(losses.shape)}")


@OBJECTIVE.add("losses are finite", "clamp what overflows, such as an exponent")
def _finite(case: ObjectiveCase) -> None:
    must(bool(torch.isfinite(case.losses()).all()))


@OBJECTIVE.add("no draw from a global generator", "a loss is a function of the example and the network")
def _draws_nothing(case: ObjectiveCase) -> None:
    with no_global_draws():
        case.losses()


@OBJECTIVE.add("what it reads is declared", "return the names of the outputs that it evaluates from reads()")
def _declared(case: ObjectiveCase) -> None:
    watched = _Watched(case.network)
    case.losses(network=watched)
    undeclared = watched.seen.keys() - {"denoised", *case.objective.reads()}
    must(not undeclared, f"it evaluates {', '.join(sorted(undeclared))}, which reads() does not name")


@OBJECTIVE.add(
    "the gradient reaches every output that it evaluates",
    "compute with torch operations on them; no detach, no .item(), and leave out what does not count",
    premise=True,
)
def _reaches(case: ObjectiveCase) -> None:
    watched = _Watched(case.network)
    losses = case.losses(network=watched)
    must(losses.requires_grad, "the losses have no gradient")
    outputs = watched.seen
    slopes = torch.autograd.grad(losses.sum(), list(outputs.values()), allow_unused=True)
    silent = [name for name, slope in zip(outputs, slopes, strict=True) if slope is None or not bool(slope.any())]
    must(not silent, f"none reaches {', '.join(silent)}")
    must(all(bool(torch.isfinite(slope).all()) for slope in slopes if slope is not None), "it is not finite")


@OBJECTIVE.add("a loss does not depend on the other examples", "treat each row by itself: no mean over the batch")
def _alone(case: ObjectiveCase) -> None:
    whole = case.losses().detach()
    parts = [case.losses(slice(i, i + 1)).detach() for i in range(len(whole))]
    must(close(torch.cat(parts), whole))


@OBJECTIVE.add("the order of the batch does not matter", "treat each row by itself")
def _order(case: ObjectiveCase) -> None:
    rows = torch.arange(len(case.sigma) - 1, -1, -1)
    must(close(case.losses(rows).detach(), case.losses().detach()[rows]))


@OBJECTIVE.add(
    "weights of importance keep the step unbiased",
    "return each example's loss whatever the number of examples; weights and the mean are applied by the caller",
)
def _unbiased(case: ObjectiveCase) -> None:
    count = len(case.sigma)
    shares = torch.softmax(torch.arange(count) / 2.0, 0)
    weights = 1 / (count * shares)
    whole = _slopes(case, minimised(case.losses(), None, count))
    one_by_one = [minimised(case.losses(slice(i, i + 1)), weights[i : i + 1], 1) for i in range(count)]
    expected = _slopes(case, (torch.stack(one_by_one) * shares).sum())
    must(all(map(close, expected, whole)), "the expected gradient of one weighted draw is another than the step's")


def _slopes(case: ObjectiveCase, value: Tensor) -> list[Tensor]:
    """The gradients of a value in the parameters that it depends on."""
    slopes = torch.autograd.grad(value, list(case.network.parameters()), allow_unused=True)
    return [slope for slope in slopes if slope is not None]


@OBJECTIVE.add("without a graph the losses are the same", "do not decide by whether gradients are recorded")
def _scored(case: ObjectiveCase) -> None:
    with torch.no_grad():
        scores = case.losses()
    must(torch.equal(scores, case.losses().detach()))


@OBJECTIVE.add(
    "in reduced precision the losses keep the type of the targets",
    "convert the denoised samples as ObjectiveInput.squared_error does",
)
def _types(case: ObjectiveCase) -> None:
    losses = case.losses(precision="bf16")
    must(losses.dtype == case.examples.target.dtype, f"they are {losses.dtype}")
