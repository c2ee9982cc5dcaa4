"""Samplers that break their contract, each in one way; a plugin file, loaded beside ``toy.py``."""

import math
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from attrs import frozen
from guideplug_local_toy import Steps  # type: ignore[import-not-found]

from guideplug import Sampler, State, hook


@frozen
class NoStep(Steps):
    """Yields no state."""

    name = "no-step"

    def steps(self, denoiser, x, condition=None, streams=None):
        denoiser(x, 5.0, condition)
        yield from ()


@frozen
class StartNoise(Steps):
    """Yields the start noise as every state."""

    name = "start-noise"

    def steps(self, denoiser, x, condition=None, streams=None):
        for i, (_, after) in enumerate(pairwise(self.sigmas(denoiser))):
            yield State(i + 1, self.num_steps, after, x)


@frozen
class NeverEvaluates(Steps):
    """Shrinks the noise, without the denoiser."""

    name = "never-evaluates"

    def steps(self, denoiser, x, condition=None, streams=None):
        for i, (_, after) in enumerate(pairwise(self.sigmas(denoiser))):
            x = x * 0.5
            yield State(i + 1, self.num_steps, after, x)


@frozen
class TooFewRows(Steps):
    """Drops the last sample in the last step."""

    name = "too-few-rows"

    def steps(self, denoiser, x, condition=None, streams=None):
        for state in Steps.steps(self, denoiser, x, condition, streams):
            yield State(state.step, state.num_steps, state.sigma, state.x if state.sigma else state.x[:-1])


@frozen
class FewRowsOfMany(Steps):
    """Returns eight samples at most."""

    name = "few-rows-of-many"

    def steps(self, denoiser, x, condition=None, streams=None):
        for state in Steps.steps(self, denoiser, x, condition, streams):
            yield State(state.step, state.num_steps, state.sigma, state.x if state.sigma else state.x[:8])


@frozen
class OneLevel(Steps):
    """Has one level."""

    name = "one-level"

    def sigmas(self, denoiser):
        return [5.0]


@frozen
class NoLevels(Steps):
    """Returns None for the levels."""

    name = "no-levels"

    def sigmas(self, denoiser):
        return None


@frozen
class RisingLevels(Steps):
    """Has levels that rise."""

    name = "rising-levels"

    def sigmas(self, denoiser):
        return [1.0, 2.0, 5.0, 0.5, 0.0]


@frozen
class NegativeLevels(Steps):
    """Has a negative level."""

    name = "negative-levels"

    def sigmas(self, denoiser):
        return [5.0, 2.0, 0.5, -0.5, 0.0]


@frozen
class EndsAboveZero(Steps):
    """Ends at a level above 0."""

    name = "ends-above-zero"

    def sigmas(self, denoiser):
        return [5.0, 2.0, 1.0, 0.5, 0.25]


@frozen
class InfiniteLevel(Steps):
    """Begins at an infinite level."""

    name = "infinite-level"

    def sigmas(self, denoiser):
        return [math.inf, 2.0, 1.0, 0.5, 0.0]


@frozen
class NaNLevel(Steps):
    """Has a level that is no number."""

    name = "nan-level"

    def sigmas(self, denoiser):
        return [5.0, 2.0, math.nan, 0.5, 0.0]


@frozen
class TextLevels(Steps):
    """Has levels that are texts."""

    name = "text-levels"

    def sigmas(self, denoiser):
        return ["5.0", "1.0", "0.0"]


@frozen
class TooManyStates(Steps):
    """Yields more states than its ``num_steps``."""

    name = "too-many-states"

    def steps(self, denoiser, x, condition=None, streams=None):
        yield from Steps.steps(self, denoiser, x, condition, streams)
        yield State(self.num_steps + 1, self.num_steps, 0.0, 2 * x)


@frozen
class StopsHalfway(Steps):
    """Ends after half of its steps."""

    name = "stops-halfway"

    def steps(self, denoiser, x, condition=None, streams=None):
        for state in Steps.steps(self, denoiser, x, condition, streams):
            if state.step <= state.num_steps // 2:
                yield state


@frozen
class OtherShape(Steps):
    """Yields states of another shape."""

    name = "other-shape"

    def steps(self, denoiser, x, condition=None, streams=None):
        for state in Steps.steps(self, denoiser, x, condition, streams):
            yield State(state.step, state.num_steps, state.sigma, state.x[:, None])


@frozen
class OtherDtype(Steps):
    """Yields a last state of another type."""

    name = "other-dtype"

    def steps(self, denoiser, x, condition=None, streams=None):
        for state in Steps.steps(self, denoiser, x, condition, streams):
            yield State(state.step, state.num_steps, state.sigma, state.x if state.sigma else state.x.double())


@frozen
class OtherDevice(Steps):
    """Yields a last state on another device."""

    name = "other-device"

    def steps(self, denoiser, x, condition=None, streams=None):
        for state in Steps.steps(self, denoiser, x, condition, streams):
            yield State(state.step, state.num_steps, state.sigma, state.x if state.sigma else state.x.to("meta"))


