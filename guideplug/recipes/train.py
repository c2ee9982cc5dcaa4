"""Training a denoiser from scratch."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, final

from attrs import frozen
from torch import nn

from guideplug.check.training_data import check_data as check_task_data
from guideplug.config import option, short
from guideplug.denoise import Leaf
from guideplug.errors import CheckpointError
from guideplug.files.tensors import fill_module, tensors_digest
from guideplug.recipe import Builder, MainRecipe, Planned, Recipe
from guideplug.recipes.data import check_data
from guideplug.recipes.load import Load
from guideplug.recipes.selected_training import SelectedTraining
from guideplug.rng import derived_seed
from guideplug.select import Selector
from guideplug.task import Network, Task, seeded_build
from guideplug.train.examples import finite
from guideplug.train.options import TrainOptions

__all__ = ["Train"]


@final
@frozen(kw_only=True)
class Train(SelectedTraining, MainRecipe):
    """Train a denoiser from scratch, on the data of a task or of a recipe."""

    name = "train"
    task: Task = option(help="the task: the data, unless ``on`` replaces them")
    denoiser: Network = option(help="the architecture")
    options: TrainOptions = option(help="options of training")
    seed: int = option(0, help="seed of the initial weights and of every random draw")
    selector: Selector | None = option(None, help="the selector: which examples of a super-batch are trained on")
    models: Mapping[str, Recipe] = option(factory=dict, help="the networks that the selector scores with, by role")
    on: Recipe | None = option(
        None, help="the data, where they are not the task's: a recipe of data, such as synthetic(of=..., count=...)"
    )
    start: Recipe | None = option(
        None, help="the initial weights, where they are not drawn: a recipe of such a network, as in load(path=...)"
    )

    def __attrs_post_init__(self) -> None:
        if self.on is not None:
            check_data(self.on, "on")

    def build(self) -> Leaf:
        """The untrained denoiser, with initial weights determined by the seed."""
        return seeded_build(self.denoiser, self.task, derived_seed("initialisation", self.seed))

    def initialize(self, module: nn.Module, builder: Builder) -> None:
        """Set initial weights: random ones are set already, others are copied."""
        if self.start is not None:
            _start_from(self.start, builder.obtain(self.start), module)

    @property
    def data(self) -> Recipe | Task:
        return self.task if self.on is None else self.on

    @property
    def estimated_on(self) -> Any:
        return self.task

    def cautions(self) -> Iterable[str]:
        """Suspicious properties of the task's data, a line each."""
        if self.on is None:
            yield from check_task_data(self.task, network=self.build(), batch=self.options.batch)

    def reading(self, path: str, denoiser: Network) -> Load:
        """The recipe of a network for the same task with weights from a file."""
        return Load(path=path, task=self.task, denoiser=denoiser)

    def content(self) -> str:
        """The data's fingerprint; for networks built by the user's own code also the initial weights."""
        own = tensors_digest(self.build().state_dict()) if self.denoiser.content() else ""
        return self.task.fingerprint() + own

    def check(self) -> None:
        self.options.check()
        if self.start is not None:
            self.start.check()
            _start_from(self.start, self.start.build(), self.build())
        if self.on is not None:
            self.on.check()
        elif self.options.noise_streams:
            finite(self.task)
        self.check_selector()

    def evaluates(self) -> Iterator[Planned]:
        """Its batches; for a scoring selector also those of the guided learner and of the reference."""
        return self.evaluates_on(self.task)


def _start_from(start: Recipe, network: nn.Module, module: nn.Module) -> None:
    """Copy the weights of the network that a training starts from; names must match exactly."""
    origin = f"start={short(start)}"
    prefix = fill_module(module, network.state_dict(), origin)
    if prefix:
        raise CheckpointError(
            f"{origin} is a {type(network).__name__}, whose names begin with {prefix!r} and those of "
            f"{type(module).__name__} do not: start from a network of the same denoiser"
        )
