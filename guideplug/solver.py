"""Solvers: a trajectory as a chain of steps, each by one method.

A solver is one method, `Solver.advance`: the samples at the end of a step from those at its start. Its grid of levels
is another class's: `guideplug.SigmaSampler` for noise levels; flow time in the plugin `flow`.
"""

import abc
import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias, cast

from attrs import fields, frozen
from torch import Tensor

from guideplug.config import option
from guideplug.denoise import Condition, Denoiser, LinearStep
from guideplug.rng import Streams
from guideplug.sample import Sampler, State

__all__ = ["MOST_STEPS", "Memory", "Solver", "SolverStep", "clip_option", "levels_option"]

Memory: TypeAlias = tuple[Tensor, ...]
"""What a solver keeps of earlier steps (B, *), such as their denoised samples; empty before the first step."""

MOST_STEPS = 10_000
"""Every evaluation of a trajectory is planned before the first is done."""


@frozen(eq=False)
class SolverStep:
    """One step of a trajectory, and what a solver may ask in it.

    Args:
        number: from 0.
        levels: those of the whole trajectory, highest first, 0 last.
    """

    number: int
    levels: Sequence[float]
    _sampler: "Solver"
    _denoiser: Denoiser
    _condition: Condition
    _streams: Streams | None

    @property
    def sigma(self) -> float:
        """The level at the start of the step."""
        return self.levels[self.number]

    @property
    def after(self) -> float:
        """The level at its end; 0 in the last step."""
        return self.levels[self.number + 1]

    def width(self, back: int = 0) -> float:
        """The width h = log(sigma / after) of this step or one ``back`` steps before; infinite in the last."""
        start, end = self.levels[self.number - back], self.levels[self.number - back + 1]
        return math.log(start / end) if end > 0 else math.inf

    def denoised(
        self, x: Tensor, sigma: float | None = None, *, toward: float | None = None, gain: float | None = None
    ) -> Tensor:
        """The denoised samples (B, *), clipped if the sampler clips.

        Args:
            x: noisy samples (B, *).
            sigma: their level; the step's start by default.
            toward: the level of the grid below it; the step's end by default.
            gain: where the end of the step is linear in these denoised samples alone, their coefficient there; guiders
                such as cfg++ need it.
        """
        start, after, clip = self.sigma, self.after, self._sampler.clip
        linear = gain is not None and clip is None
        denoised: Tensor = self._denoiser(
            x,
            start if sigma is None else sigma,
            self._condition,
            toward=after if toward is None else toward,
            step=LinearStep(start, after, gain) if linear else (start, after),
        )
        return denoised if clip is None else denoised.clamp(*clip)

    def noise(self, x: Tensor, purpose: str, *, unless: str) -> Tensor:
        """Unit noise like x (B, *), of the samples' streams.

        Args:
            x: the samples.
            purpose: the name of the draw; one draw per purpose and step.
            unless: the option with which the sampler draws nothing, for the message.

        Raises:
            ValueError: the sampler was given no streams.
        """
        if self._streams is None:
            raise ValueError(
                f"{self._sampler.name} draws noise: pass the samples' streams, or {unless}; as in "
                "sample(denoiser, x, streams=SampleStreams(0, range(len(x))))"
            )
        return self._streams.normal(tuple(x.shape[1:]), purpose, self.number).to(x)


def _clip_is_valid(instance: object, attribute: object, value: tuple[float, float] | None) -> None:
    if value is not None and not -math.inf < value[0] < value[1] < math.inf:
        raise ValueError(
            f"clip is [{value[0]:g}, {value[1]:g}]: give the range of the data, the lower end first, as in [-1, 1]"
        )


def _levels_fall(instance: object, attribute: object, value: tuple[float, ...] | None) -> None:
    if value is None:
        return
    advice = "give each level once, the highest first and 0 last, as in [80, 5, 0.5, 0]"
    if len(value) < 2:
        raise ValueError(f"levels are {list(value)}: give 2 at least; {advice}")
    if len(value) > MOST_STEPS + 1:
        raise ValueError(f"levels are {len(value):,}: give {MOST_STEPS + 1:,} at most")
    for before, after in itertools.pairwise(value):
        if not math.inf > before > after:
            order = "repeat" if before == after else "are not finite" if math.isinf(before) else "rise"
            raise ValueError(f"levels {order} at {before:g}, {after:g}: {advice}")
    if value[-1] != 0:
        raise ValueError(f"levels end at {value[-1]:g}: {advice}")