@frozen
class YieldsTensors(Steps):
    """Yields tensors in place of states."""

    name = "yields-tensors"

    def steps(self, denoiser, x, condition=None, streams=None):
        for state in Steps.steps(self, denoiser, x, condition, streams):
            yield state.x


@frozen
class YieldsArrays(Steps):
    """Yields states of NumPy arrays."""

    name = "yields-arrays"

    def steps(self, denoiser, x, condition=None, streams=None):
        for state in Steps.steps(self, denoiser, x, condition, streams):
            yield State(state.step, state.num_steps, state.sigma, np.asarray(state.x))


@frozen
class StartMutated(Steps):
    """Computes in the start's own memory."""

    name = "start-mutated"

    def steps(self, denoiser, x, condition=None, streams=None):
        for i, (sigma, after) in enumerate(pairwise(self.sigmas(denoiser))):
            x += (after - sigma) * (x - denoiser(x, sigma, condition, toward=after)) / sigma
            yield State(i + 1, self.num_steps, after, x)


@frozen
class StatesMutated(Steps):
    """Yields one array for all states, changed in between."""

    name = "states-mutated"

    def steps(self, denoiser, x, condition=None, streams=None):
        x = x.clone()
        for i, (sigma, after) in enumerate(pairwise(self.sigmas(denoiser))):
            x += (after - sigma) * (x - denoiser(x, sigma, condition, toward=after)) / sigma
            yield State(i + 1, self.num_steps, after, x)


@frozen
class ReturnsNone(Steps):
    """Returns None from a ``sample`` of its own."""

    name = "returns-none"

    def sample(self, denoiser, x, condition=None, streams=None):
        Steps.sample(self, denoiser, x, condition, streams)


@frozen
class OwnSampleNaN(Steps):
    """Returns what is no number from a ``sample`` of its own."""

    name = "own-sample-nan"

    def sample(self, denoiser, x, condition=None, streams=None):
        return Steps.sample(self, denoiser, x, condition, streams) * math.nan


@frozen
class OwnSampleStart(Steps):
    """Returns the start from a ``sample`` of its own, having asked the denoiser."""

    name = "own-sample-start"

    def sample(self, denoiser, x, condition=None, streams=None):
        denoiser(x, 5.0, condition)
        return x


@frozen
class GlobalDraws(Steps):
    """Draws from torch's global generator."""

    name = "global-draws"

    def steps(self, denoiser, x, condition=None, streams=None):
        yield from Steps.steps(self, denoiser, x + 0.1 * torch.randn(x.shape), condition, streams)


@frozen
class MixesRows(Steps):
    """Moves each sample by the mean of the batch."""

    name = "mixes-rows"

    def steps(self, denoiser, x, condition=None, streams=None):
        for state in Steps.steps(self, denoiser, x, condition, streams):
            yield State(state.step, state.num_steps, state.sigma, state.x - 0.5 * state.x.mean(0))


@frozen
class RaisesLate(Steps):
    """Raises in the last step of a large batch."""

    name = "raises-late"

    def steps(self, denoiser, x, condition=None, streams=None):
        for state in Steps.steps(self, denoiser, x, condition, streams):
            if len(x) > 8 and state.sigma == 0:
                raise KeyError("no such\nlevel")
            yield state


@frozen
class Exits(Steps):
    """Exits the process in a step."""

    name = "exits"

    def steps(self, denoiser, x, condition=None, streams=None):
        for state in Steps.steps(self, denoiser, x, condition, streams):
            if len(x) > 8:
                raise SystemExit(0)
            yield state


WRONG: list[tuple[type[Any], str]] = [
    (NoStep, "step"),
    (StartNoise, "denoiser"),
    (NeverEvaluates, "denoiser"),
    (TooFewRows, "shape"),
    (FewRowsOfMany, "shape"),
    (OneLevel, "levels"),
    (NoLevels, "levels"),
    (RisingLevels, "levels"),
    (NegativeLevels, "levels"),
    (EndsAboveZero, "levels"),
    (InfiniteLevel, "levels"),
    (NaNLevel, "levels"),
    (TextLevels, "levels"),
    (TooManyStates, "step"),
    (StopsHalfway, "step"),
    (OtherShape, "shape"),
    (OtherDtype, "float64"),
    (OtherDevice, "meta"),
    (YieldsTensors, "State"),
    (YieldsArrays, "ndarray"),
    (StartMutated, "changed"),
    (StatesMutated, "changed"),
    (ReturnsNone, "None"),
    (OwnSampleNaN, "finite"),
    (OwnSampleStart, "start"),
    (GlobalDraws, "global generator"),
    (MixesRows, "batch"),
    (RaisesLate, "KeyError"),
    (Exits, "SystemExit"),
]


@hook
def guideplug_samplers() -> list[type[Sampler]]:
    return [cls for cls, _ in WRONG]
