"""Trial evaluations before any work, on untrained networks and two samples.

Sampling: the denoiser at the sampler's first two levels; the sampler's whole trajectory on a closed-form denoiser; and
the denoiser at the first evaluation of each further kind (other networks called, other weights off, other gradients).

Batch: the denoiser at a tensor of levels, under the conditions of training examples.

On so few rows, values are read too: inputs stay as they are, a sample alone is the sample in a batch, the same inputs
give the same answer, and nothing is drawn from global generators. A run tries its trained networks in the same way.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import TypeAlias

import torch
from torch import Tensor

from guideplug.config import breach, plugin_errors, short
from guideplug.config.origin import origin_of
from guideplug.denoise import (
    Condition,
    Denoiser,
    Leaf,
    LinearStep,
    Start,
    equal_conditions,
    numbered,
    on_device,
    select_rows,
    taken,
)
from guideplug.errors import ConfigError, DenoiserError, GuideplugError, RecipeError, nearest
from guideplug.guide import Guider
from guideplug.recipes import PlannedBatch
from guideplug.recipes.python_ref import raised
from guideplug.rng import SampleStreams, Streams, undrawn
from guideplug.run.task_answers import check_start, drawn_examples, started
from guideplug.sample import Evaluation, Sampler, closed_form, end_of, first_step, levels_of, planned_evaluations
from guideplug.task import Task
from guideplug.train.examples import NoisyExamples, with_dropped_conditions
from guideplug.train.loss import Loss

__all__ = ["StreamsOf", "first_levels", "objecting", "start_of", "try_arms", "try_batch", "try_network", "try_sampling"]

StreamsOf: TypeAlias = Callable[[Sequence[int]], Streams]
"""New streams of samples by their numbers."""
DEFAULT: StreamsOf = partial(SampleStreams, 0)
COUNT = 2
"""Number of samples per trial evaluation."""
MOST_NOISE = 1e-4
"""Largest share of x in denoised samples at t = 1, where a level of 2^24 stands for infinity: data of 1,600 units."""
ALIKE = 1e-2
"""Largest difference of equal answers, relative to the largest value: kernels of other batch sizes round otherwise."""


def first_levels(sampler: Sampler, point: Denoiser, task: Task) -> tuple[float, float]:
    """The first two levels of a trajectory.

    Raises:
        ConfigError: what the sampler says against the task or the denoiser.
        ContractError: its levels do not fall to 0.
    """
    try:
        sigma, toward, *_ = levels_of(sampler, point)
    except ValueError as error:
        raise ConfigError(f"sampler {short(sampler)} for task {task.name!r}: {error}") from None
    return sigma, toward


def start_of(task: Task, sigma: float, streams: StreamsOf = DEFAULT) -> Start:
    """Two samples of a task at a level, checked by their values too; ``streams`` are those of samples by number.

    Raises:
        ContractError: they are not as the task says, or depend on the batch.
    """
    with undrawn(partial(breach, task)):
        start = started(task, streams(range(COUNT)), sigma)
    check_start(task, start)
    alone = started(task, streams([1]), sigma)
    if not torch.equal(alone.x, start.x[1:]) or not equal_conditions(
        alone.condition, select_rows(start.condition, slice(1, 2))
    ):
        raise breach(task, "starts a sample elsewhere in a batch than alone: draw by sample, streams.normal(...)")
    return start


def try_network(network: Leaf, start: Start, sigma: float, toward: float) -> None:
    """Try a network on two samples.

    Raises:
        DenoiserError: it wrote into its inputs, draws, or its answer depends on other rows or on earlier calls.
    """

    def answer(x: Tensor, condition: Condition) -> Tensor:
        denoised: Tensor = network(x, sigma, condition, toward=toward, step=(sigma, toward))
        return denoised

    _check_stateless(answer, start, network.breach)


def _check_stateless(
    answer: Callable[[Tensor, Condition], Tensor], start: Start, refusal: Callable[[str], Exception]
) -> Tensor:
    """The answer to a start; refuse one that is no function of each row alone."""
    x = start.x.clone()
    with undrawn(refusal), numbered(0):
        value = answer(x, start.condition)
    if not torch.equal(x, start.x):
        raise refusal("changed x in place: compute out of place, x * 2 and not x.mul_(2) or x *= 2")
    with numbered(1):
        alone = answer(start.x[1:].clone(), select_rows(start.condition, slice(1, 2)))
    if value.shape != x.shape or _alike(alone, value[1:]):
        return value
    with numbered(0):
        again = answer(start.x.clone(), start.condition)
    if not _alike(again, value):
        raise refusal("gave another answer for the same inputs: keep nothing between calls, and draw nothing")
    raise refusal("gave a sample in a batch another answer than alone: treat each row by itself")


def _alike(first: Tensor, second: Tensor) -> bool:
    """Whether two answers are equal up to rounding; those that are not finite are looked at elsewhere."""
    scale = second.abs().max()
    return not bool(torch.isfinite(scale)) or bool((first - second).abs().max() <= ALIKE * scale)


@torch.no_grad()
def try_arms(
    arms: Mapping[str, Denoiser],
    models: Mapping[str, object],
    guider: Guider | None,
    sampler: Sampler,
    task: Task,
    device: torch.device,
) -> None:
    """Try the trained networks of a run, and its guided denoiser, before any sample is drawn.

    Raises:
        DenoiserError: what is wrong with which of them.
    """
    sigma, toward = first_levels(sampler, arms["unguided"], task)
    start = start_of(task, sigma)
    step = _first_step(sampler, arms["unguided"], start, DEFAULT(range(COUNT)), (sigma, toward))
    start = Start(start.x.to(device), on_device(start.condition, device))
    for model in models.values():
        if isinstance(model, Leaf):
            try_network(model, start, sigma, toward)
    if guider is not None:
        _try_point(arms["guided"], guider, start, sigma, toward, step)


def _first_step(
    sampler: Sampler, point: Denoiser, start: Start, streams: Streams, levels: tuple[float, float]
) -> tuple[float, float]:
    """The step that a sampler passes with its first evaluation, or its levels where it passes none or fails.

    What a sampler does wrong is reported when it is tried itself.
    """
    with suppress(Exception), undrawn(partial(breach, sampler)):
        if isinstance(step := first_step(sampler, point, start.x.clone(), start.condition, streams), LinearStep):
            return step
    return levels


def _try_point(
    point: Denoiser,
    guider: Guider | None,
    start: Start,
    sigma: float,
    toward: float | None,
    step: tuple[float, float] | None,
) -> Tensor:
    """The value of a denoiser, as a function of each row alone; that of a guider is its guider's."""

    def answer(x: Tensor, condition: Condition) -> Tensor:
        denoised: Tensor = point.trajectory()(x, sigma, condition, toward=toward, step=step)
        return denoised

    return _check_stateless(answer, start, point.breach if guider is None else partial(breach, guider))


