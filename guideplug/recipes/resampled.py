"""Data with a chosen share of one group, for shifting a distribution.

Source: S. Alemohammad et al. 2024, "Self-improving diffusion models with synthetic data", arXiv:2408.16333: to raise a
group's share above the data's, the auxiliary network is trained on samples whose share is as far below it.
"""

from collections.abc import Mapping
from typing import Any, final

import torch
from attrs import frozen
from torch import Tensor, nn

from guideplug.config import Source, between, option, up_to
from guideplug.denoise import Condition, on_device
from guideplug.errors import RecipeError, nearest
from guideplug.recipe import Builder, Recipe
from guideplug.recipes.data import DataModule, DataRecipe, check_data
from guideplug.rng import derived_seed
from guideplug.task import Examples, Task

__all__ = ["Resampled", "ResampledSet"]

BATCH = 4096


@final
@frozen(kw_only=True)
class Resampled(DataRecipe):
    """Data chosen from other data so that a group has a given share, as nearly as their number allows.

    Within the group and outside it items are chosen without replacement if there are enough; else each is taken equally
    often, up to a difference of one.
    """

    name = "resampled"
    stored = False
    source = Source(
        "S. Alemohammad, A. I. Humayun, S. Agarwal, J. Collomosse, R. Baraniuk",
        2024,
        "Self-Improving Diffusion Models with Synthetic Data",
        "https://arxiv.org/abs/2408.16333",
    )
    of: Recipe = option(help="the data that are chosen from, such as synthetic(of=..., count=...)")
    task: Task = option(help="the task that defines the groups")
    share: float = option(help="the share of the group", validator=between(0, 1))
    group: int | str = option(help="which of the task's groups, by its number from 0 or its name")
    count: int | None = option(
        None, help="number of samples; none for as many as there are", unit="samples", validator=up_to(100_000_000)
    )
    seed: int = option(0, help="seed of the choice")

    def __attrs_post_init__(self) -> None:
        check_data(self.of, "of")

    def build(self) -> "ResampledSet":
        others = self.of.build()
        assert isinstance(others, DataModule)
        return ResampledSet(others, self.count or others.size())

    @property
    def number(self) -> int:
        """The number of the group among the task's.

        Raises:
            RecipeError: the task has no group of this name.
        """
        names = list(self.task.groups())
        if not names:
            raise RecipeError(f"resampled: task {self.task.name!r} does not tell groups of its data apart")
        if isinstance(self.group, str) and self.group in names:
            return names.index(self.group)
        if isinstance(self.group, int) and 0 <= self.group < len(names):
            return self.group
        known = ", ".join(f"{number} ({name})" for number, name in enumerate(names))
        near = nearest(self.group, names) if isinstance(self.group, str) else ""
        raise RecipeError(f"resampled: task {self.task.name!r} has no group {self.group!r}{near}; it has {known}")

    def make(self, module: nn.Module, builder: Builder) -> Mapping[str, Any]:
        """Choose the items."""
        assert isinstance(module, ResampledSet)
        number, others = self.number, builder.obtain(self.of)
        assert isinstance(others, DataModule)
        inside = self._groups(others) == number
        count = len(module.numbers)
        target = round(self.share * count)
        generator = torch.Generator().manual_seed(derived_seed("resampled", self.seed))
        parts = []
        for members, taken, extent in (
            (inside, target, "none"),
            (~inside, count - target, "every one"),
        ):
            if taken and not bool(members.any()):
                raise RecipeError(
                    f"resampled: a share of {self.share:g} of {self.task.groups()[number]!r} cannot be reached: "
                    f"{extent} of the {len(inside)} samples is in that group"
                )
            parts.append(_taken(members.nonzero().flatten(), taken, generator))
        module.others = others
        module.numbers.copy_(torch.cat(parts))
        return {"data": f"{count} of {len(inside)} samples, {target} of them {self.task.groups()[number]}"}

    def _groups(self, data: DataModule) -> Tensor:
        """The number of each item's group, int64 (N,), on the CPU."""
        masks = []
        for ids in torch.split(torch.arange(data.size()), BATCH):
            x, condition = data.items(ids)
            x, condition = x.cpu(), on_device(condition, torch.device("cpu"))
            groups = self.task.group(Examples(x, x, condition))
            groups = self.task.group_of(x) if groups is None else groups
            if groups is None:
                raise RecipeError(
                    f"resampled: task {self.task.name!r} cannot tell the groups of samples apart: it needs group_of"
                )
            masks.append(groups.cpu())
        return torch.cat(masks)

    def content(self) -> str:
        """The fingerprint of the task, which defines the groups."""
        return self.task.fingerprint()

    def check(self) -> None:
        self.of.check()
        _ = self.number


def _taken(members: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """``count`` of some numbers, each equally often, up to a difference of one."""
    if not count:
        return members[:0]
    rounds, rest = divmod(count, len(members))
    return torch.cat([*[members] * rounds, members[torch.randperm(len(members), generator=generator)[:rest]]])


@final
class ResampledSet(DataModule):
    """Items of other data, by their numbers."""

    numbers: Tensor

    def __init__(self, others: DataModule, count: int) -> None:
        super().__init__()
        self.others = others
        self.register_buffer("numbers", torch.zeros(count, dtype=torch.int64))

    def size(self) -> int:
        """The number of chosen items."""
        return len(self.numbers)

    def items(self, ids: Tensor) -> tuple[Tensor, Condition]:
        """Items (B, *) by number, with their conditions."""
        return self.others.items(self.numbers[ids.to(self.numbers.device)])
