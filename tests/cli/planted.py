"""A local plugin for the tests of what is tried first: guiders and samplers that fail when they are evaluated."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, final

import torch
from attrs import frozen
from torch import Tensor

from guideplug import (
    Combine,
    Condition,
    Denoiser,
    Gate,
    Guider,
    Level,
    Sampler,
    State,
    Streams,
    Weight,
    WeightInput,
    hook,
    option,
)


class NeedsNext(Weight):
    """A weight that asks for the level that a step goes to."""

    def forward(self, at: WeightInput) -> Level:
        if at.toward is None:
            raise ValueError("planted: there is no next level")
        return 1.0


@final
@frozen
class Planted(Guider):
    """Guidance that fails when it is evaluated."""

    name = "planted"
    weight: float = option(2.0, help="guidance weight; 1 is off")
    how: Literal["raises", "shape", "tensors", "toward", "late", "guide"] = option("raises", help="how it fails")

    def guide(self, base: Denoiser, models: Mapping[str, Denoiser]) -> Denoiser:
        if self.how == "guide":
            raise ValueError("planted: no guidance")
        if self.how == "toward":
            return base + NeedsNext() * (base - Combine([base], lambda outputs, x, sigma: 0.9 * outputs[0]))
        if self.how == "shape":
            return Combine([base], lambda outputs, x, sigma: outputs[0][:, :1])
        factor = Gate(0.0, 0.5) if self.how == "late" else 1.0
        return base + (self.weight - 1) * factor * (base - Combine([base], self._fails))

    def _fails(self, outputs: Sequence[Tensor], x: Tensor, sigma: Level) -> Tensor:
        if self.how == "tensors" and not isinstance(sigma, Tensor):
            return 0.9 * outputs[0]
        raise ValueError("planted: not\nhere")


@final
@frozen
class PlantedSteps(Sampler):
    """A sampler that fails on its way."""

    name = "planted-steps"
    how: Literal["raises", "shape", "late", "sigmas"] = option("raises", help="how it fails")

    def sigmas(self, denoiser: Denoiser) -> list[float]:
        if self.how == "sigmas":
            raise ValueError("planted: no levels")
        return [denoiser.space.sigma_max, 1.0, denoiser.space.sigma_min, 0.0]

    def steps(
        self, denoiser: Denoiser, x: Tensor, condition: Condition = None, streams: Streams | None = None
    ) -> Iterator[State]:
        sigmas = self.sigmas(denoiser)
        for step in range(3):
            if self.how == "raises" or (self.how == "late" and step == 2):
                raise ValueError("planted: no\nstep")
            x = denoiser(x, sigmas[step], condition, toward=sigmas[step + 1])
            yield State(step + 1, 3, sigmas[step + 1], x[:, :1] if self.how == "shape" else x)


@final
@frozen
class OneGo(Sampler):
    """A sampler with a ``sample`` of its own, in the signature of old."""

    name = "one-go"
    scale: float = option(1.0, help="factor on the answer")

    def sigmas(self, denoiser: Denoiser) -> list[float]:
        return [denoiser.space.sigma_max, 0.0]

    def steps(
        self, denoiser: Denoiser, x: Tensor, condition: Condition = None, streams: Streams | None = None
    ) -> Iterator[State]:
        yield State(1, 1, 0.0, denoiser(x, self.sigmas(denoiser)[0], condition, toward=0.0))

    def sample(
        self, denoiser: Denoiser, x: Tensor, condition: Condition = None, streams: Streams | None = None
    ) -> Tensor:
        assert type(self) is OneGo  # itself, and nothing that stands for it
        with torch.no_grad():
            return self.scale * list(self.steps(denoiser, x, condition, streams))[-1].x


@hook
def guideplug_guiders() -> list[type[Guider]]:
    return [Planted]


@hook
def guideplug_samplers() -> list[type[Sampler]]:
    return [PlantedSteps, OneGo]
