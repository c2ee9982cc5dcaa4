"""Arms: samples of several denoisers from the same random streams, and what each cost in network evaluations."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from guideplug.config import named, short, walk
from guideplug.denoise import (
    Condition,
    Count,
    Denoiser,
    Domain,
    Leaf,
    NetworkNode,
    SampleWeights,
    Tally,
    concatenate,
    numbered,
    on_device,
    tally,
)
from guideplug.errors import ConditionError, ConfigError, DenoiserError, DivergenceError
from guideplug.guide import Guider
from guideplug.rng import STREAMS, MakeStreams, SampleStreams
from guideplug.run.resolve import RunConfig
from guideplug.run.task_answers import started
from guideplug.sample import Sampler, end_of, levels_of
from guideplug.task import Arm

__all__ = ["check_weights", "draw_arms", "draw_arms_of_run", "evaluations_by_role"]


def draw_arms_of_run(
    config: RunConfig,
    arms: Mapping[str, Denoiser],
    *,
    count: int | None = None,
    each: Callable[[str, int, int], None] = lambda arm, done, total: None,
    guider: Guider | None = None,
) -> tuple[dict[str, Arm], dict[str, Tally]]:
    """`draw_arms` as a run is configured; ``count`` is another number of samples than its own."""
    return draw_arms(
        arms,
        config.task,
        config.sampler,
        count=config.samples if count is None else count,
        seed=config.sample_seed,
        batch=config.sample_batch,
        device=torch.device(config.device),
        streams=STREAMS[config.streams],
        each=each,
        guider=guider,
    )


def draw_arms(
    arms: Mapping[str, Denoiser],
    task: Domain,
    sampler: Sampler,
    *,
    count: int,
    seed: int,
    batch: int,
    device: torch.device,
    streams: MakeStreams = SampleStreams,
    each: Callable[[str, int, int], None] = lambda arm, done, total: None,
    guider: Guider | None = None,
) -> tuple[dict[str, Arm], dict[str, Tally]]:
    """Samples of each arm from the same random streams, on the CPU, and each arm's network evaluations.

    Args:
        arms: denoisers by name.
        task: gives the starts of samples.
        count, seed, batch: number of samples, seed of their streams, samples per batch.
        streams: the kind of their streams.
        each: called after each step with the arm, the steps done and the steps in all; after each batch where the
            sampler has a ``sample`` of its own.
        guider: that of the arm "guided", for messages.
    """
    batches = -(-count // batch)
    drawn: dict[str, Arm] = {}
    tallies: dict[str, Tally] = {}
    for name, denoiser in arms.items():
        sigma = levels_of(sampler, denoiser)[0]
        samples: list[Tensor] = []
        starts: list[Tensor] = []
        conditions: list[Condition] = []
        with _naming(guider if name == "guided" else None), tally() as counts:
            for number, begin in enumerate(range(0, count, batch)):
                drawn_from = streams(seed, range(begin, min(begin + batch, count)), device)
                start = started(task, drawn_from, sigma)
                with numbered(begin):
                    end = end_of(
                        sampler, denoiser, start.x, start.condition, drawn_from, _of_batch(each, name, number, batches)
                    )
                samples.append(denoiser.decode(end).cpu())
                starts.append(start.x.cpu())
                conditions.append(start.condition)
        drawn[name] = Arm(name, torch.cat(samples), _joined(conditions), torch.cat(starts), denoiser)
        tallies[name] = counts
    return drawn, tallies


def check_weights(guider: Guider | None, count: int) -> None:
    """Refuse a list of weights that is not one per sample of a run.

    Raises:
        ConfigError: the number of weights, and of samples.
    """
    for listed in walk(guider, SampleWeights):
        if len(listed.weights) != count:
            raise ConfigError(
                f"weight is a list of {len(listed.weights)}, {short(listed)}, and {count:,} samples are drawn of each "
                f"arm: give one weight per sample, or --samples {len(listed.weights)}"
            )


def evaluations_by_role(counts: Tally, models: Mapping[str, Leaf]) -> dict[str, dict[str, int]]:
    """Calls, outputs and gradients by role; a guider's own network is listed by its own name."""
    named: dict[NetworkNode, str] = {
        model: role for role, model in models.items() if isinstance(model, Leaf)
    }  # main comes last, and overrides
    totals = {role: Count() for model, role in named.items() if model.counted_as is model}
    for network, count in counts.counts.items():
        total = totals.setdefault(named.get(network, network.role), Count())
        total.calls, total.outputs = total.calls + count.calls, total.outputs + count.outputs
        total.gradients += count.gradients
    return {
        role: {"calls": count.calls, "outputs": count.outputs}
        | ({"gradients": count.gradients} if count.gradients else {})
        for role, count in totals.items()
    }


@contextmanager
def _naming(guider: Guider | None) -> Iterator[None]:
    """Name the guider in errors of a guided denoiser, whose networks the message names."""
    try:
        yield
    except (DenoiserError, DivergenceError) as error:
        if guider is None:
            raise
        raise type(error)(f"{named(guider)}: {error}") from error.__cause__


def _of_batch(each: Callable[[str, int, int], None], arm: str, number: int, batches: int) -> Callable[[int, int], None]:
    """The progress of the arm from that of one of its batches."""
    return lambda step, steps: each(arm, number * steps + step, batches * steps)


def _joined(conditions: Sequence[Condition]) -> Condition:
    alike, together = concatenate(conditions)
    if not alike:
        raise ConditionError("the task starts two batches of samples under conditions of different kinds or shapes")
    return on_device(together, torch.device("cpu"))
