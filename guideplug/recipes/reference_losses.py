"""A table of the losses of a network on finite data."""

import time
from collections.abc import Iterator, Mapping
from typing import Any, Literal, final

import torch
from attrs import frozen
from torch import Tensor, nn

from guideplug.config import Source, at_least, between, option
from guideplug.errors import DivergenceError
from guideplug.noise import LogNormal, NoiseDistribution
from guideplug.objective import Objective
from guideplug.recipe import Builder, Planned, Recipe
from guideplug.recipes.network import denoiser_of
from guideplug.recipes.planned import PlannedBatch
from guideplug.task import Task
from guideplug.train.examples import LossTable, NoiseStreams, finite, with_dropped_conditions
from guideplug.train.loss import Denoising, Loss

__all__ = ["ReferenceLosses"]

BATCH = 4096


@final
@frozen(kw_only=True)
class ReferenceLosses(Recipe):
    """The losses of a network on every noisy example of finite data with noise streams, computed once."""

    name = "reference-losses"
    source = Source(
        "S. Mindermann et al.",
        2022,
        "Prioritized Training on Points that are Learnable, Worth Learning, and Not Yet Learnt",
        "https://arxiv.org/abs/2206.07137",
        "algorithm 1, whose irreducible losses are computed before training",
    )
    of: Recipe = option(help="the network")
    task: Task = option(help="the data, of a finite number of items")
    streams: int = option(help="noise streams per item", validator=at_least(1))
    noise: NoiseDistribution = option(factory=LogNormal, help="distribution of the noise level")
    condition_dropout: float = option(0.0, help="share of examples under the null condition", validator=between(0, 1))
    weighting: Literal["edm", "score", "uniform"] = option("edm", help="weight on the denoising error")
    precision: Literal["fp32", "bf16", "fp16"] = option("fp32", help="precision of the network's arithmetic")
    objective: Objective = option(
        factory=Denoising, help="the objective whose losses they are", identity="unless default"
    )

    def build(self) -> LossTable:
        return LossTable(self.draws.items, self.streams)

    @property
    def draws(self) -> NoiseStreams:
        """The noise streams that number the noisy examples."""
        return NoiseStreams(finite(self.task), self.streams, self.noise, self.condition_dropout)

    @property
    def loss(self) -> Loss:
        """The loss of an example."""
        return Loss(self.weighting, self.precision, self.objective)

    def make(self, module: nn.Module, builder: Builder) -> Mapping[str, Any]:
        """Compute the losses."""
        assert isinstance(module, LossTable)
        losses, seconds = self.score(builder)
        module.losses.copy_(losses)
        return {"evaluations": losses.numel(), "seconds": seconds}

    def score(self, builder: Builder) -> tuple[Tensor, float]:
        """The losses, (items, streams), and the seconds of their computation.

        Raises:
            DivergenceError: a loss is not finite.
        """
        denoiser, draws, begin = denoiser_of(builder.obtain(self.of)), self.draws, time.perf_counter()
        parts = []
        for first in range(0, draws.items * draws.count, BATCH):
            numbers = torch.arange(first, min(first + BATCH, draws.items * draws.count))
            drawn = draws.numbered(numbers // draws.count, numbers % draws.count, builder.device)
            examples = with_dropped_conditions(drawn, denoiser)
            with torch.no_grad():
                losses = self.loss.of(denoiser, examples, drawn.sigma, denoiser.space.sigma_data)
            parts.append(losses.float().cpu())
            builder.stop_if_asked()
        table = torch.cat(parts).reshape(draws.items, draws.count)
        if not bool(torch.isfinite(table).all()):
            raise DivergenceError(f"the losses of {denoiser.role!r} that are selected by are not all finite")
        return table, time.perf_counter() - begin

    def evaluates(self) -> Iterator[Planned]:
        """The network on noisy examples of the data."""
        drops = self.condition_dropout > 0
        levels = self.noise.quartiles
        yield PlannedBatch(
            user="a reference's scoring", of=self.of, task=self.task, levels=levels, drops=drops, loss=self.loss
        )

    def content(self) -> str:
        """The fingerprint of the data."""
        return self.task.fingerprint()
