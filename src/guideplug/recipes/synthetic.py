"""Data sets that a denoiser has drawn.

Source of synthetic data as a training set for a guide: Alemohammad, Humayun, Agarwal, Collomosse and Baraniuk 2024,
"Self-improving diffusion models with synthetic data", arXiv:2408.16333.
"""

from collections.abc import Mapping
from typing import Any, final

import torch
from attrs import frozen
from torch import Tensor, nn

from guideplug.config import Source, at_least, option
from guideplug.denoise import Condition, Denoiser, select_rows
from guideplug.guide import Guider
from guideplug.noise import SampleStreams, TrainingStreams, derived_seed
from guideplug.recipe import Recipe, Workshop
from guideplug.sample import Sampler
from guideplug.task import Examples, Task, noised

__all__ = ["SampleSet", "Synthetic"]


@final
@frozen(kw_only=True)
class Synthetic(Recipe):
    """A data set of samples drawn from a recipe's denoiser, under the conditions that its task gives."""

    name = "synthetic"
    source = Source(
        "S. Alemohammad, A. I. Humayun, S. Agarwal, J. Collomosse, R. Baraniuk",
        2024,
        "Self-Improving Diffusion Models with Synthetic Data",
        "https://arxiv.org/abs/2408.16333",
    )
    of: Recipe = option(help="whose denoiser draws them")
    task: Task = option(help="the task that starts and conditions come from")
    sampler: Sampler = option(help="how they are drawn")
    count: int = option(4096, help="how many samples", unit="samples", validator=at_least(1))
    guider: Guider | None = option(None, help="how the drawing is guided, by guiders without other networks")
    seed: int = option(0, help="decides the draws")

    def build(self) -> "SampleSet":
        return SampleSet(self.task, self.count, self.stream_seed)

    @property
    def stream_seed(self) -> int:
        """The seed of the samples' random streams: never that of a run's samples, which would be these very ones."""
        return derived_seed("synthetic", self.seed)

    def make(self, module: nn.Module, workshop: Workshop) -> Mapping[str, Any]:
        """Draw them."""
        assert isinstance(module, SampleSet)
        module.x.copy_(workshop.synthesize(self))
        return {"count": self.count}

    def content(self) -> str:
        """The fingerprint of the data that the conditions are drawn from."""
        return self.task.fingerprint()

    def denoiser(self, base: Denoiser) -> Denoiser:
        """What draws them, given the network of ``of``."""
        return base if self.guider is None else self.guider.guide(base, {})


@final
class SampleSet(nn.Module):
    """Samples as training data: each is drawn with equal chance, with fresh noise, under the condition it has."""

    x: Tensor

    def __init__(self, task: Task, count: int, seed: int) -> None:
        super().__init__()
        self._task, self._seed = task, seed
        self._condition: Condition = None
        self._known = False
        self.register_buffer("x", torch.zeros(count, *task.space.shape))

    def size(self) -> int:
        """How many samples there are."""
        return len(self.x)

    def items(self, ids: Tensor) -> tuple[Tensor, Condition]:
        """Some of the samples (B, *), by number, and the conditions that they were drawn under."""
        if not self._known:  # they follow from the streams, which are the same
            starts = SampleStreams(self._seed, range(len(self.x)), self.x.device)
            self._condition = self._task.start(starts, self._task.space.sigma_max).condition
            self._known = True
        ids = ids.to(self.x.device)
        return self.x[ids], select_rows(self._condition, ids)

    def draw(self, sigma: Tensor, streams: TrainingStreams) -> Examples:
        """One noisy sample for each level in ``sigma`` (B,)."""
        ids = torch.randint(len(self.x), (len(sigma),), generator=streams.generator("data"), device=sigma.device)
        clean, condition = self.items(ids)
        return noised(clean, sigma, streams, condition, ids)
