"""A minimal strategy of each kind, for strategies under test that require another."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from itertools import pairwise
from pathlib import Path
from typing import ClassVar, final

import torch
from attrs import evolve, frozen
from torch import Tensor, nn

from guideplug.config import Duration, Strategy, option
from guideplug.denoise import (
    Condition,
    Denoiser,
    Domain,
    Leaf,
    Level,
    Space,
    Start,
    Weight,
    WeightInput,
    WeightSchedule,
    per_row,
)
from guideplug.guide import Guider
from guideplug.noise import sigma_grid
from guideplug.objective import Objective
from guideplug.recipe import Recipe
from guideplug.recipes import Train
from guideplug.rng import SampleStreams, Streams, TrainingStreams
from guideplug.sample import Sampler, State
from guideplug.select import CandidateRequest, Losses, Selection, Selector, SelectorState
from guideplug.task import Arm, Examples, Metric, Network, PerSample, Task, noised
from guideplug.testing.oracles import Conditioning, GaussianDenoiser
from guideplug.train import Denoising, TrainOptions

__all__ = ["TOYS", "Away", "Half", "Line", "LineDenoiser", "Normal", "Scoring", "Slope", "Smooth", "Straight"]


@final
@frozen
class Away(Guider):
    """Away from another network: base + (weight - 1) * (base - guide)."""

    name = "kit-away"
    weight: float | WeightSchedule = option(2.0, help="guidance weight; 1 is off")
    model: str = option("weak", help="role of the network that is steered away from")

    def needs(self, task: Task, main: Recipe) -> Mapping[str, Recipe | str | None]:
        return {self.model: task.recipe("weak", main)}

    def guide(self, base: Denoiser, models: Mapping[str, Denoiser]) -> Denoiser:
        return base + (self.weight - 1) * (base - models[self.model])


@final
@frozen
class Half(Selector):
    """Half of the candidates, each as likely as any other."""

    name = "kit-half"

    def plan(self, batch: int, state: SelectorState) -> CandidateRequest:
        return CandidateRequest(batch)

    def select(
        self, losses: Losses, state: SelectorState, generator: torch.Generator
    ) -> tuple[Selection, SelectorState]:
        chosen = torch.randperm(losses.count, generator=generator)[: losses.count // 2]
        return Selection(chosen, importance=lambda: torch.ones(len(chosen))), state

    def has_importance(self) -> bool:
        return True


@final
@frozen
class Scoring(Selector):
    """Half of the candidates, those likelier on which the learner does worse than a reference."""

    name = "kit-scoring"
    model: str = option("weak", help="role of the reference")

    def needs(self, task: Task, main: Recipe) -> Mapping[str, Recipe | None]:
        return {self.model: task.recipe("weak", main)}

    def plan(self, batch: int, state: SelectorState) -> CandidateRequest:
        return CandidateRequest(batch, learner=True, reference=self.model)

    def select(
        self, losses: Losses, state: SelectorState, generator: torch.Generator
    ) -> tuple[Selection, SelectorState]:
        assert losses.learner is not None
        assert losses.reference is not None
        p = (losses.learner - losses.reference).double().softmax(0)
        chosen = torch.multinomial(p, max(1, losses.count // 2), generator=generator)
        return Selection(chosen, probabilities=p), state


@final
@frozen
class Straight(Sampler):
    """Euler's method: dx / dsigma = (x - D(x; sigma)) / sigma."""

    name = "kit-straight"
    num_steps: int = option(32, help="steps; one evaluation each")

    def sigmas(self, denoiser: Denoiser) -> list[float]:
        return sigma_grid(self.num_steps, denoiser.space.sigma_min, denoiser.space.sigma_max)

    def steps(
        self, denoiser: Denoiser, x: Tensor, condition: Condition = None, streams: Streams | None = None
    ) -> Iterator[State]:
        denoiser, sigmas = denoiser.trajectory(), self.sigmas(denoiser)
        for i, (sigma, after) in enumerate(pairwise(sigmas)):
            slope = (x - denoiser(x, sigma, condition, toward=after, step=(sigma, after))) / sigma
            x = x + (after - sigma) * slope
            yield State(i + 1, self.num_steps, after, x)


