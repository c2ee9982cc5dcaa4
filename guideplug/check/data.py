"""Checks of other units and orders of the data.

With x' = a T(x) + b, where T reorders numbers, a denoiser of the data x' gives for the data x

    D'(x; sigma) = T^-1((D(a T(x) + b; a sigma) - b) / a)

Cost: a call of the network per level and alternative.
"""

from collections.abc import Callable, Iterator
from typing import final

from attrs import frozen
from torch import Tensor

from guideplug.check.measure import Answer, Trial, geometric_mean
from guideplug.check.result import Alternative
from guideplug.denoise import Condition
from guideplug.errors import GuideplugError

__all__ = ["other_data"]

SAME = 0.1
"""Scales that differ by less are equal."""


@final
@frozen
class _Other:
    """Other data: a description, code, and the transformation."""

    what: str
    code: str
    scale: float = 1.0
    offset: float = 0.0
    reorder: Callable[[Tensor], Tensor] | None = None
    """A reordering of samples (B, *) that is its own inverse."""

    def answering(self, answer: Answer) -> Answer:
        """The output of a denoiser of the other data, for the given data."""

        def other(x: Tensor, sigma: Tensor, condition: Condition) -> Tensor:
            inside = self.scale * self._reordered(x) + self.offset
            return self._reordered((answer(inside, abs(self.scale) * sigma, condition) - self.offset) / self.scale)

        return other

    def _reordered(self, x: Tensor) -> Tensor:
        return x if self.reorder is None else self.reorder(x)


def other_data(answer: Answer, trial: Trial, sigma_data: float) -> Iterator[Alternative]:
    """The ratios of the denoiser as one of other data; impossible alternatives are omitted."""
    for other in (*_units(trial, sigma_data), *_orders(trial)):
        try:
            ratios = trial.ratios(trial.errors(trial.answers(other.answering(answer))))
        except GuideplugError:
            continue
        yield Alternative(f"with {other.what}", geometric_mean(ratios), tuple(ratios), other.code)


def _units(trial: Trial, sigma_data: float) -> Iterator[_Other]:
    low, high, mean = float(trial.clean.min()), float(trial.clean.max()), float(trial.clean.mean())
    if low < -0.02 and low > -1.2 and high < 1.2:
        yield _Other("samples from 0 to 1", "samples = (samples + 1) / 2", 0.5, 0.5)
        yield _Other("samples from 0 to 255", "samples = 127.5 * (samples + 1)", 127.5, 127.5)
    elif low > -0.2 and high < 1.2:
        yield _Other("samples from -1 to 1", "samples = 2 * samples - 1", 2.0, -1.0)
        yield _Other("samples from 0 to 255", "samples = 255 * samples", 255.0, 0.0)
    elif low > -20 and 2 < high < 280:
        yield _Other("samples from -1 to 1", "samples = samples / 127.5 - 1", 1 / 127.5, -1.0)
        yield _Other("samples from 0 to 1", "samples = samples / 255", 1 / 255, 0.0)
    centred = abs(mean) > SAME * trial.sd
    for target in dict.fromkeys((sigma_data, 1.0, 0.5)):
        scale = target / trial.sd
        if abs(scale - 1) > SAME:
            yield _Other(f"samples scaled to a deviation of {target:.3g}", f"samples = {scale:.3g} * samples", scale)
        if centred:
            text = f"samples = {scale:.3g} * (samples - {mean:.3g})"
            what = f"samples shifted to mean 0 and scaled to a deviation of {target:.3g}"
            yield _Other(what, text, scale, -scale * mean)
    if centred:
        yield _Other("samples shifted to mean 0", f"samples = samples - {mean:.3g}", 1.0, -mean)
    yield _Other("samples negated", "samples = -samples", -1.0)
    if low > -0.2 and high < 1.2:
        yield _Other("samples inverted", "samples = 1 - samples", -1.0, 1.0)


def _orders(trial: Trial) -> Iterator[_Other]:
    shape = trial.clean.shape[1:]
    if len(shape) == 1 and 1 < shape[0] < 64:
        yield _Other("coordinates in reverse", "samples = samples.flip(1)", reorder=lambda x: x.flip(1))
    if len(shape) != 3:
        return
    if 1 < shape[0] <= 4:
        yield _Other("channels in reverse", "samples = samples.flip(1)", reorder=lambda x: x.flip(1))
    yield _Other("images mirrored", "samples = samples.flip(3)", reorder=lambda x: x.flip(3))
    yield _Other("images upside down", "samples = samples.flip(2)", reorder=lambda x: x.flip(2))
    if shape[1] == shape[2]:
        yield _Other("rows as columns", "samples = samples.transpose(2, 3)", reorder=lambda x: x.transpose(2, 3))
