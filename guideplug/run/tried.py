"""Trial evaluations before any work, on untrained networks and two samples.

Sampling: the denoiser at the sampler's first two levels; the sampler's whole trajectory on a closed-form denoiser; and
the denoiser at the first evaluation of each further kind (other networks called, other weights off, other gradients).

Batch: the denoiser at a tensor of levels, under the conditions of training examples.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from guideplug.config import short
from guideplug.denoise import Denoiser, equal_conditions, taken
from guideplug.errors import ConfigError, DenoiserError, GuideplugError
from guideplug.guide import Guider
from guideplug.recipes import PlannedBatch
from guideplug.recipes.python_ref import raised
from guideplug.rng import SampleStreams, Streams, TrainingStreams
from guideplug.sample import Evaluation, Sampler, planned_evaluations
from guideplug.task import Task
from guideplug.train.examples import NoisyExamples, with_dropped_conditions

__all__ = ["COUNT", "first_levels", "objecting", "try_batch", "try_sampling"]

COUNT = 2
"""Number of samples per trial evaluation."""


def first_levels(sampler: Sampler, point: Denoiser, task: Task) -> tuple[float, float]:
    """The first two levels of a trajectory.

    Raises:
        ConfigError: what the sampler says against the task or the denoiser.
    """
    try:
        sigma, toward, *_ = sampler.sigmas(point)
    except ValueError as error:
        raise ConfigError(f"sampler {short(sampler)} for task {task.name!r}: {error}") from None
    return sigma, toward


def two_samples() -> Streams:
    """The default streams of two samples."""
    return SampleStreams(0, range(COUNT))


def try_sampling(
    point: Denoiser,
    guider: Guider | None,
    sampler: Sampler,
    task: Task,
    streams: Callable[[], Streams] = two_samples,
) -> None:
    """Try a denoiser and a sampler.

    Args:
        point, guider, sampler, task: what is tried; ``point`` is guided already.
        streams: new streams of a few samples.

    Raises:
        GuideplugError: what is wrong with which of them.
    """
    part = "network" if guider is None else "guider"
    subject = f"{'the network' if guider is None else f'guider {short(guider)}'} for task {task.name!r}"
    with torch.no_grad():
        known = first_levels(sampler, point, task)
        with objecting(subject, f"choose another {part}"):
            _try_at(point, subject, task, streams, *known, known)
        samples = streams()
        start = task.start(samples, known[0])
        with objecting(f"sampler {short(sampler)} for task {task.name!r}", "choose another sampler"):
            evaluations = planned_evaluations(sampler, point, start.x, start.condition, samples)
        for evaluation in _first_of_each_kind(evaluations):
            if (evaluation.sigma, evaluation.toward) != known:
                with objecting(subject, f"choose another {part}"):
                    _try_at(point, subject, task, streams, evaluation.sigma, evaluation.toward, evaluation.step)


def _try_at(
    point: Denoiser,
    subject: str,
    task: Task,
    streams: Callable[[], Streams],
    sigma: float,
    toward: float | None,
    step: tuple[float, float] | None,
) -> None:
    start = task.start(streams(), sigma)
    try:
        value = point.trajectory()(start.x, sigma, start.condition, toward=toward, step=step)
    except DenoiserError as error:
        raise DenoiserError(f"{subject}: {error}") from None
    _check_shape(value, start.x, subject)
    slopes = taken(point, sigma, conditional=start.condition is not None, toward=toward, step=step)
    if slopes and not bool(torch.isfinite(value).all()):
        raise DenoiserError(
            f"with {' and '.join(slopes)} the guided samples are not finite at sigma {sigma:.4g}, for two samples of "
            f"task {task.name!r}: return finite numbers that have finite gradients"
        )


def _first_of_each_kind(evaluations: list[Evaluation]) -> Iterator[Evaluation]:
    """The first evaluation of each kind; kinds fail in different ways."""
    kinds = set()
    for evaluation in evaluations:
        kind = (
            frozenset(evaluation.counts),
            tuple(evaluation.off),
            tuple(evaluation.gradients),
            evaluation.toward is None,
        )
        if kind not in kinds:
            kinds.add(kind)
            yield evaluation


def try_batch(point: Denoiser, planned: PlannedBatch) -> None:
    """Try a denoiser on training examples.

    Raises:
        ConfigError: what is wrong, and whether the guider causes it.
    """
    sigma = torch.tensor(planned.levels)
    toward = None if planned.toward is None else torch.tensor(planned.toward)
    examples = planned.task.draw(sigma, TrainingStreams(0, 0))
    drawn = NoisyExamples(examples, sigma, torch.tensor([True, False]) if planned.drops else None)
    try:
        _answer_batch(point, drawn, toward)
    except (MemoryError, OSError):
        raise
    except Exception as error:
        if planned.guider is None:
            raise ConfigError(f"{planned.user}: {_reason(error)}") from error
        why = _reason(error)
        if toward is None and _works_toward(point, drawn, sigma / 2):
            why = f"it asks for the level that a sampler steps to, and a training has none ({why})"
        subject = f"{planned.user} cannot use guider {short(planned.guider)}"
        raise ConfigError(f"{subject}: {why}; give it another guider") from error


@torch.no_grad()
def _answer_batch(point: Denoiser, drawn: NoisyExamples, toward: Tensor | None) -> None:
    """Evaluate a denoiser as training does, each network under its own null condition where one is dropped."""
    x, sigma = drawn.examples.x, drawn.sigma
    conditions = [with_dropped_conditions(drawn, leaf).condition for leaf in point.leaves()] or [
        drawn.examples.condition
    ]
    _check_shape(point(x, sigma, conditions[0], toward=toward), x, "it")
    if not all(equal_conditions(conditions[0], other) for other in conditions[1:]):
        _check_shape(point.unconditional()(x, sigma, conditions[0], toward=toward), x, "it")


def _works_toward(point: Denoiser, drawn: NoisyExamples, toward: Tensor) -> bool:
    """Whether a denoiser that failed succeeds when given the level that a step ends at."""
    try:
        _answer_batch(point, drawn, toward)
    except Exception:  # another fault than the missing level
        return False
    return True


def _check_shape(value: Tensor, x: Tensor, subject: str) -> None:
    if value.shape != x.shape:
        raise DenoiserError(
            f"{subject} gives denoised samples of shape {tuple(value.shape)} for x of shape {tuple(x.shape)}: "
            "return x's"
        )


@contextmanager
def objecting(who: str, advice: str) -> Iterator[None]:
    """Turn what a plugin raises into one line that names it; errors that users can fix pass as they are.

    Raises:
        ConfigError: who raised what, in which line of its code, and what to do.
    """
    try:
        yield
    except (GuideplugError, MemoryError, OSError):
        raise
    except Exception as error:
        raise ConfigError(f"{who}: {_reason(error)}; {advice}") from error


def _reason(error: Exception) -> str:
    """What an exception says, and where it was raised if that is not an error of ours."""
    return f"{error}" if isinstance(error, GuideplugError) else f"it raised {raised(error)}"
