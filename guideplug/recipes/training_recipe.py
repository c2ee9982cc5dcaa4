"""The common part of training from scratch and fine-tuning: the training, its averages, facts and checkpoints."""

import abc
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import attrs
from attrs import asdict
from torch import Tensor, nn

from guideplug.config import Duration
from guideplug.denoise import Leaf
from guideplug.errors import DivergenceError, RecipeError
from guideplug.recipe import Builder, Extra, Recipe
from guideplug.recipes.averages import Average, Averaged, stored_averages
from guideplug.recipes.data import DataModule
from guideplug.recipes.network import named_denoiser
from guideplug.recipes.snapshot import Snapshot
from guideplug.task import Task
from guideplug.train import Training

__all__ = ["TrainingRecipe"]

TRIED, TIMED = 3, 8
"""Warm-up and timed iterations of an estimate."""


class TrainingRecipe(Averaged):
    """A recipe that trains a denoiser. Final frozen attrs classes with ``options`` and ``seed``."""

    seed: int

    @abc.abstractmethod
    def initialize(self, module: nn.Module, builder: Builder) -> None:
        """Set the weights at the start of the training."""

    @property
    @abc.abstractmethod
    def data(self) -> Recipe | Task:
        """The training data."""

    @property
    @abc.abstractmethod
    def estimated_on(self) -> Any:
        """Available data that cost as much to draw as its own, for estimates."""

    def selection(self, builder: Builder) -> Mapping[str, Any]:
        """The data selection, as arguments of `guideplug.train.Training`."""
        return {}

    # The work

    def make(self, module: nn.Module, builder: Builder) -> Mapping[str, Any]:
        """Set the initial weights and train."""
        self.initialize(module, builder)
        return self.train(module, builder)

    def train(self, module: nn.Module, builder: Builder) -> Mapping[str, Any]:
        """Train ``module`` in place, from the state of an earlier attempt if there is one; facts of the training.

        Raises:
            DivergenceError: a loss or a weight is not finite; the message names the last good weights.
        """
        training = self._training(module, builder)
        builder.checkpoint(training)
        until, unit = self.options.duration.amount, self.options.duration.unit
        seconds = round(training.counters.total_seconds, 3)
        builder.progress(training.step, until, reached=training.reached(unit), unit=unit, seconds=seconds)
        extras: dict[str, Extra] = {one.file: one for one in (*builder.expected(self), *self.extras())}
        moments = _by_step([one for one in extras.values() if isinstance(one, Average) and one.at is not None])

        def each(now: Training) -> None:
            if now.step in moments:
                now.check_finite()
            for one in moments.get(now.step, []):
                builder.keep(one.file, now.weights(one.ema))
            if now.done():
                now.check_finite()
            if now.done() or now.checked == now.step:
                builder.progress(now.step, until, now.last_loss, **_details(now))
            else:
                builder.progress(now.step, until)

        try:
            training.run(each=each)
        except DivergenceError as error:
            raise DivergenceError(f"{error}; {_last_good(training, builder)}") from None
        for length in self.options.ema:
            builder.keep(Average(of=self, ema=length).file, training.weights(length))
        module.load_state_dict(training.weights())
        return _facts(training)

    def _training(self, module: nn.Module, builder: Builder) -> Training:
        if not isinstance(module, Leaf):
            raise RecipeError(f"{self.name} trains denoisers, not {type(module).__name__}")
        if not any(True for _ in module.parameters()):
            raise RecipeError(
                f"{self.name}: {type(module).__name__} has no parameters that could be trained: wrap a module, not a "
                "function that hides one"
            )
        selection = self.selection(builder)
        data: Any = self.data
        if isinstance(data, Recipe):
            data = builder.obtain(data)
            assert isinstance(data, DataModule)
        return Training(module, data, self.options, seed=self.seed, role=builder.role, **selection)

    def begin(self, builder: Builder) -> Training:
        """The training at its start, with the networks of its selector; nothing is stored."""
        module = self.build().to(builder.device)
        self.initialize(module, builder)
        return self._training(module, builder)

    # Its averages

    def extras(self) -> Sequence[Average]:
        """The averages stored during the training."""
        return stored_averages(self)

    def make_extras(
        self, extras: Sequence[Extra], builder: Builder, keep: Callable[[str, Mapping[str, Tensor]], None]
    ) -> None:
        """Repeat the training, whose draws depend on the step alone, up to the last missing step."""
        averages = [one for one in extras if isinstance(one, Average)]
        training, end = self.begin(builder), self.options.steps

        def each(now: Training) -> None:
            for one in averages:
                if now.step == (end if one.at is None else one.at.amount):
                    keep(one.file, now.weights(one.ema))
            builder.stop_if_asked()

        moments = [one.at for one in averages if one.at is not None]
        last = max(moments, key=lambda at: at.amount) if len(moments) == len(averages) else None
        training.run(until=last, each=each)

    def moment(self, at: Duration) -> Recipe:
        """Its network at an earlier step."""
        return Snapshot(of=self, at=at)

    # Descriptions

    @property
    def iterations(self) -> int | None:
        return self.options.steps

    @property
    def training_seed(self) -> int | None:
        return self.seed

    @property
    def duration(self) -> Duration | None:
        return self.options.duration

    def with_duration(self, duration: Duration) -> Self:
        """The same training with another duration."""
        options = attrs.evolve(self.options, duration=duration)
        changed: Self = attrs.evolve(self, options=options)  # type: ignore[misc]
        return changed

    def lasting(self, duration: Duration) -> Self:
        """The old name of `with_duration`."""
        warnings.warn("plugin API 1: lasting is now called with_duration", DeprecationWarning, stacklevel=2)
        return self.with_duration(duration)

    def estimate(self) -> float | None:
        """Seconds of the training on this machine, from a few iterations of it without selection."""
        duration = self.options.duration
        if duration.unit == "s":
            return duration.amount
        training = Training(named_denoiser(self.build(), self.name), self.estimated_on, self.options, seed=self.seed)
        training.run(until=Duration(TRIED, "it"))
        begin = time.perf_counter()
        training.run(until=Duration(TRIED + TIMED, "it"))
        each = (time.perf_counter() - begin) / TIMED
        return each * (duration.amount if duration.unit == "it" else duration.amount / self.options.batch)


