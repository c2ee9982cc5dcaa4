"""Tasks of wrong descriptions, truth or metrics, each in one way; a plugin file, loaded beside ``toy.py``."""

import math
from typing import Any

import torch
from attrs import frozen
from guideplug_local_toy import CENTRES, Distance, Toy  # type: ignore[import-not-found]

from guideplug import Arm, Examples, Task, hook


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
