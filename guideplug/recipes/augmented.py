"""Real examples together with samples: D_r ∪ D_s.

Source of training on such a union: Alemohammad et al. 2023, "Self-consuming generative models go MAD",
arXiv:2307.01850, the synthetic augmentation loop.
"""

from collections.abc import Mapping
from typing import Any, final

import torch
from attrs import frozen
from attrs.validators import optional
from torch import Tensor, nn

from guideplug.config import at_least, option
from guideplug.denoise import Condition, concatenate, on_device, select_rows
from guideplug.errors import RecipeError
from guideplug.recipe import Builder, Recipe
from guideplug.recipes.data import DataModule, DataRecipe, check_data
from guideplug.rng import derived_seed
from guideplug.task import Task

__all__ = ["Augmented", "AugmentedSet"]


@final
@frozen(kw_only=True)
class Augmented(DataRecipe):
    """The real examples of a task of finite data together with samples, drawn uniformly."""

    name = "augmented"
    stored = False
    on: Recipe = option(help="the samples: a recipe of data, such as synthetic(of=..., count=...)")
    task: Task = option(help="the task whose examples are the real ones")
    real: int | None = option(
        None, help="number of real examples; none for all", unit="examples", validator=optional(at_least(0))
    )
    seed: int = option(0, help="seed of the choice of real examples, where not all are used")

    def __attrs_post_init__(self) -> None:
        check_data(self.on, "on")

    def build(self) -> "AugmentedSet":
        others = self.on.build()
        assert isinstance(others, DataModule)
        return AugmentedSet(self.task, self.chosen, others)

    @property
    def chosen(self) -> Tensor:
        """The numbers of the real examples among the task's, in order, int64.

        Raises:
            RecipeError: the task has fewer examples.
        """
        if self.real == 0:
            return torch.arange(0)
        size = self.task.size()
        if size is None:
            raise RecipeError(
                f"augmented: task {self.task.name!r} draws its examples anew without end, so there are no "
                f"{'' if self.real is None else f'{self.real} '}real ones to add samples to: give a task of finite "
                "data, or real=0"
            )
        if self.real is None:
            return torch.arange(size)
        if self.real > size:
            raise RecipeError(
                f"augmented: real is {self.real}, and task {self.task.name!r} has {size} examples: give at most so many"
            )
        generator = torch.Generator().manual_seed(derived_seed("real examples", self.seed))
        return torch.randperm(size, generator=generator)[: self.real].sort().values

    def make(self, module: nn.Module, builder: Builder) -> Mapping[str, Any]:
        """Obtain the samples."""
        assert isinstance(module, AugmentedSet)
        others = builder.obtain(self.on)
        assert isinstance(others, DataModule)
        module.others = others
        return {"data": f"{len(module.chosen)} real examples and {others.size()} samples"}

    def content(self) -> str:
        """The fingerprint of the real data."""
        return self.task.fingerprint()

    def check(self) -> None:
        self.on.check()
        _ = self.chosen


@final
class AugmentedSet(DataModule):
    """Real examples, which come first, and samples."""

    chosen: Tensor

    def __init__(self, task: Task, chosen: Tensor, others: DataModule) -> None:
        super().__init__()
        self._task, self.others = task, others
        self.register_buffer("chosen", chosen)

    def size(self) -> int:
        """The number of items, real and sampled."""
        return len(self.chosen) + self.others.size()

    def items(self, ids: Tensor) -> tuple[Tensor, Condition]:
        """Items (B, *) by number, with their conditions."""
        device, count = self.chosen.device, len(self.chosen)
        ids = ids.to(device)
        real = ids < count
        parts = []
        if bool(real.any()):
            parts.append(self._task.items(self.chosen[ids[real]].cpu()))
        if not bool(real.all()):
            parts.append(self.others.items(ids[~real] - count))
        clean = torch.cat([x.to(device) for x, _ in parts])
        together, condition = concatenate([on_device(condition, device) for _, condition in parts])
        if not together:
            raise RecipeError(
                f"augmented: the examples of task {self._task.name!r} and the samples beside them have conditions of "
                "different kinds: give samples that were drawn under conditions of that task"
            )
        places = torch.cat([real.nonzero(), (~real).nonzero()]).flatten().argsort()
        return clean[places], select_rows(condition, places)
