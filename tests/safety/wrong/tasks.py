"""Tasks that break their contract, each in one way; a plugin file, loaded beside ``toy.py``."""

import math
from typing import Any

import torch
from attrs import evolve, frozen
from guideplug_local_toy import CENTRES, Distance, Toy  # type: ignore[import-not-found]

from guideplug import Arm, Examples, Start, Task, hook, option


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


@frozen
class NoSpace(Toy):
    """Has a shape in place of a space."""

    name = "no-space"

    @property
    def space(self):
        return (2,)


@frozen
class NoData(Toy):
    """Has no item."""

    name = "no-data"

    def size(self):
        return 0


@frozen
class SizeOfText(Toy):
    """Has a text as its size."""

    name = "size-of-text"

    def size(self):
        return "many"


@frozen
class FewTrueSamples(Toy):
    """Has one true sample."""

    name = "one-true-sample"

    def truth(self, count, sampler, seed):
        return [Arm("truth", CENTRES[:1])]


@frozen
class NoTrueSamples(Toy):
    """Has no reference arm."""

    name = "no-truth"

    def truth(self, count, sampler, seed):
        return []


@frozen
class EmptyTruth(Toy):
    """Has an empty reference arm."""

    name = "empty-truth"

    def truth(self, count, sampler, seed):
        return [Arm("truth", CENTRES[:0])]


@frozen
class MoreTruth(Toy):
    """Has more true samples than it is asked for."""

    name = "more-truth"

    def truth(self, count, sampler, seed):
        return [Arm("truth", CENTRES[torch.arange(2 * count) % 2])]


@frozen
class OtherTruthShape(Toy):
    """Has true samples of another shape."""

    name = "truth-shape"

    def truth(self, count, sampler, seed):
        return [Arm("truth", torch.ones(count, 3))]


@frozen
class NaNTruth(Toy):
    """Has true samples that are no numbers."""

    name = "nan-truth"

    def truth(self, count, sampler, seed):
        return [Arm("truth", CENTRES[torch.arange(count) % 2] * math.nan)]


@frozen
class UnnamedTruth(Toy):
    """Has no arm that is called truth."""

    name = "unnamed-truth"

    def truth(self, count, sampler, seed):
        return [Arm("real", CENTRES[torch.arange(count) % 2])]


@frozen
class TwiceNamedTruth(Toy):
    """Has two arms of one name."""

    name = "twice-named-truth"

    def truth(self, count, sampler, seed):
        return [Arm("truth", CENTRES[torch.arange(count) % 2])] * 2


@frozen
class TruthTensor(Toy):
    """Has a tensor as true samples."""

    name = "truth-tensor"

    def truth(self, count, sampler, seed):
        return CENTRES[torch.arange(count) % 2]


@frozen
class RepeatedMetric(Toy):
    """Has two metrics of one name."""

    name = "repeated-metric"

    def metrics(self):
        return [Distance(), Distance()]

    def primary(self):
        return ("distance",)


@frozen
class NoMetric(Toy):
    """Has a class among its metrics."""

    name = "class-metric"

    def metrics(self):
        return [Distance]

    def primary(self):
        return ()


@frozen
class UnknownPrimary(Toy):
    """Has a primary metric that it does not measure."""

    name = "unknown-primary"

    def primary(self):
        return ("no such metric",)


@frozen
class NoRecipe(Toy):
    """Has no recipe of the main network."""

    name = "no-recipe"

    def recipe(self, role, main):
        return None


@frozen
class DrawRaises(Toy):
    """Raises when examples are drawn, in a later step."""

    name = "draw-raises"

    def draw(self, sigma, streams):
        if streams.step == 2:
            raise LookupError("no\nsuch file")
        return super().draw(sigma, streams)


@frozen
class DrawExits(Toy):
    """Exits when examples are drawn, in a later step."""

    name = "draw-exits"

    def draw(self, sigma, streams):
        if streams.step == 2:
            raise SystemExit(0)
        return super().draw(sigma, streams)


@frozen
class TruthRaises(Toy):
    """Raises when true samples are drawn."""

    name = "truth-raises"

    def truth(self, count, sampler, seed):
        raise LookupError("no\nsuch file")


@frozen
class TruthExits(Toy):
    """Exits when true samples are drawn."""

    name = "truth-exits"

    def truth(self, count, sampler, seed):
        raise SystemExit(0)


@frozen
class SamplerOfNumber(Toy):
    """Has a number as its default sampler."""

    name = "sampler-of-number"

    def sampler(self):
        return 18


@frozen
class SamplesOfText(Toy):
    """Has a text as its default number of samples."""

    name = "samples-of-text"

    def samples(self):
        return "many"


@frozen
class GroupsOutOfRange(Toy):
    """Has groups without a name."""

    name = "groups-out-of-range"

    def groups(self):
        return ["one"]

    def group(self, examples):
        return torch.full((len(examples.x),), 5)


@frozen
class GlobalDraws(Toy):
    """Draws examples from torch's global generator."""

    name = "global-draws"

    def draw(self, sigma, streams):
        drawn = super().draw(sigma, streams)
        noise = torch.randn(drawn.x.shape)
        return Examples(drawn.target + sigma[:, None] * noise, drawn.target)


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
    (NoSpace, "Space"),
    (NoData, "size"),
    (SizeOfText, "size"),
    (FewTrueSamples, "truth"),
    (NoTrueSamples, "truth"),
    (EmptyTruth, "truth"),
    (MoreTruth, "truth"),
    (OtherTruthShape, "shape"),
    (NaNTruth, "finite"),
    (UnnamedTruth, "truth"),
    (TwiceNamedTruth, "truth"),
    (TruthTensor, "Arm"),
    (RepeatedMetric, "two metrics"),
    (NoMetric, "metric"),
    (UnknownPrimary, "primary"),
    (NoRecipe, "main"),
    (DrawRaises, "LookupError"),
    (DrawExits, "SystemExit"),
    (TruthRaises, "LookupError"),
    (TruthExits, "SystemExit"),
    (SamplerOfNumber, "sampler"),
    (SamplesOfText, "samples"),
    (GroupsOutOfRange, "group"),
    (GlobalDraws, "global generator"),
]


@hook
def guideplug_tasks() -> list[type[Task]]:
    return [cls for cls, _ in WRONG]
