"""Samplers: from noise to samples, one step at a time, with any denoiser."""

import abc
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from typing import ClassVar

import torch
from attrs import field, frozen
from torch import Tensor

from guideplug.config import Strategy, breach, described
from guideplug.denoise import (
    Condition,
    Count,
    Denoiser,
    Leaf,
    Level,
    LinearStep,
    NetworkNode,
    Step,
    Terms,
    apart,
    calls,
    check_noisy,
    switched_off,
    taken,
    unwritten,
    wide,
)
from guideplug.errors import DenoiserError, DivergenceError
from guideplug.rng import Streams

__all__ = [
    "Evaluation",
    "Sampler",
    "State",
    "closed_form",
    "end_of",
    "first_step",
    "levels_of",
    "planned_evaluations",
]


@frozen
class State:
    """A point of a trajectory: the samples x (B, *) at noise level ``sigma``, after ``step`` of ``num_steps`` steps.

    ``memory`` is what the next steps need besides x, such as denoised samples of earlier steps (B, *); empty for
    solvers that look at one step alone.
    """

    step: int
    num_steps: int
    sigma: float
    x: Tensor
    memory: tuple[Tensor, ...] = ()


class Sampler(Strategy):
    """A solver of the sampling equation. Final frozen attrs classes."""

    kind: ClassVar[str] = "sampler"

    @abc.abstractmethod
    def sigmas(self, denoiser: Denoiser) -> list[float]:
        """The noise levels of the trajectory, highest first, 0 last; the initial x is at the first."""

    @abc.abstractmethod
    def steps(
        self, denoiser: Denoiser, x: Tensor, condition: Condition = None, streams: Streams | None = None
    ) -> Iterator[State]:
        """The trajectory from x (B, *) at the first level: a state after each step.

        Args:
            denoiser: any point, guided or not; `Denoiser.trajectory` is called once.
            x: noisy samples at ``sigmas(denoiser)[0]``.
            condition: the condition of the samples.
            streams: random streams of these samples; needed by stochastic samplers only.
        """

    def sample(
        self, denoiser: Denoiser, x: Tensor, condition: Condition = None, streams: Streams | None = None
    ) -> Tensor:
        """The end of the trajectory, (B, *), in the type of x, without a graph; arguments as for `steps`.

        An x in half precision is kept in float32 along the trajectory where the networks allow (`Leaf.any_type`).

        Raises:
            ContractError: the states are not those of a trajectory from x.
            DivergenceError: a sample is not finite; the message names the first step, sigma and network.
        """
        return _walked(self, denoiser, x, condition, streams, lambda state: None)


def end_of(
    sampler: Sampler,
    denoiser: Denoiser,
    x: Tensor,
    condition: Condition,
    streams: Streams | None,
    each: Callable[[int, int], None],
) -> Tensor:
    """The result of `Sampler.sample`, (B, *), with progress: ``each`` is called with the finished and total steps.

    A sampler with its own ``sample`` reports one step, at its end.

    Raises:
        ContractError, DivergenceError: as `Sampler.sample`.
    """
    if type(sampler).sample is Sampler.sample:
        return _walked(sampler, denoiser, x, condition, streams, lambda state: each(state.step, state.num_steps))
    with unwritten(partial(breach, sampler), x=x):
        end = sampler.sample(denoiser, x, condition, streams)
    _check_like(sampler, "samples", end, x)
    if not bool(torch.isfinite(end).all()):
        raise breach(sampler, "returned samples that are not finite: return finite ones")
    _check_moved(sampler, end, x)
    each(1, 1)
    return end


