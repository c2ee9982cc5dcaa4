"""Samplers over noise levels: the grid and its options, once, and a trajectory as a chain of a solver's steps.

A solver is one method, `SigmaSampler.advance`: the samples at the end of a step from those at its start. With
e = sigma' / sigma the ratio of the step's levels, D the denoised samples at its start, h = -log e, every solver of the
probability-flow equation here is, for a constant D, x' = e x + (1 - e) D.

The grids, N levels from sigma_max down to sigma_min and then 0:

    edm            even in sigma^(1 / rho)
    log-linear     even in log sigma
    exponential    the same levels, as k-diffusion and diffusers call them
    model          even in the network's own time (`NoiseSchedule`)

Sources: edm, Karras et al. 2022, arXiv:2206.00364, eq. 5; log-linear, Lu et al. 2022, arXiv:2211.01095, uniform
logarithms of the signal-to-noise ratio.
"""

import abc
import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Literal, TypeAlias

from attrs import fields, frozen
from torch import Tensor

from guideplug.config import option, positive, up_to
from guideplug.denoise import Condition, Denoiser, LinearStep
from guideplug.noise import log_linear_grid, sigma_grid
from guideplug.rng import Streams
from guideplug.sample import Sampler, State

__all__ = ["Memory", "SigmaSampler", "SolverStep"]

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
    _sampler: "SigmaSampler"
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


@frozen
class SigmaSampler(Sampler):
    """A sampler over noise levels: a subclass is one solver, `advance`, with its own options after these.

    Final frozen attrs classes. Options that both kinds of grid have mean the same in all samplers, so that samplers can
    be compared on one grid.
    """

    num_steps: int = option(32, help="steps", validator=up_to(MOST_STEPS))
    sigma_min: float | None = option(
        None, help="lowest level, before the last step to 0; none for the denoiser's", unit="data units"
    )
    sigma_max: float | None = option(None, help="highest level; none for the denoiser's", unit="data units")
    rho: float = option(7.0, help="curvature of the grid edm", validator=positive)
    schedule: Literal["edm", "log-linear", "exponential", "model"] = option(
        "edm",
        help="the grid: edm by rho; log-linear, also called exponential; model at even steps of the network's own time",
        identity="unless default",
    )
    levels: tuple[float, ...] | None = option(
        None,
        help="all levels, highest first and 0 last, instead of a grid",
        unit="data units",
        validator=_levels_fall,
        identity="unless default",
    )
    clip: tuple[float, float] | None = option(
        None,
        help="the range of the data, to which denoised samples are clipped; none for no clipping",
        unit="data units",
        validator=_clip_is_valid,
        identity="unless default",
    )

    def __attrs_post_init__(self) -> None:
        low, high = self.sigma_min, self.sigma_max
        if low is not None and not 0 < low < math.inf:
            raise ValueError(f"sigma_min is {low!r}: it must be positive and finite")
        if high is not None and not 0 < high < math.inf:
            raise ValueError(f"sigma_max is {high!r}: it must be positive and finite")
        if low is not None and high is not None and low >= high:
            raise ValueError(f"sigma_min {low:g} must be below sigma_max {high:g}")
        unused = self._given("num_steps", "sigma_min", "sigma_max", "rho", "schedule")
        if self.levels is not None and unused:
            raise ValueError(f"levels are the whole grid: leave out {' and '.join(unused)}, or levels")
        if self.schedule != "edm" and self._given("rho"):
            raise ValueError(f"rho is {self.rho:g}, and schedule={self.schedule} has none: leave rho out")

    def _given(self, *names: str) -> list[str]:
        """The options of these names that are not at their defaults."""
        defaults = {one.name: one.default for one in fields(type(self))}
        return [name for name in names if getattr(self, name) != defaults[name]]

    def sigmas(self, denoiser: Denoiser) -> list[float]:
        if self.levels is not None:
            return [float(level) for level in self.levels]
        space = denoiser.space
        low = space.sigma_min if self.sigma_min is None else self.sigma_min
        high = space.sigma_max if self.sigma_max is None else self.sigma_max
        if self.schedule == "edm":
            return sigma_grid(self.num_steps, low, high, self.rho)
        if self.schedule == "model":
            return [*denoiser.leaves()[0].own_levels(self.num_steps, low, high), 0.0]
        return log_linear_grid(self.num_steps, low, high)

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
