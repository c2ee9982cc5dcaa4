"""The laws of a sampler: correct samples of a Gaussian, valid levels and draws, planned calls."""

import math
from functools import cached_property
from itertools import pairwise

import torch
from torch import Tensor

from guideplug.denoise import Condition, Count, Denoiser, Level, NetworkNode, Step, Terms, WeightInput, tally
from guideplug.rng import SampleStreams
from guideplug.sample import Sampler, planned_evaluations
from guideplug.testing.law import Laws, must
from guideplug.testing.law_helpers import close, no_global_draws
from guideplug.testing.oracles import GaussianDenoiser, example_condition
from guideplug.testing.strategies import STRATEGY

__all__ = ["SAMPLER", "Sampling", "check_sampler"]

MANY, FEW = 2048, 8


class _Watched(Denoiser):
    """A denoiser that records its calls."""

    def __init__(self, of: Denoiser) -> None:
        super().__init__()
        self.space = of.space
        self.of = of
        self.asked: list[WeightInput] = []
        self.begun = 0

    @property
    def terms(self) -> Terms:
        return self.of.terms

    def trajectory(self) -> "Denoiser":
        self.begun += 1
        return self

    def forward(
        self, x: Tensor, sigma: Level, condition: Condition = None, *, toward: Level | None = None, step: Step = None
    ) -> Tensor:
        self.asked.append(WeightInput(sigma, toward, self.space, condition, step))
        denoised: Tensor = self.of(x, sigma, condition, toward=toward, step=step)
        return denoised


class Sampling:
    """A sampler under test, and its samples of a Gaussian."""

    def __init__(self, sampler: Sampler) -> None:
        self.sampler, self.denoiser = sampler, GaussianDenoiser(0.4, 0.5)

    @cached_property
    def sigmas(self) -> list[float]:
        """Its levels."""
        return self.sampler.sigmas(self.denoiser)

    def start(self, count: int) -> Tensor:
        """Noisy samples at the highest level."""
        spread = math.hypot(self.denoiser.std, self.sigmas[0])
        return self.denoiser.mean + spread * SampleStreams(0, range(count)).normal((2,), "start")

    @cached_property
    def end(self) -> Tensor:
        """Many samples."""
        return self.sampler.sample(self.denoiser, self.start(MANY), None, SampleStreams(0, range(MANY)))

    @cached_property
    def watched(self) -> _Watched:
        """A recording denoiser, after sampling under a condition."""
        watched = _Watched(GaussianDenoiser(0.4, 0.5, conditioning="labels"))
        condition = example_condition("labels", FEW, torch.Generator().manual_seed(0))
        self.sampler.sample(watched, self.start(FEW), condition, SampleStreams(0, range(FEW)))
        return watched

    @cached_property
    def of_steps(self) -> list[tuple[tuple[float, float], list[WeightInput]]]:
        """The levels of each step, and its calls."""
        watched = _Watched(self.denoiser)
        steps, level, known = [], self.sigmas[0], 0
        streams = SampleStreams(0, range(FEW))
        for state in self.sampler.steps(watched, self.start(FEW), None, streams):
            steps.append(((level, state.sigma), watched.asked[known:]))
            level, known = state.sigma, len(watched.asked)
        return steps


SAMPLER: Laws[Sampling] = Laws()


def check_sampler(sampler: Sampler) -> None:
    """The laws of a sampler.

    A Gaussian's mean and spread, no leak between samples, draws from the samples' streams alone, levels that fall to 0
    and are passed on with the next level, and no unplanned call.
    """
    STRATEGY.check(sampler)
    SAMPLER.check(Sampling(sampler))


@SAMPLER.add("levels fall, and end at 0", "return them from sigmas, highest first and 0 last", premise=True)
def _fall(sampling: Sampling) -> None:
    sigmas = sampling.sigmas
    must(len(sigmas) >= 2, f"there are {len(sigmas)}")
    must(sigmas[-1] == 0, f"the last is {sigmas[-1]:g}")
    must(all(a > b for a, b in pairwise(sigmas)), "one is not below the one before")


@SAMPLER.add("the start is not changed", "compute out of place: x = x + ..., not x += ...")
def _start_stays(sampling: Sampling) -> None:
    x = sampling.start(FEW)
    before = x.clone()
    sampling.sampler.sample(sampling.denoiser, x, None, SampleStreams(0, range(FEW)))
    must(torch.equal(before, x))


@SAMPLER.add("no draw from a global generator", "draw from the streams: streams.normal(shape, 'purpose', step)")
def _draws_from_streams(sampling: Sampling) -> None:
    with no_global_draws():
        sampling.sampler.sample(sampling.denoiser, sampling.start(FEW), None, SampleStreams(0, range(FEW)))


@SAMPLER.add("the same start and streams give the same samples", "keep nothing between trajectories")
def _repeats(sampling: Sampling) -> None:
    first, second = (
        sampling.sampler.sample(sampling.denoiser, sampling.start(FEW), None, SampleStreams(0, range(FEW)))
        for _ in range(2)
    )
    must(torch.equal(first, second))


@SAMPLER.add("samples of a Gaussian have its mean", "look at the last steps: the end is the clean sample, at sigma 0")
def _mean(sampling: Sampling) -> None:
    denoiser = sampling.denoiser
    off = float((sampling.end.mean(0) - denoiser.mean).abs().max() / denoiser.std)
    must(off < 0.15, f"off by {off:.2f} standard deviations")