def levels_of(sampler: Sampler, denoiser: Denoiser) -> list[float]:
    """The noise levels of a sampler's trajectory, checked.

    Raises:
        ContractError: they are not two or more finite numbers that fall to 0.
    """
    sigmas = sampler.sigmas(denoiser)
    advice = "return floats from sigmas, highest first and 0 last"
    if not isinstance(sigmas, Sequence) or isinstance(sigmas, str):
        raise breach(sampler, f"gave {described(sigmas)} for its levels: {advice}")
    for sigma in sigmas:
        if not isinstance(sigma, float | int) or isinstance(sigma, bool):
            raise breach(sampler, f"gave {described(sigma)} among its levels: {advice}")
    if len(sigmas) < 2:
        raise breach(sampler, f"gave {len(sigmas)} levels: {advice}, two at least")
    for sigma, after in itertools.pairwise(sigmas):
        if not math.inf > sigma > after >= 0:
            raise breach(sampler, f"gave levels that do not fall, {sigma:g} and then {after:g}: {advice}")
    if sigmas[-1] != 0:
        raise breach(sampler, f"gave levels that end at {sigmas[-1]:g}: {advice}")
    return [float(sigma) for sigma in sigmas]


def _states(sampler: Sampler, states: Iterator[State], x: Tensor) -> Iterator[State]:
    """The states of a trajectory from x, checked by what is known of them on the host; no value is read.

    Raises:
        ContractError: a state is none, not like x, out of order, or was changed after it was yielded.
    """
    step, last = 0, x
    iterator = iter(states)
    while True:
        with unwritten(partial(breach, sampler), **{"the start": x, "the state before": last}):
            state = next(iterator, None)
        if state is None:
            break
        if not isinstance(state, State):
            raise breach(sampler, f"yielded {described(state)}: yield a State after each step")
        step += 1
        if not step == state.step <= state.num_steps:
            raise breach(
                sampler,
                f"yielded step {state.step} of {state.num_steps} as state number {step}: yield one State after each of "
                "its num_steps steps",
            )
        _check_like(sampler, f"the state after step {step}", state.x, x)
        last = state.x
        yield state
        if step == state.num_steps and state.sigma != 0:
            raise breach(sampler, f"ended its last step at sigma {state.sigma:g}: end at 0")
        num_steps = state.num_steps
    if step == 0 or step != num_steps:
        raise breach(
            sampler, f"yielded {step} states{f' for {num_steps} steps' if step else ''}: yield one after each step"
        )


def _check_like(sampler: Sampler, what: str, value: object, x: Tensor) -> None:
    """Refuse samples of another kind, shape, type or device than x."""
    if not isinstance(value, Tensor):
        raise breach(sampler, f"gave {described(value)} for {what}: give a tensor like x")
    if value.shape != x.shape or value.dtype != x.dtype or value.device != x.device:
        raise breach(
            sampler, f"gave {what} as {described(value)} on {value.device}, of x {described(x)} on {x.device}: keep x's"
        )


def _check_moved(sampler: Sampler, end: Tensor, x: Tensor) -> None:
    """Refuse an end that is the start."""
    if end is x or (x.numel() and bool((end == x).all())):
        raise breach(sampler, "returned its start as the samples: step from it by the denoiser")


