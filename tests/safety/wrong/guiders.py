"""Guiders and weight schedules that break their contract, each in one way; a plugin file, loaded beside ``toy.py``."""

import math
from typing import Any

import torch
from attrs import frozen

from guideplug import Combine, Guider, Leaf, Space, WeightSchedule, hook


class Other(Leaf):
    """A denoiser of another space."""

    def __init__(self) -> None:
        super().__init__(Space((3,), sigma_data=0.5, sigma_max=5.0))

    def denoise(self, x, sigma, condition):
        return x


def combined(base: Any, function: Any) -> Any:
    """A guided denoiser that returns what a function makes of the base's output."""
    return Combine([base], lambda outputs, x, sigma: function(outputs[0], x, sigma))


class Wrong(Guider):
    """Needs a weak network."""

    def needs(self, task, main):
        return {"weak": task.recipe("weak", main)}


@frozen
class OtherSpace(Wrong):
    """Returns a denoiser of another space."""

    name = "other-space"

    def guide(self, base, models):
        return Other()


@frozen
class OtherShape(Wrong):
    """Returns another shape."""

    name = "other-shape"

    def guide(self, base, models):
        return combined(base, lambda out, x, sigma: out[:, :1])


@frozen
class OtherShapeLate(Wrong):
    """Returns another shape at low levels."""

    name = "other-shape-late"

    def guide(self, base, models):
        return combined(base, lambda out, x, sigma: out if float(sigma) > 3 else out[:, None])


@frozen
class FewerRows(Wrong):
    """Returns fewer rows."""

    name = "fewer-rows"

    def guide(self, base, models):
        return combined(base, lambda out, x, sigma: out[:1])


@frozen
class OtherDtype(Wrong):
    """Returns another type."""

    name = "other-dtype"

    def guide(self, base, models):
        return combined(base, lambda out, x, sigma: out.double())


@frozen
class Nothing(Wrong):
    """Returns None."""

    name = "nothing"

    def guide(self, base, models):
        return None


@frozen
class Number(Wrong):
    """Returns a number."""

    name = "number"

    def guide(self, base, models):
        return 2.0


@frozen
class RawFunction(Wrong):
    """Returns a function."""

    name = "raw-function"

    def guide(self, base, models):
        return lambda x, sigma, condition=None, **options: base(x, sigma, condition)


@frozen
class RawDirection(Wrong):
    """Returns a direction, no denoiser."""

    name = "raw-direction"

    def guide(self, base, models):
        return base - models["weak"]


@frozen
class Undeclared(Wrong):
    """Uses a role that it does not declare."""

    name = "undeclared"

    def guide(self, base, models):
        return base + (base - models["critic"])


@frozen
class ReturnsText(Wrong):
    """Returns a text for samples."""

    name = "returns-text"

    def guide(self, base, models):
        return combined(base, lambda out, x, sigma: "samples")


@frozen
class ReturnsNoneLate(Wrong):
    """Returns None for samples at low levels."""

    name = "returns-none-late"

    def guide(self, base, models):
        return combined(base, lambda out, x, sigma: out if float(sigma) > 3 else None)


@frozen
class ReturnsNaN(Wrong):
    """Returns no numbers."""

    name = "returns-nan"

    def guide(self, base, models):
        return combined(base, lambda out, x, sigma: out * math.nan)


@frozen
class MutatesX(Wrong):
    """Writes into its input."""

    name = "mutates-x"

    def guide(self, base, models):
        def clipped(out, x, sigma):
            x.clamp_(-1, 1)
            return out

        return combined(base, clipped)


@frozen
class MixesRows(Wrong):
    """Moves each sample by the mean of the batch."""

    name = "mixes-rows"

    def guide(self, base, models):
        return combined(base, lambda out, x, sigma: out - out.mean(0))


@frozen
class GlobalDraws(Wrong):
    """Draws from torch's global generator."""

    name = "global-draws"

    def guide(self, base, models):
        return combined(base, lambda out, x, sigma: out + 0.1 * torch.randn(out.shape))


