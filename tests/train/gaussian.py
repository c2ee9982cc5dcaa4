"""Gaussian data, an affine denoiser of them, and a selector that chooses what it is told."""

import json
import math
from collections.abc import Callable
from typing import Any, final

import torch
from attrs import evolve, frozen
from safetensors.torch import load, save
from torch import Tensor, nn

from guideplug import (
    CandidateRequest,
    Condition,
    Examples,
    Leaf,
    LogNormal,
    Losses,
    Selection,
    Selector,
    SelectorState,
    Space,
    TrainingStreams,
    TrainOptions,
    noised,
    option,
)
from guideplug.train import Training
from guideplug_jest import JEST

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


def weight_of(weighting: str, sigma: Tensor) -> Tensor:
    if weighting == "score":
        return 1 / sigma**2
    return (sigma**2 + 0.49) / (0.49 * sigma**2) if weighting == "edm" else sigma * 0 + 1


def loss_by_hand(w: Tensor, b: Tensor, examples: Examples, sigma: Tensor, weighting: str) -> Tensor:
    denoised = (examples.x.double() * w + b) / (1 + sigma.double()[:, None] ** 2)
    return weight_of(weighting, sigma.double()) * (denoised - examples.target.double()).square().sum(1) / 2


def resumed(now: Training, fresh: Callable[[], Training]) -> Training:
    """Another training that got the state of this one as it would be read from a file."""
    tensors, data = now.state()
    again = fresh()
    again.load_state(load(save({name: t.contiguous() for name, t in tensors.items()})), json.loads(json.dumps(data)))
    return again


JESTER = JEST(filter_ratio=0.5, num_chunks=4)