def _by_step(averages: Sequence[Average]) -> Mapping[float, Sequence[Average]]:
    moments: dict[float, list[Average]] = {}
    for one in averages:
        assert one.at is not None
        moments.setdefault(one.at.amount, []).append(one)
    return moments


def _details(training: Training) -> dict[str, Any]:
    """The details of a step for observers besides its loss."""
    counters, unit = training.counters, training.options.duration.unit
    return {
        "reached": training.reached(unit),
        "unit": unit,
        "lr": training.learning_rate,
        "kept": counters.backpropagated / max(counters.seen, 1),
        "effective_sample_size": counters.mean_effective_sample_size,
        "switched_off_at": counters.switched_off_at,
        "seen": counters.seen,
        "backpropagated": counters.backpropagated,
        "seconds": round(counters.total_seconds, 3),
        "phases": {name: round(seconds, 4) for name, seconds in counters.seconds.items()},
    }


def _facts(training: Training) -> dict[str, Any]:
    counters = training.counters
    return {
        "iterations": training.step,
        "seconds": counters.total_seconds,
        "phases": dict(counters.seconds),
        "seen": counters.seen,
        "scored": counters.scored,
        "evaluations": counters.evaluations,
        "backpropagated": counters.backpropagated,
        "switched_off_at": counters.switched_off_at,
        "effective_sample_size": counters.mean_effective_sample_size,
        "composition": training.composition,
        "last_loss": training.last_loss,
        **({"skipped": counters.skipped} if training.scaler.is_enabled() else {}),
        "history": [asdict(moment) for moment in (*training.history, counters.moment(training.step))],
    }


def _last_good(training: Training, builder: Builder) -> str:
    """The last good state of a diverged training, and how to start from it."""
    if not builder.checkpoint(training):
        return "no earlier state of it was kept"
    path = builder.keep(f"good-{training.step}it.safetensors", training.learner.state_dict())
    start = f'train(start=load(path="{path}"))'
    how = f"as the recipe {start}" if " " in training.role else f"with --model '{training.role}={start}'"
    return f"its last good weights are those after step {training.step}: begin a new run from them {how}"