@SAMPLER.add("samples of a Gaussian have its standard deviation", "look at the size of the steps, and of added noise")
def _spread(sampling: Sampling) -> None:
    ratio = float(sampling.end.std() / sampling.denoiser.std)
    must(0.85 < ratio < 1.15, f"{ratio:.2f} of it")


@SAMPLER.add("a sample alone is the sample in a batch", "treat each row by itself; draw from the streams, by sample")
def _alone(sampling: Sampling) -> None:
    alone = sampling.sampler.sample(sampling.denoiser, sampling.start(MANY)[17:18], None, SampleStreams(0, [17]))
    must(close(alone, sampling.end[17:18]))


@SAMPLER.add("the last state is the end, at sigma 0", "yield a State after each step; that of the last has sigma 0")
def _ends(sampling: Sampling) -> None:
    x, streams = sampling.start(FEW), SampleStreams(0, range(FEW))
    last = list(sampling.sampler.steps(sampling.denoiser, x, None, streams))[-1]
    must(last.sigma == 0, f"its sigma is {last.sigma:g}")
    must(last.step == last.num_steps, f"it is step {last.step} of {last.num_steps}")
    must(torch.equal(last.x, sampling.sampler.sample(sampling.denoiser, x, None, streams)), "it is another x")


@SAMPLER.add("the trajectory is begun once", "call denoiser.trajectory() once, before the first step")
def _begun(sampling: Sampling) -> None:
    must(sampling.watched.begun == 1, f"trajectory() was called {sampling.watched.begun} times")


@SAMPLER.add("the condition is passed on", "call denoiser(x, sigma, condition, toward=after)")
def _condition(sampling: Sampling) -> None:
    must(all(at.condition is not None for at in sampling.watched.asked))


@SAMPLER.add(
    "levels are floats, above 0",
    "pass Python floats, by which what is off is left out without waiting for a device",
)
def _floats(sampling: Sampling) -> None:
    for at in sampling.watched.asked:
        must(isinstance(at.sigma, float), f"sigma is a {type(at.sigma).__name__}")
        must(float(at.sigma) > 0, f"sigma is {at.sigma}")


@SAMPLER.add(
    "each evaluation says the level that it is on its way to",
    "pass toward=, the grid level below this evaluation's; 0.0 in the last ones",
)
def _toward(sampling: Sampling) -> None:
    grid = set(sampling.sampler.sigmas(sampling.watched))
    for at in sampling.watched.asked:
        sigma, toward = float(at.sigma), at.toward
        must(toward is not None, f"toward was left out at sigma {sigma:g}")
        assert toward is not None
        must(isinstance(toward, float) and toward in grid, f"toward is {toward!r}, no level of the grid")
        must(float(toward) < sigma, f"toward is {toward!r} at sigma {sigma:g}, not below it")
        start = sigma if at.step is None else min(sigma, float(at.step[0]))  # noise may have raised the level
        between = [level for level in grid if float(toward) < level < start]
        must(not between, f"toward is {toward!r} at sigma {sigma:g}, and {max(between, default=0):g} lies between them")
    after = sampling.watched.asked[-1].toward
    must(after is not None and float(after) == 0, f"the last is on its way to {after}")


@SAMPLER.add(
    "each evaluation says the step that it belongs to",
    "pass step=(start, end), the levels of the grid that the step goes between, in all evaluations of the step",
)
def _step(sampling: Sampling) -> None:
    for (start, end), pairs in sampling.of_steps:
        for at in pairs:
            must(at.step == (start, end), f"from {start:g} to {end:g} it is {at.step} at sigma {float(at.sigma):g}")


@SAMPLER.add(
    "what is planned is what is called",
    "let the number of evaluations depend on the options alone, not on values of x; call the denoiser in steps only",
)
def _planned(sampling: Sampling) -> None:
    x, streams = sampling.start(FEW), SampleStreams(0, range(FEW))
    planned: dict[NetworkNode, Count] = {}
    for evaluation in planned_evaluations(sampling.sampler, sampling.denoiser, x, None, streams):
        for leaf, count in evaluation.counts.items():
            planned.setdefault(leaf, Count()).calls += count.calls
    with tally() as counts:
        sampling.sampler.sample(sampling.denoiser, x, None, streams)
    expected = planned.get(sampling.denoiser, Count()).calls
    called = counts[sampling.denoiser].calls
    must(called == expected, f"{called} calls instead of {expected}")


@SAMPLER.add("samples have the type of the start", "make tensors like x: torch.zeros_like(x); convert with .to(x)")
def _types(sampling: Sampling) -> None:
    x = sampling.start(FEW).double()
    end = sampling.sampler.sample(sampling.denoiser, x, None, SampleStreams(0, range(FEW)))
    must(end.dtype == torch.float64, f"x of torch.float64 gave {end.dtype}")


@SAMPLER.add(
    "samples are on the device of the start, and no value of them is looked at",
    "make tensors on x.device; decide nothing by float(...), .item() or `if tensor`",
)
def _device(sampling: Sampling) -> None:
    streams = SampleStreams(0, range(FEW), torch.device("meta"))
    denoiser = GaussianDenoiser(0.4, 0.5).to("meta")
    with torch.no_grad():
        for state in sampling.sampler.steps(denoiser, sampling.start(FEW).to("meta"), None, streams):
            must(state.x.device.type == "meta", f"a step gave a result on {state.x.device}")
