"""Data sets of samples of a denoiser.

Source of synthetic data as a training set for a guide: Alemohammad, Humayun, Agarwal, Collomosse and Baraniuk 2024,
"Self-improving diffusion models with synthetic data", arXiv:2408.16333.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, final

import torch
from attrs import evolve, frozen
from torch import Tensor, nn

from guideplug.config import Source, option, short, up_to
from guideplug.denoise import Condition, Denoiser, Weight, select_rows
from guideplug.errors import RecipeError
from guideplug.guide import Guider, guided_by
from guideplug.recipe import Builder, OpenRoles, Planned, Recipe
from guideplug.recipes.data import DataModule, DataRecipe
from guideplug.recipes.network import denoiser_of, main_of
from guideplug.recipes.planned import PlannedSampling
from guideplug.rng import SampleStreams, derived_seed
from guideplug.sample import Sampler, levels_of
from guideplug.task import Task

__all__ = ["SampleSet", "Synthetic"]

BATCH = 4096


@final
@frozen(kw_only=True)
class Synthetic(DataRecipe):
    """A data set of samples of a recipe's denoiser, under the conditions of its task."""

    name = "synthetic"
    source = Source(
        "S. Alemohammad, A. I. Humayun, S. Agarwal, J. Collomosse, R. Baraniuk",
        2024,
        "Self-Improving Diffusion Models with Synthetic Data",
        "https://arxiv.org/abs/2408.16333",
    )
    of: Recipe = option(help="the recipe of the denoiser that draws the samples")
    task: Task = option(help="the task that starts and conditions come from")
    sampler: Sampler = option(help="the sampler")
    count: int = option(4096, help="number of samples", unit="samples", validator=up_to(100_000_000))
    guider: Guider | None = option(None, help="the guider; none for unguided samples")
    models: Mapping[str, Recipe] = option(factory=dict, help="the guider's other networks, by role")
    seed: int = option(0, help="seed of the random draws")

    def build(self) -> "SampleSet":
        return SampleSet(self.task, self.count, self.stream_seed)

    @property
    def stream_seed(self) -> int:
        """The seed of the samples' random streams: distinct from that of a run's samples, which would be equal."""
        return derived_seed("synthetic", self.seed)

    def make(self, module: nn.Module, builder: Builder) -> Mapping[str, Any]:
        """Draw the samples."""
        assert isinstance(module, SampleSet)
        module.x.copy_(self.draw(builder))
        return {"count": self.count}

    def draw(self, builder: Builder) -> Tensor:
        """The samples (count, *), guided if the recipe has a guider."""
        models: dict[str, Any] = {}
        for role, inner in self.models.items():
            module = builder.obtain(inner)
            models[role] = module if isinstance(module, Weight) else denoiser_of(module)
        denoiser = self.denoiser(denoiser_of(builder.obtain(self.of)), models)
        parts = []
        sigma = levels_of(self.sampler, denoiser)[0]
        for begin in range(0, self.count, BATCH):
            streams = SampleStreams(self.stream_seed, range(begin, min(begin + BATCH, self.count)), builder.device)
            start = self.task.start(streams, sigma)
            parts.append(self.sampler.sample(denoiser, start.x, start.condition, streams))
            builder.stop_if_asked()
        return torch.cat(parts)

    def evaluates(self) -> Iterator[Planned]:
        """The sampling."""
        yield PlannedSampling(of=self.of, task=self.task, sampler=self.sampler, guider=self.guider, models=self.models)

    def content(self) -> str:
        """The fingerprint of the data of the conditions."""
        return self.task.fingerprint()

    def denoiser(self, base: Denoiser, models: Mapping[str, Denoiser]) -> Denoiser:
        """The sampled denoiser, from the network of ``of`` and those of ``models``.

        Raises:
            RecipeError: the guider needs a role that ``models`` lacks.
        """
        if self.guider is None:
            return base
        try:
            return guided_by(self.guider, base, models)
        except KeyError as error:
            raise self._unnamed([str(error.args[0])]) from None

    @property
    def missing(self) -> Mapping[str, Recipe | str | None]:
        """The guider's needs that ``models`` lacks; see `Guider.needs`."""
        if self.guider is None:
            return {}
        needs = self.guider.needs(self.task, main_of(self.of, self.task))
        return {role: recipe for role, recipe in needs.items() if role not in self.models}

    @property
    def open_roles(self) -> OpenRoles | None:
        """The guider's needs that ``models`` lacks; a run fills them for samples of its main network."""
        missing = self.missing
        if self.guider is None or not missing:
            return None
        return OpenRoles(self.of, missing, f"guider {short(self.guider)!r} of synthetic samples")

    def filled(self, models: Mapping[str, Recipe]) -> "Synthetic":
        """With further networks in ``models``."""
        return evolve(self, models={**self.models, **models})

    def check(self) -> None:
        """Refuse a guider with missing networks."""
        missing = self.missing
        if missing:
            raise self._unnamed(missing)

    def _unnamed(self, roles: Iterable[str]) -> RecipeError:
        assert self.guider is not None
        table = ", ".join(f"{role}=..." for role in roles)
        return RecipeError(
            f"synthetic: guider {self.guider.name!r} needs a network for {' and '.join(map(repr, roles))}: name it in "
            f"models, as in synthetic(..., models=table({table}))"
        )


@final
class SampleSet(DataModule):
    """Samples with their conditions."""

    x: Tensor

    def __init__(self, task: Task, count: int, seed: int) -> None:
        super().__init__()
        self._task, self._seed = task, seed
        self._condition: Condition = None
        self._known = False
        self.register_buffer("x", torch.zeros(count, *task.space.shape))

    def size(self) -> int:
        """The number of samples."""
        return len(self.x)

    def items(self, ids: Tensor) -> tuple[Tensor, Condition]:
        """Samples (B, *) by number, with their conditions."""
        if not self._known:  # conditions follow from the same streams
            starts = SampleStreams(self._seed, range(len(self.x)), self.x.device)
            self._condition = self._task.start(starts, self._task.space.sigma_max).condition
            self._known = True
        ids = ids.to(self.x.device)
        return self.x[ids], select_rows(self._condition, ids)
