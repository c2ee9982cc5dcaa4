"""The laws of a network: built by its seed alone, right shapes and types, rows that do not know of each other."""

from functools import cached_property

import torch
from torch import Tensor

from guideplug.denoise import Domain, Leaf, Start, select_rows
from guideplug.rng import SampleStreams
from guideplug.task import Network, seeded_build
from guideplug.testing.law import Laws, must
from guideplug.testing.law_helpers import BATCH, close, converted, no_global_draws
from guideplug.testing.strategies import STRATEGY

__all__ = ["NETWORK", "Networked", "check_network"]


class Networked:
    """A network under test, and a domain that it is for, such as a task."""

    def __init__(self, network: Network, domain: Domain) -> None:
        self.network, self.domain = network, domain

    def build(self, seed: int = 4) -> Leaf:
        """The untrained denoiser."""
        return seeded_build(self.network, self.domain, seed).eval()

    @cached_property
    def start(self) -> Start:
        """What it is asked."""
        return self.domain.start(SampleStreams(0, range(BATCH)), self.domain.space.sigma_max)

    def answer(self, sigma: float = 1.0, built: Leaf | None = None) -> Tensor:
        """Its answer at a level."""
        with torch.no_grad():
            denoised: Tensor = (built or self.build())(self.start.x.clone(), sigma, self.start.condition)
        return denoised


NETWORK: Laws[Networked] = Laws()


def check_network(network: Network, domain: Domain) -> None:
    """The laws of a network: built by its seed alone, right shapes and types, rows that do not know of each other."""
    STRATEGY.check(network)
    NETWORK.check(Networked(network, domain))


@NETWORK.add(
    "it builds a denoiser of the domain's space", "return a guideplug.Leaf made with domain.space", premise=True
)
def _space(networked: Networked) -> None:
    built = networked.build()
    must(isinstance(built, Leaf), f"build() returned a {type(built).__name__}")
    must(built.space == networked.domain.space, f"its space is {built.space}, the domain's {networked.domain.space}")


@NETWORK.add(
    "what it builds knows the labels",
    "set its num_labels to the domain's, for sampling it without a task",
)
def _labels(networked: Networked) -> None:
    built, labels = networked.build().num_labels or 0, networked.domain.num_labels or 0
    must(built == labels, f"its num_labels is {built}, the domain's {labels}")


@NETWORK.add("equal seeds build equal networks", "draw initial weights from torch's generator, which is seeded here")
def _seeded(networked: Networked) -> None:
    first, second = (networked.build().state_dict() for _ in range(2))
    must(first.keys() == second.keys(), "they have other parameters")
    must(all(map(torch.equal, first.values(), second.values())))


@NETWORK.add("building leaves global generators alone", "draw from torch's generator only, which is put back after")
def _builds(networked: Networked) -> None:
    with no_global_draws():
        networked.build()


@NETWORK.add(
    "one clean sample for each noisy one, over the whole range of levels",
    "return x's shape and type, finite from sigma_min to sigma_max",
    premise=True,
)
def _answers(networked: Networked) -> None:
    space = networked.domain.space
    for sigma in (space.sigma_min, 1.0, space.sigma_max):
        answer = networked.answer(sigma)
        must(answer.shape == networked.start.x.shape, f"{tuple(networked.start.x.shape)} gave {tuple(answer.shape)}")
        must(answer.dtype == networked.start.x.dtype, f"x of {networked.start.x.dtype} gave {answer.dtype}")
        must(bool(answer.isfinite().all()), f"not finite at sigma {sigma:g}")


@NETWORK.add("no draw from a global generator when it answers", "nothing random in evaluation mode")
def _draws_nothing(networked: Networked) -> None:
    built = networked.build()
    with no_global_draws():
        networked.answer(built=built)


@NETWORK.add("the same inputs give the same answer", "keep nothing between calls")
def _repeats(networked: Networked) -> None:
    built = networked.build()
    must(torch.equal(networked.answer(built=built), networked.answer(built=built)))


@NETWORK.add("inputs are not changed", "compute out of place: x * scale, not x.mul_(scale)")
def _inputs_stay(networked: Networked) -> None:
    x, levels = networked.start.x.clone(), torch.ones(BATCH)
    with torch.no_grad():
        networked.build()(x, levels, networked.start.condition)
    must(torch.equal(x, networked.start.x), "x was changed")
    must(bool((levels == 1).all()), "the levels were changed")


@NETWORK.add("rows do not depend on each other", "no batch normalisation, no mean over the batch")
def _rows(networked: Networked) -> None:
    built, start = networked.build(), networked.start
    with torch.no_grad():
        parts = [
            built(start.x[i : i + 1], 1.0, select_rows(start.condition, slice(i, i + 1))) for i in range(len(start.x))
        ]
    must(close(torch.cat(parts), networked.answer(built=built)))


@NETWORK.add("the level is its own for each row", "take sigma (B,) row by row")
def _levels(networked: Networked) -> None:
    built, start, space = networked.build(), networked.start, networked.domain.space
    sigma = torch.linspace(space.sigma_min, min(space.sigma_max, 5.0), BATCH)
    with torch.no_grad():
        whole = built(start.x, sigma, start.condition)
        parts = [
            built(start.x[i : i + 1], float(sigma[i]), select_rows(start.condition, slice(i, i + 1)))
            for i in range(BATCH)
        ]
    must(close(torch.cat(parts), whole))


@NETWORK.add("it answers in the type of its parameters", "make tensors like x; parameters follow .double() and .to()")
def _types(networked: Networked) -> None:
    built = converted(networked.build(), dtype=torch.float64)
    with torch.no_grad():
        answer = built(networked.start.x.double(), 1.0, networked.start.condition)
    must(answer.dtype == torch.float64, f"in float64 it gave {answer.dtype}")


@NETWORK.add(
    "it answers on the device of its parameters, and looks at no value",
    "register tensors as buffers, or make them on x.device; decide nothing by .item() or `if tensor`",
)
def _device(networked: Networked) -> None:
    built = converted(networked.build(), device="meta")
    condition = converted({"": networked.start.condition}, device="meta")[""]
    with torch.no_grad():
        answer = built(networked.start.x.to("meta"), 1.0, condition)
    must(answer.device.type == "meta", f"on another device it gave a result on {answer.device}")


@NETWORK.add(
    "its state is all that there is to it",
    "keep what decides the answer in parameters and buffers (persistent), for these are stored",
)
def _state(networked: Networked) -> None:
    first, second = networked.build(4), networked.build(5)
    second.load_state_dict(first.state_dict())
    must(torch.equal(networked.answer(built=first), networked.answer(built=second)))


@NETWORK.add(
    "the null condition can be asked",
    "return from null_condition what stands for no condition, for a batch of any size",
    where=lambda networked: networked.build().has_null,
)
def _null(networked: Networked) -> None:
    with torch.no_grad():
        answer = networked.build()(networked.start.x, 1.0)
    must(answer.shape == networked.start.x.shape, f"it gave {tuple(answer.shape)}")