def try_sampling(
    point: Denoiser,
    guider: Guider | None,
    sampler: Sampler,
    task: Task,
    streams: StreamsOf = DEFAULT,
) -> None:
    """Try a denoiser and a sampler.

    Args:
        point, guider, sampler, task: what is tried; ``point`` is guided already.
        streams: those of samples by number.

    Raises:
        GuideplugError: what is wrong with which of them.
    """
    part = "network" if guider is None else "guider"
    subject = f"{'the network' if guider is None else _subject(guider)} for task {task.name!r}"
    with torch.no_grad():
        known = first_levels(sampler, point, task)
        with objecting(subject, f"choose another {part}"):
            step = _first_step(sampler, point, start_of(task, known[0], streams), streams(range(COUNT)), known)
            _try_at(point, guider, subject, task, streams, *known, step)
        with objecting(f"{_subject(sampler)} for task {task.name!r}", "choose another sampler"):
            evaluations = _planned(sampler, point, task, known[0], streams)
        for evaluation in _first_of_each_kind(evaluations):
            if (evaluation.sigma, evaluation.toward) != known:
                with objecting(subject, f"choose another {part}"):
                    _try_at(point, guider, subject, task, streams, evaluation.sigma, evaluation.toward, evaluation.step)


def _subject(strategy: Guider | Sampler) -> str:
    return f"{strategy.kind} {short(strategy)} of {origin_of(type(strategy).__module__)}"