def levels_option() -> Any:
    """The option ``levels`` of a solver."""
    return option(
        None,
        help="all levels, highest first and 0 last, instead of a grid",
        unit="data units",
        validator=_levels_fall,
        identity="unless default",
    )


def clip_option() -> Any:
    """The option ``clip`` of a solver."""
    return option(
        None,
        help="the range of the data, to which denoised samples are clipped; none for no clipping",
        unit="data units",
        validator=_clip_is_valid,
        identity="unless default",
    )


class Solver(Sampler):
    """A sampler whose steps are one method, `advance`; its classes have the options ``levels`` and ``clip``."""

    levels: tuple[float, ...] | None
    clip: tuple[float, float] | None

    def given(self, *names: str) -> list[str]:
        """The options of these names that are not at their defaults."""
        defaults = {one.name: one.default for one in fields(cast(Any, type(self)))}
        return [name for name in names if getattr(self, name) != defaults[name]]

    def check_levels(self, *names: str) -> None:
        """Refuse options of the grid beside levels.

        Raises:
            ValueError: both are given.
        """
        unused = self.given(*names)
        if self.levels is not None and unused:
            raise ValueError(f"levels are the whole grid: leave out {' and '.join(unused)}, or levels")

    def sigmas(self, denoiser: Denoiser) -> list[float]:
        return self.grid(denoiser) if self.levels is None else [float(level) for level in self.levels]

    @abc.abstractmethod
    def grid(self, denoiser: Denoiser) -> list[float]:
        """The noise levels where none are given, highest first, 0 last."""

    @abc.abstractmethod
    def advance(self, step: SolverStep, x: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        """The samples (B, *) at ``step.after`` from x (B, *) at ``step.sigma``, and the memory of the next step.

        In the last step, to 0, the end is the denoised samples: x' = D.

        Args:
            step: the levels of the step; evaluates (`SolverStep.denoised`) and draws (`SolverStep.noise`).
            x: the samples at its start, not to be changed.
            memory: what the step before returned; empty in the first step. A solver that looks at one step alone
                returns ``()``.
        """

    def steps(
        self, denoiser: Denoiser, x: Tensor, condition: Condition = None, streams: Streams | None = None
    ) -> Iterator[State]:
        levels = self.sigmas(denoiser)
        yield from self.steps_from(State(0, len(levels) - 1, levels[0], x), denoiser, condition, streams)

    def steps_from(
        self, state: State, denoiser: Denoiser, condition: Condition = None, streams: Streams | None = None
    ) -> Iterator[State]:
        """The rest of a trajectory from one of its states, with its memory: as if it had not been interrupted.

        A state without memory begins anew there, as the first step does. Guiders with a memory of their own begin anew.

        Args:
            state: of a trajectory on the same levels.
            denoiser, condition, streams: as for `steps`.

        Raises:
            ValueError: the state is at no level of this trajectory, or the sampler clips latents.
        """
        levels = self.sigmas(denoiser)
        if levels[state.step : state.step + 1] != [state.sigma] or state.num_steps != len(levels) - 1:
            raise ValueError(
                f"the state is at sigma {state.sigma:g} after step {state.step} of {state.num_steps}, which is no "
                f"state of {self.name}'s {len(levels) - 1} steps: continue it with the sampler that it is of"
            )
        if self.clip is not None and any(leaf.is_latent for leaf in denoiser.leaves()):
            raise ValueError("clip bounds data, and this network's samples are latents: leave clip out")
        x, memory, denoiser = state.x, state.memory, denoiser.trajectory()
        for number in range(state.step, state.num_steps):
            step = SolverStep(number, levels, self, denoiser, condition, streams)
            x, memory = self.advance(step, x, memory)
            if self.clip is not None and step.after == 0:
                x = x.clamp(*self.clip)  # the last step may round across the ends
            yield State(number + 1, state.num_steps, step.after, x, memory)