@frozen
class NeedsNonsense(Wrong):
    """Needs a number as a network."""

    name = "needs-nonsense"

    def needs(self, task, main):
        return {"weak": 3}

    def guide(self, base, models):
        return base


@frozen
class NeedsNoMapping(Wrong):
    """Needs a list of roles."""

    name = "needs-no-mapping"

    def needs(self, task, main):
        return ["weak"]

    def guide(self, base, models):
        return base


@frozen
class RaisesLate(Wrong):
    """Raises at low levels."""

    name = "raises-late"

    def guide(self, base, models):
        def late(out, x, sigma):
            if len(x) > 8 and sigma < 1:
                raise ZeroDivisionError("no\nweight")
            return out

        return combined(base, late)


@frozen
class Exits(Wrong):
    """Exits the process."""

    name = "exits"

    def guide(self, base, models):
        def leave(out, x, sigma):
            if len(x) > 8:
                raise SystemExit(0)
            return out

        return combined(base, leave)


@frozen
class Unknown(Wrong):
    """Brings an untrained network that is no role, of another space."""

    name = "unknown-network"

    def guide(self, base, models):
        return base + (base - Other())


# Weight schedules


class WrongWeight(WeightSchedule):
    """Bounded below by 0."""

    least = 0.0


@frozen
class NaNWeight(WrongWeight):
    """Is no number."""

    name = "nan-weight"

    def at(self, at):
        return math.nan


@frozen
class NaNWeightLate(WrongWeight):
    """Is no number at low levels."""

    name = "nan-weight-late"

    def at(self, at):
        return 2.0 if float(at.sigma) > 3 else math.nan


@frozen
class TextWeight(WrongWeight):
    """Is a text."""

    name = "text-weight"

    def at(self, at):
        return "2.0"


@frozen
class NoWeight(WrongWeight):
    """Is None."""

    name = "no-weight"

    def at(self, at):
        return None


@frozen
class VectorWeight(WrongWeight):
    """Has three numbers."""

    name = "vector-weight"

    def at(self, at):
        return torch.ones(3)


@frozen
class TensorOfSamples(WrongWeight):
    """Has a number per sample and axis."""

    name = "matrix-weight"

    def at(self, at):
        return torch.ones(2, 2)


@frozen
class BelowLeast(WrongWeight):
    """Falls below its bound."""

    name = "below-least"

    def at(self, at):
        return -3.0


@frozen
class NoLeast(WeightSchedule):
    """Has a text as its bound."""

    name = "no-least"
    least = "0"  # type: ignore[assignment]

    def at(self, at):
        return 2.0


WRONG: list[tuple[type[Any], str]] = [
    (OtherSpace, "shape"),
    (OtherShape, "shape"),
    (OtherShapeLate, "shape"),
    (FewerRows, "shape"),
    (OtherDtype, "float64"),
    (Nothing, "None"),
    (Number, "2.0"),
    (RawFunction, "function"),
    (RawDirection, "Direction"),
    (Undeclared, "critic"),
    (ReturnsText, "str"),
    (ReturnsNoneLate, "None"),
    (ReturnsNaN, "finite"),
    (MutatesX, "changed"),
    (MixesRows, "batch"),
    (GlobalDraws, "global generator"),
    (NeedsNonsense, "needs"),
    (NeedsNoMapping, "needs"),
    (RaisesLate, "ZeroDivisionError"),
    (Exits, "SystemExit"),
    (Unknown, "shapes"),
]
WEIGHTS: list[tuple[type[Any], str]] = [
    (NaNWeight, "nan"),
    (NaNWeightLate, "nan"),
    (TextWeight, "str"),
    (NoWeight, "None"),
    (VectorWeight, "Tensor"),
    (TensorOfSamples, "Tensor"),
    (BelowLeast, "least"),
    (NoLeast, "least"),
]


@hook
def guideplug_guiders() -> list[type[Guider]]:
    return [cls for cls, _ in WRONG]


@hook
def guideplug_weights() -> list[type[WeightSchedule]]:
    return [cls for cls, _ in WEIGHTS]
