"""A plugin as it was written for API 1, kept as it was: a schedule, a weight and its guider, a network, a sampler."""

import math
from collections.abc import Iterator, Mapping
from typing import final

import torch
from attrs import frozen
from torch import Tensor, nn

from guideplug import (
    Condition,
    Denoiser,
    Guider,
    Leaf,
    Level,
    Network,
    Recipe,
    Sampler,
    SampleStreams,
    Space,
    State,
    Task,
    Weight,
    WeightSchedule,
    finite,
    hook,
    option,
    sigma_grid,
)

GUIDEPLUG_API = 1


@final
@frozen
class Halving(WeightSchedule):
    """From one weight at the lowest level of the space to 1 at the highest."""

    name = "old-halving"
    high: float = option(help="the weight at the lowest level", validator=finite)

    @property
    def least(self) -> float:
        return min(1.0, self.high)

    def at(self, sigma: Level, space: Space) -> Level:
        share = sigma / (sigma + space.sigma_min)
        return share + (1 - share) * self.high


class Below(Weight):
    """The share of the way to 0 that a step leaves, below a level."""

    def __init__(self, level: float) -> None:
        super().__init__()
        self.level = level

    def forward(self, condition: Condition, sigma: Level, toward: Level | None) -> Level:
        toward = 0.5 * sigma if toward is None else toward
        if isinstance(sigma, Tensor):
            return torch.where(sigma < self.level, toward / sigma, 0.0)
        return 0.0 if sigma >= self.level else float(toward) / sigma

    def zero_at(self, sigma: float, toward: float | None) -> bool:
        return sigma >= self.level


@final
@frozen
class Late(Guider):
    """Autoguidance below a level."""

    name = "old-late"
    weight: float | WeightSchedule = option(2.0, help="guidance weight; 1 is off")
    below: float = option(1.0, help="the level", unit="data units")

    def needs(self, task: Task, main: Recipe) -> Mapping[str, Recipe | str | None]:
        return {"weak": task.recipe("weak", main)}

    def guide(self, base: Denoiser, models: Mapping[str, Denoiser]) -> Denoiser:
        return base + Below(self.below) * (self.weight - 1) * (base - models["weak"])


class OldDenoiser(Leaf):
    """An MLP, which says itself how it is asked."""

    def __init__(self, space: Space, width: int, labels: bool) -> None:
        super().__init__(space)
        size = math.prod(space.shape)
        self.labels = labels
        self.layers = nn.Sequential(nn.Linear(size + 1, width), nn.SiLU(), nn.Linear(width, size))

    def forward(self, x: Tensor, sigma: Level, condition: Condition = None, *, toward: Level | None = None) -> Tensor:
        denoised: Tensor = super().forward(x, sigma, condition, toward=toward)
        return denoised

    def denoise(self, x: Tensor, sigma: Tensor, condition: Condition) -> Tensor:
        share = (self.space.sigma_data**2 / (self.space.sigma_data**2 + sigma**2))[:, None]
        inputs = torch.cat([x.flatten(1) * share, sigma[:, None].log() / 4], 1)
        return share.reshape(-1, *[1] * (x.ndim - 1)) * (x + self.layers(inputs).reshape(x.shape))


@final
@frozen
class OldNetwork(Network):
    """A tiny MLP."""

    name = "old-net"
    width: int = option(8, help="width")

    def build(self, task: Task) -> Leaf:
        return OldDenoiser(task.space, self.width, getattr(task, "labels", False))


@final
@frozen
class OldSampler(Sampler):
    """Euler's method on EDM's grid."""

    name = "old-euler"
    num_steps: int = option(32, help="steps")

    def sigmas(self, denoiser: Denoiser) -> list[float]:
        return sigma_grid(self.num_steps, denoiser.space.sigma_min, denoiser.space.sigma_max)

    def steps(
        self, denoiser: Denoiser, x: Tensor, condition: Condition = None, streams: SampleStreams | None = None
    ) -> Iterator[State]:
        denoiser, sigmas = denoiser.trajectory(), self.sigmas(denoiser)
        for i in range(self.num_steps):
            slope = (x - denoiser(x, sigmas[i], condition, toward=sigmas[i + 1])) / sigmas[i]
            x = x + (sigmas[i + 1] - sigmas[i]) * slope
            yield State(i + 1, self.num_steps, sigmas[i + 1], x)


@hook
def guideplug_weights() -> list[type[WeightSchedule]]:
    return [Halving]


@hook
def guideplug_guiders() -> list[type[Guider]]:
    return [Late]


@hook
def guideplug_denoisers() -> list[type[Network]]:
    return [OldNetwork]


@hook
def guideplug_samplers() -> list[type[Sampler]]:
    return [OldSampler]
