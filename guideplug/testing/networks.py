"""The laws of a network: built by its seed alone, right shapes and dtypes, independent rows."""

from contextlib import suppress
from functools import cached_property

import attrs
import torch
from torch import Tensor

from guideplug.adapters.wrap import Adapted
from guideplug.denoise import Domain, Leaf, Start, evaluate_together, select_rows, tally
from guideplug.rng import SampleStreams
from guideplug.task import Network, seeded_build
from guideplug.testing.law import Laws, must
from guideplug.testing.law_helpers import BATCH, close, converted, no_global_draws
from guideplug.testing.strategies import STRATEGY

__all__ = ["NETWORK", "NetworkCase", "check_network"]


class NetworkCase:
    """A network under test, and a suitable domain, such as a task."""

    def __init__(self, network: Network, domain: Domain) -> None:
        self.network, self.domain = network, domain

    def build(self, seed: int = 4) -> Leaf:
        """The untrained denoiser."""
        return seeded_build(self.network, self.domain, seed).eval()

    @cached_property
    def start(self) -> Start:
        """Its input."""
        return self.domain.start(SampleStreams(0, range(BATCH)), self.domain.space.sigma_max)

    def answer(self, sigma: float = 1.0, built: Leaf | None = None) -> Tensor:
        """Its output at a level."""
        with torch.no_grad():
            denoised: Tensor = (built or self.build())(self.start.x.clone(), sigma, self.start.condition)
        return denoised


NETWORK: Laws[NetworkCase] = Laws()


def check_network(network: Network, domain: Domain) -> None:
    """The laws of a network: built by its seed alone, right shapes and dtypes, independent rows."""
    STRATEGY.check(network)
    NETWORK.check(NetworkCase(network, domain))


@NETWORK.add(
    "it builds a denoiser of the domain's space",
    "return a guideplug.Leaf made with domain.space, or guideplug.wrap(network, domain.space.shape, "
    "sigma_data=domain.space.sigma_data, ...), whose levels are those of its schedule",
    premise=True,
)
def _space(case: NetworkCase) -> None:
    built = case.build()
    must(isinstance(built, Leaf), f"build() returned a {type(built).__name__}")
    space, own = case.domain.space, built.space
    if isinstance(built, Adapted):  # its levels follow from the schedule that it was trained with
        own = attrs.evolve(own, sigma_min=space.sigma_min, sigma_max=space.sigma_max)
    must(own == space, f"its space is {built.space}, the domain's {space}")


@NETWORK.add(
    "what it builds knows the labels",
    "set its num_labels to the domain's, for sampling it without a task",
)
def _labels(case: NetworkCase) -> None:
    built, labels = case.build().num_labels or 0, case.domain.num_labels or 0
    must(built == labels, f"its num_labels is {built}, the domain's {labels}")


@NETWORK.add("equal seeds build equal networks", "draw initial weights from torch's generator, which is seeded here")
def _seeded(case: NetworkCase) -> None:
    first, second = (case.build().state_dict() for _ in range(2))
    must(first.keys() == second.keys(), "they have other parameters")
    must(all(map(torch.equal, first.values(), second.values())))


@NETWORK.add("building leaves global generators alone", "draw from torch's generator only, which is put back after")
def _builds(case: NetworkCase) -> None:
    with no_global_draws():
        case.build()


@NETWORK.add("inputs are not changed", "compute out of place: x * scale, not x.mul_(scale)", premise=True)
def _inputs_stay(case: NetworkCase) -> None:
    x, levels = case.start.x.clone(), torch.ones(BATCH)
    with torch.no_grad(), suppress(Exception):  # what it raises is named by the next law
        case.build().denoise(x, levels, case.start.condition)
    must(torch.equal(x, case.start.x), "x was changed")
    must(bool((levels == 1).all()), "the levels were changed")