@final
class Smooth(Leaf):
    """Images of any size, smoothed: m(c) + mean of the 7 x 7 pixels about each, divided by 1 + sigma^2.

    Args:
        conditioning: what m depends on, as of `GaussianDenoiser`.
    """

    def __init__(self, conditioning: Conditioning = "none") -> None:
        super().__init__(Space((2, 8, 8), sigma_data=0.5))
        self.pixel = GaussianDenoiser(0.1, dimension=2, conditioning=conditioning)

    def denoise(self, x: Tensor, sigma: Tensor, condition: Condition) -> Tensor:
        smooth = nn.functional.avg_pool2d(x, 7, stride=1, padding=3)
        mean = self.pixel.mean_of(condition, x[:, :, 0, 0])[:, :, None, None]
        return mean + smooth / (1 + sigma[:, None, None, None] ** 2)

    def null_condition(self, batch: int, device: torch.device) -> Condition:
        return self.pixel.null_condition(batch, device)

    @property
    def has_null(self) -> bool:
        return self.pixel.has_null

    def fits(self, shape: tuple[int, ...]) -> bool:
        return len(shape) == 3 and shape[0] == 2


@final
class Slope(Weight):
    """A weight that falls with the level, on its device: 1 / (1 + sigma)."""

    def forward(self, at: WeightInput) -> Level:
        return 1.0 / (1.0 + at.sigma)


@final
class LineDenoiser(Leaf):
    """x scaled, plus a linear layer of it; its parameters are drawn from torch's generator, or by a seed."""

    def __init__(self, space: Space, seed: int | None = None) -> None:
        super().__init__(space)
        with nullcontext() if seed is None else torch.random.fork_rng(devices=[]):
            if seed is not None:
                torch.default_generator.manual_seed(seed)
            self.layer = nn.Linear(space.shape[-1], space.shape[-1])

    def denoise(self, x: Tensor, sigma: Tensor, condition: Condition) -> Tensor:
        part = per_row(1 / (1 + sigma**2), x)
        denoised: Tensor = part * (x + self.layer(x))
        return denoised


@final
@frozen
class Line(Network):
    """A linear layer."""

    name = "kit-line"

    def build(self, domain: Domain) -> Leaf:
        return LineDenoiser(domain.space)


@final
@frozen
class _FirstMean(PerSample):
    """The mean of the first coordinate."""

    name = "first mean"
    better, aspect = "truth", "fidelity"
    formula = "mean of x_1"

    def each(self, arm: Arm, context: object) -> Tensor:
        return arm.samples.flatten(1)[:, 0]


@final
@frozen
class Normal(Task):
    """Points drawn from N(0.3, 0.5^2 I), or images."""

    name = "kit-normal"
    SPACE: ClassVar[Space] = Space((2,), sigma_data=0.5)
    shape: tuple[int, ...] = option((2,), help="shape of a sample")

    @property
    def space(self) -> Space:
        return evolve(self.SPACE, shape=self.shape)

    def draw(self, sigma: Tensor, streams: TrainingStreams) -> Examples:
        generator = streams.generator("data", sigma.device)
        clean = 0.3 + 0.5 * torch.randn(len(sigma), *self.shape, generator=generator, device=sigma.device)
        return noised(clean, sigma, streams)

    def start(self, streams: Streams, sigma: float) -> Start:
        return Start(sigma * streams.normal(self.shape, "start"))

    def recipe(self, role: str, main: Recipe | None) -> Recipe | None:
        if main is None:
            options = TrainOptions(duration=Duration(8, "it"), batch=8)
            return Train(task=self, denoiser=Line(), options=options) if role == "main" else None
        return evolve(main, seed=1) if isinstance(main, Train) else None

    def sampler(self) -> str:
        return "kit-straight"

    def truth(self, count: int, sampler: Sampler, seed: int) -> Sequence[Arm]:
        return [Arm("truth", 0.3 + 0.5 * SampleStreams(seed, range(count)).normal(self.shape, "truth"))]

    def metrics(self) -> Sequence[Metric]:
        return [_FirstMean()]

    def primary(self) -> Sequence[str]:
        return ("first mean",)

    def figure(self, arms: Sequence[Arm], path: Path) -> None:
        path.write_bytes(b"\x89PNG")


TOYS: Mapping[type[Strategy], tuple[Strategy, ...]] = {
    Guider: (Away(), Away(weight=3.0, model="bad")),
    Selector: (Scoring(), Half()),
    Sampler: (Straight(),),
    Network: (Line(),),
    Task: (Normal(),),
    Objective: (Denoising(),),
}
"""The toys of each kind."""
