"""Tasks that break their contract, each in one way; a plugin file, loaded beside ``toy.py``."""

import math
from typing import Any

import torch
from attrs import evolve, frozen
from guideplug_local_toy import Toy  # type: ignore[import-not-found]

from guideplug import Start, Task, hook, option


@frozen
class NaNData(Toy):
    """Has examples that are no numbers."""

    name = "nan-data"

    def draw(self, sigma, streams):
        drawn = super().draw(sigma, streams)
        return evolve(drawn, x=drawn.x * math.nan, target=drawn.target * math.nan)


@frozen
class NaNDataLate(Toy):
    """Has an example that is no number, in a later step."""

    name = "nan-data-late"

    def draw(self, sigma, streams):
        drawn = super().draw(sigma, streams)
        if streams.step == 2:
            drawn.x[-1], drawn.target[-1] = math.nan, math.nan
        return drawn


@frozen
class OtherShape(Toy):
    """Has examples of another shape."""

    name = "other-shape"

    def draw(self, sigma, streams):
        drawn = super().draw(sigma, streams)
        return evolve(drawn, x=drawn.x[:, :1], target=drawn.target[:, :1])


@frozen
class OtherTarget(Toy):
    """Has targets of a shape that can be broadcast."""

    name = "other-target"

    def draw(self, sigma, streams):
        drawn = super().draw(sigma, streams)
        return evolve(drawn, target=drawn.target[:, :1])


@frozen
class FewerRows(Toy):
    """Draws fewer examples than levels."""

    name = "fewer-rows"

    def draw(self, sigma, streams):
        drawn = super().draw(sigma, streams)
        return evolve(drawn, x=drawn.x[:1], target=drawn.target[:1])


@frozen
class FewerRowsLate(Toy):
    """Draws one target for all, in a later step."""

    name = "fewer-rows-late"

    def draw(self, sigma, streams):
        drawn = super().draw(sigma, streams)
        return evolve(drawn, target=drawn.target[:1]) if streams.step == 2 else drawn


@frozen
class OtherDtype(Toy):
    """Has examples of another type."""

    name = "other-dtype"

    def draw(self, sigma, streams):
        drawn = super().draw(sigma, streams)
        return evolve(drawn, x=drawn.x.double(), target=drawn.target.double())


@frozen
class DrawsTensor(Toy):
    """Draws a tensor in place of examples."""

    name = "draws-tensor"

    def draw(self, sigma, streams):
        return super().draw(sigma, streams).x


@frozen
class DrawsNone(Toy):
    """Draws None."""

    name = "draws-none"

    def draw(self, sigma, streams):
        return None


@frozen
class LabelsOutOfRange(Toy):
    """Has labels out of range."""

    name = "labels-out-of-range"
    labels: bool = option(True, help="whether the point is a condition")

    def draw(self, sigma, streams):
        drawn = super().draw(sigma, streams)
        return evolve(drawn, condition=drawn.condition + 7)


@frozen
class StartLabelsOutOfRange(Toy):
    """Starts samples under labels out of range."""

    name = "start-labels-out-of-range"
    labels: bool = option(True, help="whether the point is a condition")

    def start(self, streams, sigma):
        start = super().start(streams, sigma)
        return Start(start.x, torch.full((len(start.x),), -1))


@frozen
class FewerLabels(Toy):
    """Has fewer labels than examples."""

    name = "fewer-labels"
    labels: bool = option(True, help="whether the point is a condition")

    def draw(self, sigma, streams):
        drawn = super().draw(sigma, streams)
        return evolve(drawn, condition=drawn.condition[:1])


@frozen
class ConditionOfText(Toy):
    """Has texts as conditions."""

    name = "condition-of-text"

    def draw(self, sigma, streams):
        return evolve(super().draw(sigma, streams), condition=["a point"] * len(sigma))


@frozen
class StartShape(Toy):
    """Starts of another shape."""

    name = "start-shape"

    def start(self, streams, sigma):
        return Start(sigma * streams.normal((3,), "start noise"))


@frozen
class StartNaN(Toy):
    """Starts that are no numbers."""

    name = "start-nan"

    def start(self, streams, sigma):
        return Start(math.nan * streams.normal((2,), "start noise"))


@frozen
class StartTensor(Toy):
    """Starts that are tensors."""

    name = "start-tensor"

    def start(self, streams, sigma):
        return sigma * streams.normal((2,), "start noise")


@frozen
class StartOne(Toy):
    """Starts one sample, whatever the streams."""

    name = "start-one"

    def start(self, streams, sigma):
        return Start(sigma * streams.normal((2,), "start noise")[:1])


@frozen
class StartDouble(Toy):
    """Starts of another type."""

    name = "start-double"

    def start(self, streams, sigma):
        return Start(sigma * streams.normal((2,), "start noise").double())


@frozen
class StartOfBatch(Toy):
    """Starts that depend on the batch."""

    name = "start-of-batch"

    def start(self, streams, sigma):
        start = sigma * streams.normal((2,), "start noise")
        return Start(start - start.mean(0))


WRONG: list[tuple[type[Any], str]] = [
    (NaNData, "finite"),
    (NaNDataLate, "finite"),
    (OtherShape, "shape"),
    (OtherTarget, "shape"),
    (FewerRows, "shape"),
    (FewerRowsLate, "shape"),
    (OtherDtype, "float64"),
    (DrawsTensor, "Examples"),
    (DrawsNone, "Examples"),
    (LabelsOutOfRange, "labels"),
    (StartLabelsOutOfRange, "labels"),
    (FewerLabels, "condition"),
    (ConditionOfText, "condition"),
    (StartShape, "shape"),
    (StartNaN, "finite"),
    (StartTensor, "Start"),
    (StartOne, "shape"),
    (StartDouble, "float64"),
    (StartOfBatch, "batch"),
]


@hook
def guideplug_tasks() -> list[type[Task]]:
    return [cls for cls, _ in WRONG]