@NETWORK.add(
    "one clean sample for each noisy one, over the whole range of levels",
    "return x's shape and type, finite from sigma_min to sigma_max",
    premise=True,
)
def _answers(case: NetworkCase) -> None:
    space = case.domain.space
    for sigma in (space.sigma_min, 1.0, space.sigma_max):
        answer = case.answer(sigma)
        must(answer.shape == case.start.x.shape, f"{tuple(case.start.x.shape)} gave {tuple(answer.shape)}")
        must(answer.dtype == case.start.x.dtype, f"x of {case.start.x.dtype} gave {answer.dtype}")
        must(bool(answer.isfinite().all()), f"not finite at sigma {sigma:g}")


@NETWORK.add("no draw from a global generator when it answers", "nothing random in evaluation mode")
def _draws_nothing(case: NetworkCase) -> None:
    built = case.build()
    with no_global_draws():
        case.answer(built=built)


@NETWORK.add("the same inputs give the same answer", "keep nothing between calls")
def _repeats(case: NetworkCase) -> None:
    built = case.build()
    must(torch.equal(case.answer(built=built), case.answer(built=built)))


@NETWORK.add("rows do not depend on each other", "no batch normalisation, no mean over the batch")
def _rows(case: NetworkCase) -> None:
    built, start = case.build(), case.start
    with torch.no_grad():
        parts = [
            built(start.x[i : i + 1], 1.0, select_rows(start.condition, slice(i, i + 1))) for i in range(len(start.x))
        ]
    must(close(torch.cat(parts), case.answer(built=built)))


@NETWORK.add("the level is its own for each row", "take sigma (B,) row by row")
def _levels(case: NetworkCase) -> None:
    built, start, space = case.build(), case.start, case.domain.space
    sigma = torch.linspace(space.sigma_min, min(space.sigma_max, 5.0), BATCH)
    with torch.no_grad():
        whole = built(start.x, sigma, start.condition)
        parts = [
            built(start.x[i : i + 1], float(sigma[i]), select_rows(start.condition, slice(i, i + 1)))
            for i in range(BATCH)
        ]
    must(close(torch.cat(parts), whole))


@NETWORK.add("it answers in the type of its parameters", "make tensors like x; parameters follow .double() and .to()")
def _types(case: NetworkCase) -> None:
    built = converted(case.build(), dtype=torch.float64)
    with torch.no_grad():
        answer = built(case.start.x.double(), 1.0, case.start.condition)
    must(answer.dtype == torch.float64, f"in float64 it gave {answer.dtype}")


@NETWORK.add(
    "it answers on the device of its parameters, and looks at no value",
    "register tensors as buffers, or make them on x.device; decide nothing by .item() or `if tensor`",
)
def _device(case: NetworkCase) -> None:
    built = converted(case.build(), device="meta")
    condition = converted({"": case.start.condition}, device="meta")[""]
    with torch.no_grad():
        answer = built(case.start.x.to("meta"), 1.0, condition)
    must(answer.device.type == "meta", f"on another device it gave a result on {answer.device}")


@NETWORK.add(
    "its state is all that there is to it",
    "keep what decides the answer in parameters and buffers (persistent), for these are stored",
)
def _state(case: NetworkCase) -> None:
    first, second = case.build(4), case.build(5)
    second.load_state_dict(first.state_dict())
    must(torch.equal(case.answer(built=first), case.answer(built=second)))


@NETWORK.add(
    "named outputs asked together are those asked alone, from one call",
    "compute each output of named_outputs whatever the others, and return it in the declared shape",
    where=lambda case: bool(case.build().outputs),
)
def _outputs(case: NetworkCase) -> None:
    built, start = case.build(), case.start
    expressions = [built, *(built.output(name) for name in built.outputs)]
    with torch.no_grad():
        alone = [expression(start.x, 1.0, start.condition) for expression in expressions]
        with tally() as counts:
            together = evaluate_together(expressions, start.x, 1.0, start.condition)
    must(counts[built].calls == 1, f"it took {counts[built].calls} calls")
    must(all(map(torch.equal, together, alone)))


@NETWORK.add(
    "the null condition can be asked",
    "return from null_condition what stands for no condition, for a batch of any size",
    where=lambda case: case.build().has_null,
)
def _null(case: NetworkCase) -> None:
    with torch.no_grad():
        answer = case.build()(case.start.x, 1.0)
    must(answer.shape == case.start.x.shape, f"it gave {tuple(answer.shape)}")
