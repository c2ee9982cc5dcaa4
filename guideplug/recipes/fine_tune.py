"""Fine-tuning of a copy of a denoiser."""

from collections.abc import Iterator
from typing import Any, final

from attrs import frozen
from torch import nn

from guideplug.config import option
from guideplug.recipe import Builder, Planned, Recipe
from guideplug.recipes.data import check_data
from guideplug.recipes.planned import PlannedBatch
from guideplug.recipes.training_recipe import TrainingRecipe
from guideplug.task import Task
from guideplug.train.examples import finite
from guideplug.train.options import TrainOptions

__all__ = ["FineTune"]


@final
@frozen(kw_only=True)
class FineTune(TrainingRecipe):
    """Train a copy of a recipe's denoiser further, on the data of a task or of a recipe."""

    name = "fine-tune"
    of: Recipe = option(help="the recipe of the network whose copy is trained")
    on: "Recipe | Task" = option(help="the data: a task, or a recipe of data, such as synthetic(of=..., count=...)")
    options: TrainOptions = option(help="options of training")
    seed: int = option(0, help="seed of every random draw")

    def __attrs_post_init__(self) -> None:
        if isinstance(self.on, Recipe):
            check_data(self.on, "on", "a task, or ")

    def build(self) -> nn.Module:
        return self.of.build()

    def initialize(self, module: nn.Module, builder: Builder) -> None:
        """Copy the weights of the other recipe's denoiser."""
        module.load_state_dict(builder.obtain(self.of).state_dict())

    @property
    def data(self) -> Recipe | Task:
        return self.on

    @property
    def estimated_on(self) -> Any:
        return getattr(self.on, "task", self.on)

    def content(self) -> str:
        return self.on.fingerprint() if isinstance(self.on, Task) else ""

    def check(self) -> None:
        self.options.check()
        if isinstance(self.on, Recipe):
            self.on.check()
        elif self.options.noise_streams:
            finite(self.on)

    def evaluates(self) -> Iterator[Planned]:
        """Its batches, under the conditions of the task of its data, if they name one."""
        task = self.on if isinstance(self.on, Task) else getattr(self.on, "task", None)
        if isinstance(task, Task):
            options = self.options
            yield PlannedBatch(
                user="its training",
                of=self,
                task=task,
                levels=options.noise.quartiles,
                drops=options.condition_dropout > 0,
                loss=options.loss,
            )
