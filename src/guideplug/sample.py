"""Samplers: from noise to samples, one step at a time, with any denoiser."""

import abc
from collections.abc import Iterator
from contextlib import ExitStack
from typing import ClassVar

import torch
from attrs import frozen
from torch import Tensor

from guideplug.config import Strategy
from guideplug.denoise import Condition, Denoiser, Leaf, Level, Polynomial, Query, Space
from guideplug.errors import DivergenceError
from guideplug.noise import SampleStreams

__all__ = ["Sampler", "State", "evaluation_levels"]


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
        """The noise levels of the trajectory, highest first, 0 last; the start x is at the first."""

    @abc.abstractmethod
    def steps(
        self, denoiser: Denoiser, x: Tensor, condition: Condition = None, streams: SampleStreams | None = None
    ) -> Iterator[State]:
        """The trajectory from x (B, *) at the first level, a state after each step.

        Args:
            denoiser: any point, guided or not; `Denoiser.trajectory` is called once.
            x: noisy samples at ``sigmas(denoiser)[0]``.
            condition: what the samples are drawn under.
            streams: random streams of these samples; needed by stochastic samplers only.
        """

    def sample(
        self, denoiser: Denoiser, x: Tensor, condition: Condition = None, streams: SampleStreams | None = None
    ) -> Tensor:
        """The end of the trajectory, (B, *), without a graph; arguments as for `steps`.

        Raises:
            DivergenceError: a sample is not finite; the message names the step, sigma and network where it began.
        """
        with torch.no_grad():
            end = x
            for state in self.steps(denoiser, x, condition, streams):
                end = state.x
            if not bool(torch.isfinite(end).all()):
                raise DivergenceError(_first_failure(self, denoiser, x, condition, streams))
        return end


def _first_failure(
    sampler: Sampler, denoiser: Denoiser, x: Tensor, condition: Condition, streams: SampleStreams | None
) -> str:
    """Where values stopped being finite: the trajectory is walked again, which costs nothing while all is well."""
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


def evaluation_levels(sampler: Sampler, space: Space) -> list[tuple[float, float | None]]:
    """The (sigma, toward) of every evaluation along one trajectory, in order: what a cost is predicted from."""
    recorder = _Recorder(space)
    streams = SampleStreams(0, range(1))
    for _ in sampler.steps(recorder, torch.zeros(1, *space.shape), None, streams):
        pass
    return recorder.levels


class _Recorder(Denoiser):
    """A denoiser that answers its input and notes what it was asked."""

    def __init__(self, space: Space) -> None:
        super().__init__()
        self.space = space
        self.levels: list[tuple[float, float | None]] = []

    @property
    def terms(self) -> dict[Query, Polynomial]:
        return {}

    def forward(self, x: Tensor, sigma: Level, condition: Condition = None, *, toward: Level | None = None) -> Tensor:
        self.levels.append((float(sigma), None if toward is None else float(toward)))
        return x
