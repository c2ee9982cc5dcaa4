"""Samplers: from noise to samples, one step at a time, with any denoiser."""

import abc
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import ClassVar

import torch
from attrs import frozen
from torch import Tensor

from guideplug.config import Strategy
from guideplug.denoise import (
    Condition,
    Count,
    Denoiser,
    Leaf,
    Level,
    NetworkNode,
    Step,
    Terms,
    calls,
    switched_off,
    taken,
)
from guideplug.errors import DenoiserError, DivergenceError
from guideplug.rng import SampleStreams

__all__ = ["Evaluation", "Sampler", "State", "end_of", "planned_evaluations"]


@frozen
class State:
    """A point of a trajectory: the samples x (B, *) at noise level ``sigma``, after ``step`` of ``num_steps`` steps."""

    step: int
    num_steps: int
    sigma: float
    x: Tensor


class Sampler(Strategy):
    """A solver of the sampling equation. Final frozen attrs classes."""

    kind: ClassVar[str] = "sampler"

    @abc.abstractmethod
    def sigmas(self, denoiser: Denoiser) -> list[float]:
        """The noise levels of the trajectory, highest first, 0 last; the initial x is at the first."""

    @abc.abstractmethod
    def steps(
        self, denoiser: Denoiser, x: Tensor, condition: Condition = None, streams: SampleStreams | None = None
    ) -> Iterator[State]:
        """The trajectory from x (B, *) at the first level: a state after each step.

        Args:
            denoiser: any point, guided or not; `Denoiser.trajectory` is called once.
            x: noisy samples at ``sigmas(denoiser)[0]``.
            condition: the condition of the samples.
            streams: random streams of these samples; needed by stochastic samplers only.
        """

    def sample(
        self, denoiser: Denoiser, x: Tensor, condition: Condition = None, streams: SampleStreams | None = None
    ) -> Tensor:
        """The end of the trajectory, (B, *), without a graph; arguments as for `steps`.

        Raises:
            DivergenceError: a sample is not finite; the message names the first step, sigma and network.
        """
        return _walked(self, denoiser, x, condition, streams, lambda state: None)


def end_of(
    sampler: Sampler,
    denoiser: Denoiser,
    x: Tensor,
    condition: Condition,
    streams: SampleStreams,
    each: Callable[[int, int], None],
) -> Tensor:
    """The result of `Sampler.sample`, (B, *), with progress: ``each`` is called with the finished and total steps.

    A sampler with its own ``sample`` reports one step, at its end.

    Raises:
        DivergenceError: as `Sampler.sample`.
    """
    if type(sampler).sample is Sampler.sample:
        return _walked(sampler, denoiser, x, condition, streams, lambda state: each(state.step, state.num_steps))
    end = sampler.sample(denoiser, x, condition, streams)
    each(1, 1)
    return end


@torch.no_grad()
def _walked(
    sampler: Sampler,
    denoiser: Denoiser,
    x: Tensor,
    condition: Condition,
    streams: SampleStreams | None,
    each: Callable[[State], None],
) -> Tensor:
    """The end of a trajectory, checked to be finite."""
    if not isinstance(denoiser, Denoiser):
        raise DenoiserError(
            f"sampler {sampler.name!r} is given a {type(denoiser).__name__}, which is no denoiser: make one of a "
            "network by guideplug.wrap(network, shape, predicts=...)"
        )
    if not isinstance(x, Tensor):
        level, shape = sampler.sigmas(denoiser)[0], ", ".join(map(str, denoiser.space.shape))
        raise DenoiserError(
            f"sampler {sampler.name!r} is given x = {x!r}: give the noise to start from, (B, *), as in "
            f"{level:g} * torch.randn(4, {shape})"
        )
    end = x
    for state in sampler.steps(denoiser, x, condition, streams):
        end = state.x
        each(state)
    if not bool(torch.isfinite(end).all()):
        raise DivergenceError(_first_failure(sampler, denoiser, x, condition, streams))
    return end


