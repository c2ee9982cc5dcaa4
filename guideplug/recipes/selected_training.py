"""The common part of trainings with a selector: its networks, their precomputed losses, and what is tried first."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from attrs import evolve
from torch import Tensor

from guideplug.config import named
from guideplug.errors import RecipeError
from guideplug.recipe import Builder, Planned, Recipe
from guideplug.recipes.network import denoiser_of
from guideplug.recipes.planned import PlannedBatch
from guideplug.recipes.reference_losses import ReferenceLosses
from guideplug.recipes.training_recipe import TrainingRecipe
from guideplug.select import Selector
from guideplug.task import Task
from guideplug.train.examples import NO_SEPARATE_NOISE, LossTable
from guideplug.train.selection import tried_plan

__all__ = ["SelectedTraining"]


class SelectedTraining(TrainingRecipe):
    """A training whose super-batches a selector chooses from, if it has one.

    Final frozen attrs classes with ``selector`` and ``models``, the networks that it scores with by role.
    """

    selector: Selector | None
    models: Mapping[str, Recipe]

    def selection(self, builder: Builder) -> Mapping[str, Any]:
        """The selector, its other networks, and their precomputed losses."""
        references = {role: denoiser_of(builder.obtain(inner)) for role, inner in self.models.items()}
        tables: dict[str, Tensor] = {}
        for role, table in self.tables.items():
            losses = builder.obtain(table)
            assert isinstance(losses, LossTable)
            tables[role] = losses.losses.cpu()
        return {"selector": self.selector, "references": references, "tables": tables}

    def prerequisites(self) -> Iterable[Recipe]:
        """The tables of losses of its selector."""
        return self.tables.values()

    def check_selector(self) -> None:
        """Refuse a selector that a training with these options cannot have.

        Raises:
            RecipeError: a share of a duration without an end, or separate noise with noise streams.
        """
        if self.selector is None:
            return
        try:
            selector = self.selector.lasting(self.options.duration)
        except ValueError as error:
            raise RecipeError(str(error)) from None
        if self.options.noise_streams and selector.plan(self.options.batch, selector.init()).separate_noise:
            raise RecipeError(NO_SEPARATE_NOISE.format(self.options.noise_streams))

    def evaluates_on(self, task: Task) -> Iterator[Planned]:
        """Its batches; for a scoring selector also those of the guided learner and of the reference.

        Args:
            task: the task of examples and conditions.

        Raises:
            RecipeError: the selector makes no plan, or plans a reference that it does not need.
        """
        options = self.options
        batch = PlannedBatch(
            user="its training",
            of=self,
            task=task,
            levels=options.noise.quartiles,
            drops=options.condition_dropout > 0,
            loss=options.loss,
        )
        yield batch
        batch = evolve(batch, loss=options.score_loss)
        if self.selector is None:
            return
        who = named(self.selector)
        try:
            plan = tried_plan(self.selector.lasting(options.duration), options.batch)
        except ValueError as error:
            raise RecipeError(f"{who}: {error}") from None
        if plan.learner and plan.guider is not None:
            yield evolve(batch, user=who, guider=plan.guider, models=self.models)
        if plan.reference is None:
            return
        if plan.reference not in self.models:
            raise RecipeError(
                f"{who} scores with a network for the role {plan.reference!r}, and there is none: let its needs() name "
                "that role"
            )
        yield evolve(batch, user=who, of=self.models[plan.reference])

    @property
    def tables(self) -> Mapping[str, ReferenceLosses]:
        """The precomputable losses for the selector, by role: the reference's, for data with noise streams.

        Empty for data of a recipe: tables are for a task's own data.
        """
        options, task = self.options, self.data
        if self.selector is None or not isinstance(task, Task) or not options.noise_streams:
            return {}
        selector = self.selector.lasting(options.duration)
        role = selector.plan(options.batch, selector.init()).reference
        if role is None or role not in self.models:
            return {}
        loss = options.score_loss
        table = ReferenceLosses(
            of=self.models[role],
            task=task,
            streams=options.noise_streams,
            noise=options.noise,
            condition_dropout=options.condition_dropout,
            weighting=loss.weighting,
            precision=loss.precision,
            objective=loss.objective,
        )
        return {role: table}