def _planned(sampler: Sampler, point: Denoiser, task: Task, sigma: float, streams: StreamsOf) -> list[Evaluation]:
    """The planned evaluations; the sampler is tried on a closed form beside it.

    Raises:
        ContractError: it writes into its start, draws from a global generator, or mixes samples.
    """
    refusal, samples = partial(breach, sampler), streams(range(COUNT))
    start = started(task, samples, sigma)
    x = start.x.clone()
    with undrawn(refusal):
        evaluations = planned_evaluations(sampler, point, x, start.condition, samples)
    if not torch.equal(x, start.x):
        raise refusal("changed the start in place: compute out of place, x = x + ... and not x += ...")
    ends = []
    for numbers in (range(COUNT), range(1, COUNT)):
        samples = streams(numbers)
        start = started(task, samples, sigma)
        ends.append(end_of(sampler, closed_form(point), start.x, start.condition, samples, lambda step, steps: None))
    if not _alike(ends[1], ends[0][1:]):
        raise refusal("gave a sample in a batch another end than alone: treat rows alone, draw from the streams")
    return evaluations


def _try_at(
    point: Denoiser,
    guider: Guider | None,
    subject: str,
    task: Task,
    streams: StreamsOf,
    sigma: float,
    toward: float | None,
    step: tuple[float, float] | None,
) -> None:
    start = start_of(task, sigma, streams)
    try:
        value = _try_point(point, guider, start, sigma, toward, step)
    except DenoiserError as error:
        raise DenoiserError(f"{subject}: {error}") from None
    _check_shape(value, start.x, subject)
    if point.space.noise_alone and sigma == point.space.highest:
        _check_limit(value, start.x, subject)
    slopes = taken(point, sigma, conditional=start.condition is not None, toward=toward, step=step)
    if slopes and not bool(torch.isfinite(value).all()):
        raise DenoiserError(
            f"with {' and '.join(slopes)} the guided samples are not finite at sigma {sigma:.4g}, for two samples of "
            f"task {task.name!r}: return finite numbers that have finite gradients"
        )


def _check_limit(value: Tensor, noise: Tensor, subject: str) -> None:
    """Refuse denoised samples that grow with x at noise alone: they have no limit as sigma goes to infinity."""
    share = float(value.abs().max() / noise.abs().max())
    if share > MOST_NOISE:
        raise DenoiserError(
            f"{subject} gives denoised samples that keep {share:.2g} of x at t = 1, where a flow's samples start and x "
            "is noise alone: it scales x or the score, which has no limit there; guide below a level, as in "
            "interval(..., high=10), or start lower, as in flow(start=0.9)"
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


def try_batch(point: Denoiser, planned: PlannedBatch, network: Leaf) -> None:
    """Try a denoiser on training examples, with the loss of its network if one is planned.

    Raises:
        ConfigError: what is wrong, and whether the guider causes it.
    """
    sigma = torch.tensor(planned.levels)
    toward = None if planned.toward is None else torch.tensor(planned.toward)
    examples = drawn_examples(planned.task, sigma)
    drawn = NoisyExamples(examples, sigma, torch.tensor([True, False]) if planned.drops else None)
    try:
        _answer_batch(point, drawn, toward)
        if planned.loss is not None:
            _score_batch(point, network, drawn, planned.loss)
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


def _score_batch(point: Denoiser, network: Leaf, drawn: NoisyExamples, loss: Loss) -> None:
    """Compute the losses of a denoiser's batch, with the named outputs of its network.

    Raises:
        RecipeError: the network lacks an output that the objective reads.
    """
    objective = loss.objective
    if missing := [name for name in objective.reads() if name not in network.outputs]:
        known = f"it has {', '.join(network.outputs)}" if network.outputs else "it has none but the denoised samples"
        raise RecipeError(
            f"objective {short(objective)} reads the output {missing[0]!r}, and {network.in_messages} has none of that "
            f"name{nearest(missing[0], network.outputs)}: {known}; choose another objective or network"
        )
    examples = with_dropped_conditions(drawn, network)
    with torch.no_grad():
        loss.of(point, examples, drawn.sigma, network.space.sigma_data, network=network)


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
    """Turn what is raised into one line that names who is tried; errors that users can fix pass as they are.

    Raises:
        ContractError: another plugin raised.
        ConfigError: who raised what, in which line of its code, and what to do.
    """
    try:
        with plugin_errors():
            yield
    except (GuideplugError, MemoryError, OSError):
        raise
    except Exception as error:
        raise ConfigError(f"{who}: {_reason(error)}; {advice}") from error


def _reason(error: Exception) -> str:
    """What an exception says, and where it was raised if that is not an error of ours."""
    return f"{error}" if isinstance(error, GuideplugError) else f"it raised {raised(error)}"