@torch.no_grad()
def _walked(
    sampler: Sampler,
    denoiser: Denoiser,
    x: Tensor,
    condition: Condition,
    streams: Streams | None,
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
    check_noisy(x)
    dtype, end = x.dtype, x
    if all(leaf.any_type for leaf in denoiser.leaves()):
        x = x.to(wide(dtype))  # steps that are added up in half precision lose what is small beside x
    for state in _states(sampler, sampler.steps(denoiser, x, condition, streams), x):
        end = state.x
        each(state)
    if not bool(torch.isfinite(end).all()):
        raise DivergenceError(_first_failure(sampler, denoiser, x, condition, streams))
    _check_moved(sampler, end, x)
    return end.to(dtype)


def _first_failure(
    sampler: Sampler, denoiser: Denoiser, x: Tensor, condition: Condition, streams: Streams | None
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
        apart: why a network is called once for each of its conditions, where they form no batch.
    """

    sigma: float
    toward: float | None
    counts: Mapping[NetworkNode, Count]
    off: Sequence[str] = ()
    gradients: Sequence[str] = ()
    step: tuple[float, float] | None = None
    apart: Mapping[NetworkNode, str] = field(factory=dict)


def planned_evaluations(
    sampler: Sampler,
    denoiser: Denoiser,
    x: Tensor,
    condition: Condition = None,
    streams: Streams | None = None,
) -> list[Evaluation]:
    """Every evaluation of a trajectory with its calls, in order; no network is called.

    The sampler runs with a closed form instead of the denoiser, E[x0 | x, sigma] of data N(0, sigma_data^2). Its
    levels, raised ones included, are therefore exact, unless they depend on outputs of the networks.

    Raises:
        ContractError: the samples are not those of a trajectory from x, or no evaluation was asked for.
    """
    planner = _Planner(denoiser, len(x))
    with torch.no_grad():
        end_of(sampler, planner, x, condition, streams, lambda step, steps: None)
    if not planner.evaluations:
        raise breach(sampler, "never evaluated the denoiser: call it in each step")
    return planner.evaluations


def first_step(
    sampler: Sampler, denoiser: Denoiser, x: Tensor, condition: Condition = None, streams: Streams | None = None
) -> Step:
    """The ``step`` that a sampler passes with its first evaluation; no network is called."""
    first = _First(denoiser)
    next(iter(sampler.steps(first, x, condition, streams)), None)
    return first.step


def closed_form(replaced: Denoiser) -> Denoiser:
    """The denoiser of data N(0, sigma_data^2), in the place of another one."""
    return _ClosedForm(replaced)


class _ClosedForm(Denoiser):
    """E[x0 | x, sigma] of data N(0, sigma_data^2), in the place of another denoiser."""

    def __init__(self, replaced: Denoiser) -> None:
        super().__init__()
        self.space, self._replaced = replaced.space, replaced

    @property
    def terms(self) -> Terms:
        return self._replaced.terms

    def forward(
        self, x: Tensor, sigma: Level, condition: Condition = None, *, toward: Level | None = None, step: Step = None
    ) -> Tensor:
        level = _highest(sigma)
        return x * (self.space.sigma_data**2 / (self.space.sigma_data**2 + level**2))


class _First(_ClosedForm):
    """A closed form that records the step of its first evaluation."""

    step: Step = None
    _known = False

    def forward(
        self, x: Tensor, sigma: Level, condition: Condition = None, *, toward: Level | None = None, step: Step = None
    ) -> Tensor:
        if not self._known:
            self.step, self._known = step, True
        return super().forward(x, sigma, condition)


class _Planner(_ClosedForm):
    """A closed form that records the calls of the denoiser that it replaces."""

    def __init__(self, planned: Denoiser, samples: int) -> None:
        super().__init__(planned)
        self.evaluations: list[Evaluation] = []
        self._samples = samples

    def forward(
        self, x: Tensor, sigma: Level, condition: Condition = None, *, toward: Level | None = None, step: Step = None
    ) -> Tensor:
        level, after = _highest(sigma), None if toward is None else _highest(toward)
        levels, given = sigma if isinstance(sigma, Tensor) else level, condition is not None
        costs = calls(self._replaced, levels, conditional=given, toward=toward, step=step, x=x, condition=condition)
        counts = {
            leaf: Count(one.calls, one.outputs * len(x) // self._samples, one.gradients) for leaf, one in costs.items()
        }
        slopes = tuple(taken(self._replaced, levels, conditional=given, toward=toward, step=step))
        if step is None or isinstance(step, LinearStep):
            within: tuple[float, float] | None = step
        else:
            within = _highest(step[0]), _highest(step[1])
        off = () if isinstance(sigma, Tensor) else switched_off(self._replaced, level, after, step)
        reasons: Mapping[NetworkNode, str] = {}
        if any(count.calls > 1 for count in counts.values()):
            reasons = apart(self._replaced, levels, x, condition, toward=toward, step=step)
        self.evaluations.append(Evaluation(level, after, counts, tuple(off), slopes, within, reasons))
        return super().forward(x, sigma, condition)


def _highest(level: Level) -> float:
    return float(level.max()) if isinstance(level, Tensor) else float(level)