def _first_failure(
    sampler: Sampler, denoiser: Denoiser, x: Tensor, condition: Condition, streams: SampleStreams | None
) -> str:
    """The first place of a value that is not finite: the trajectory is repeated, so that normal runs cost nothing."""
    denoiser, sigma = denoiser.trajectory(), sampler.sigmas(denoiser)[0]
    bad: dict[str, Level] = {}

    def note(leaf: Leaf, inputs: tuple[Tensor, Level, Condition], output: Tensor) -> None:
        if bool(torch.isfinite(inputs[0]).all()) and not bool(torch.isfinite(output).all()):
            bad.setdefault(f"{leaf.role} ({type(leaf).__name__})", inputs[1])

    with ExitStack() as hooks:
        for leaf in denoiser.leaves():
            hooks.callback(leaf.register_forward_hook(note).remove)
        for state in sampler.steps(denoiser, x, condition, streams):
            if not bool(torch.isfinite(state.x).all()):
                whose = ", ".join(f"{name} at sigma {float(level):.4g}" for name, level in bad.items())
                why = (
                    f"the output of {whose} is not finite" if bad else "the guided combination of finite outputs is not"
                )
                return f"sampling diverged in step {state.step} of {state.num_steps}, from sigma {sigma:.4g}: {why}"
            bad.clear()
            sigma = state.sigma
    return "sampling diverged, and did not when repeated: a network is not deterministic"


@frozen
class Evaluation:
    """One planned evaluation of a trajectory.

    Args:
        sigma, toward, step: its level, the next one, and the sampler's step.
        counts: calls per network, and outputs per sample.
        off: the weights that are 0 there, as written in formulas.
        gradients: its gradients, as named in formulas.
    """

    sigma: float
    toward: float | None
    counts: Mapping[NetworkNode, Count]
    off: Sequence[str] = ()
    gradients: Sequence[str] = ()
    step: tuple[float, float] | None = None


def planned_evaluations(
    sampler: Sampler,
    denoiser: Denoiser,
    x: Tensor,
    condition: Condition = None,
    streams: SampleStreams | None = None,
) -> list[Evaluation]:
    """Every evaluation of a trajectory with its calls, in order; no network is called.

    The sampler runs with a closed form instead of the denoiser, E[x0 | x, sigma] of data N(0, sigma_data^2). Its
    levels, raised ones included, are therefore exact, unless they depend on outputs of the networks.

    Raises:
        ValueError: its samples have another shape than x.
    """
    planner = _Planner(denoiser, len(x))
    with torch.no_grad():
        end = sampler.sample(planner, x, condition, streams)
    if end.shape != x.shape:
        raise ValueError(f"its samples are of shape {tuple(end.shape)}, and x is of shape {tuple(x.shape)}")
    return planner.evaluations


class _Planner(Denoiser):
    """A closed form that replaces a denoiser, and records the denoiser's calls."""

    def __init__(self, planned: Denoiser, samples: int) -> None:
        super().__init__()
        self.space = planned.space
        self.evaluations: list[Evaluation] = []
        self._planned, self._samples = planned, samples

    @property
    def terms(self) -> Terms:
        return self._planned.terms

    def forward(
        self, x: Tensor, sigma: Level, condition: Condition = None, *, toward: Level | None = None, step: Step = None
    ) -> Tensor:
        level, after = _highest(sigma), None if toward is None else _highest(toward)
        levels, given = sigma if isinstance(sigma, Tensor) else level, condition is not None
        costs = calls(self._planned, levels, conditional=given, toward=toward, step=step, x=x, condition=condition)
        counts = {
            leaf: Count(one.calls, one.outputs * len(x) // self._samples, one.gradients) for leaf, one in costs.items()
        }
        slopes = tuple(taken(self._planned, levels, conditional=given, toward=toward, step=step))
        within = None if step is None else (_highest(step[0]), _highest(step[1]))
        off = () if isinstance(sigma, Tensor) else switched_off(self._planned, level, after, step)
        self.evaluations.append(Evaluation(level, after, counts, tuple(off), slopes, within))
        return x * (self.space.sigma_data**2 / (self.space.sigma_data**2 + level**2))


def _highest(level: Level) -> float:
    return float(level.max()) if isinstance(level, Tensor) else float(level)
