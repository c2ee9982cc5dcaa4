"""Arms: samples of several denoisers from the same random streams, and what each cost in network evaluations."""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor

from guideplug.denoise import Condition, Denoiser, Tally, tally
from guideplug.noise import SampleStreams
from guideplug.sample import Sampler, State
from guideplug.task import Arm, Task

__all__ = ["draw_arms"]


def draw_arms(
    arms: Mapping[str, Denoiser],
    task: Task,
    sampler: Sampler,
    *,
    count: int,
    seed: int,
    batch: int,
    device: torch.device,
    each: Callable[[str, int, int], None] = lambda arm, done, total: None,
) -> tuple[dict[str, Arm], dict[str, Tally]]:
    """Samples of each arm from the same random streams, on the CPU, and each arm's network evaluations.

    Args:
        arms: denoisers by name.
        count, seed, batch: how many samples, from which seed, how many at once.
        each: told of the arm, the steps done and the steps in all.
    """
    drawn: dict[str, Arm] = {}
    tallies: dict[str, Tally] = {}
    for name, denoiser in arms.items():
        counted = _Counted(sampler, functools.partial(each, name), -(-count // batch))
        sigma = sampler.sigmas(denoiser)[0]
        samples: list[Tensor] = []
        starts: list[Tensor] = []
        conditions: list[Condition] = []
        with tally() as counts:
            for begin in range(0, count, batch):
                streams = SampleStreams(seed, range(begin, min(begin + batch, count)), device)
                start = task.start(streams, sigma)
                end = counted.sample(denoiser, start.x, start.condition, streams)
                samples.append(denoiser.decode(end).cpu())
                starts.append(start.x.cpu())
                conditions.append(start.condition)
        drawn[name] = Arm(name, torch.cat(samples), _joined(conditions), torch.cat(starts), denoiser)
        tallies[name] = counts
    return drawn, tallies


class _Counted(Sampler):
    """A sampler that tells of its steps, over several batches."""

    name = "counted"

    def __init__(self, sampler: Sampler, each: Callable[[int, int], None], batches: int) -> None:
        self._sampler, self._each, self._batches, self._done = sampler, each, batches, 0

    def sigmas(self, denoiser: Denoiser) -> list[float]:
        return self._sampler.sigmas(denoiser)

    def steps(
        self, denoiser: Denoiser, x: Tensor, condition: Condition = None, streams: SampleStreams | None = None
    ) -> Iterator[State]:
        for state in self._sampler.steps(denoiser, x, condition, streams):
            self._tell(state)
            yield state

    def _tell(self, state: State) -> None:
        self._done += 1
        self._each(self._done, self._batches * state.num_steps)


def _joined(conditions: Sequence[Condition]) -> Condition:
    first = conditions[0]
    if first is None:
        return None
    if isinstance(first, Tensor):
        return torch.cat([part for part in conditions if isinstance(part, Tensor)]).cpu()
    return {name: torch.cat([part[name] for part in conditions if isinstance(part, Mapping)]).cpu() for name in first}
