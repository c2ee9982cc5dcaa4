"""The stored averages of trainings: per EMA length, at the end and at earlier steps."""

from typing import final

from attrs import frozen

from guideplug.config import Duration
from guideplug.recipe import Extra, Recipe
from guideplug.train.options import TrainOptions

__all__ = ["Average", "Averaged", "stored_averages"]


class Averaged(Recipe):
    """A training that keeps averages of its weights: train and fine-tune."""

    options: TrainOptions


@final
@frozen(kw_only=True)
class Average(Extra):
    """The averaged weights of a training at a step, with one of its EMA lengths.

    Args:
        of: the training.
        at: the step, in iterations; None for the end.
        ema: the EMA length; None for the first of the training.
    """

    of: Averaged
    at: Duration | None = None
    ema: float | None = None

    @property
    def file(self) -> str:
        ema = self.of.options.ema[0] if self.ema is None else self.ema
        moment = "end" if self.at is None else f"{int(self.at.amount)}it"
        return f"snapshot-{moment}-ema{ema:g}.safetensors"


def stored_averages(training: Averaged) -> tuple[Average, ...]:
    """The averages stored during a training, by step, then by length; the last are those of its end."""
    options = training.options
    return tuple(
        Average(of=training, at=None if step == options.steps else Duration(step, "it"), ema=length)
        for step in options.averaged_at
        for length in options.ema
    )
