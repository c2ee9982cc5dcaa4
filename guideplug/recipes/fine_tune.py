"""Fine-tuning of a copy of a denoiser."""

from collections.abc import Iterator, Mapping
from typing import Any, final

from attrs import evolve, frozen
from torch import nn

from guideplug.config import option
from guideplug.errors import RecipeError
from guideplug.recipe import Builder, MainRecipe, OpenRoles, Planned, Recipe
from guideplug.recipes.data import check_data
from guideplug.recipes.network import main_of
from guideplug.recipes.selected_training import SelectedTraining
from guideplug.select import Selector
from guideplug.task import Task
from guideplug.train.examples import finite
from guideplug.train.options import TrainOptions

__all__ = ["FineTune"]


@final
@frozen(kw_only=True)
class FineTune(SelectedTraining):
    """Train a copy of a recipe's denoiser further, on the data of a task or of a recipe."""

    name = "fine-tune"
    of: Recipe = option(help="the recipe of the network whose copy is trained")
    on: "Recipe | Task" = option(help="the data: a task, or a recipe of data, such as synthetic(of=..., count=...)")
    options: TrainOptions = option(help="options of training")
    seed: int = option(0, help="seed of every random draw")
    selector: Selector | None = option(
        None, help="the selector: which examples of a super-batch are trained on", identity="unless default"
    )
    models: Mapping[str, Recipe] = option(
        factory=dict, help="the networks that the selector scores with, by role", identity="unless default"
    )

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
        if missing := self._missing:
            assert self.selector is not None
            table = ", ".join(f"{role}=..." for role in missing)
            raise RecipeError(
                f"fine-tune: selector {self.selector.name!r} scores with a network for "
                f"{' and '.join(map(repr, missing))}: name it in models, as in fine-tune(..., models=table({table}))"
            )
        self.check_selector()

    def evaluates(self) -> Iterator[Planned]:
        """Its batches, under the conditions of the task of its data, if they name one."""
        task = self._task
        return iter(()) if task is None else self.evaluates_on(task)

    @property
    def _task(self) -> Task | None:
        """The task of its data, if they name one."""
        task = self.on if isinstance(self.on, Task) else getattr(self.on, "task", None)
        return task if isinstance(task, Task) else None

    @property
    def _missing(self) -> Mapping[str, Recipe | str | None]:
        """The selector's needs that ``models`` lacks; see `Selector.needs`."""
        if self.selector is None:
            return {}
        task = self._task
        if task is None:
            raise RecipeError(
                f"fine-tune: selector {self.selector.name!r} needs a task, and the data {self.on.name!r} name none: "
                "leave the selector out"
            )
        main = main_of(self.of, task)
        if isinstance(main, MainRecipe):
            main = main.with_options(selector=None, models={}, start=None)
        needs = self.selector.needs(task, main)
        return {role: recipe for role, recipe in needs.items() if role not in self.models}

    @property
    def open_roles(self) -> OpenRoles | None:
        """The selector's needs that ``models`` lacks; a run fills them with its networks of these roles."""
        missing = self._missing
        if self.selector is None or not missing:
            return None
        return OpenRoles(None, missing, f"selector {self.selector.name!r} of a fine-tuning")

    def filled(self, models: Mapping[str, Recipe]) -> "FineTune":
        """With further networks in ``models``."""
        return evolve(self, models={**self.models, **models})
