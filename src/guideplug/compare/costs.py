"""Seconds of an iteration with each selector, measured alone and side by side.

Trainings of a comparison may run beside each other, and beside whatever else a machine does; their own seconds say
little then. So the cost of an iteration is measured apart: fresh trainings of every selector advance in turn, one
iteration each, in one process with nothing else of ours running, and the median over the rounds is the cost. A
training's time at a step is then

    steps with scoring * seconds of such a step + the others * seconds of a step without

which is the same whatever ran beside it. A selector that has stopped selecting costs what no selector costs.
"""

import statistics
import time
from collections.abc import Mapping

import attrs

from guideplug.config import Duration
from guideplug.train import Moment, Training

__all__ = ["Cost", "measure_costs", "seconds_at"]

ROUNDS, WARM_UP = 40, 5


@attrs.frozen
class Cost:
    """Seconds of an iteration: medians over rounds, and the quartiles of the first.

    Args:
        iteration: while selecting, or always where nothing is selected.
        plain: an iteration that scores nothing.
        quartiles: of ``iteration``.
        scores: whether iterations score at first.
    """

    iteration: float
    plain: float
    quartiles: tuple[float, float]
    scores: bool


def measure_costs(trainings: Mapping[str, Training], plain: Training, *, rounds: int = ROUNDS) -> dict[str, Cost]:
    """The cost of an iteration of each training, side by side.

    Args:
        trainings: fresh ones, by name.
        plain: a fresh one without a selector.
        rounds: iterations of each.
    """
    every: dict[str | None, Training] = {**dict(trainings), None: plain}  # type: ignore[dict-item]
    for training in every.values():
        training.run(until=Duration(WARM_UP, "it"))
    scored = {name: training.counters.scored > 0 for name, training in every.items()}
    times: dict[str | None, list[float]] = {name: [] for name in every}
    for _ in range(rounds):
        for name, training in every.items():
            begin = time.perf_counter()
            training.run(until=Duration(training.step + 1, "it"))
            times[name].append(time.perf_counter() - begin)
    bare = statistics.median(times[None])
    found = {}
    for name in trainings:
        low, middle, high = statistics.quantiles(times[name], n=4)
        found[name] = Cost(middle, bare if scored[name] else middle, (low, high), scored[name])
    return found


def seconds_at(moment: Moment, cost: Cost, batch: int) -> float:
    """Seconds of a training up to a moment, by the cost of its iterations."""
    scoring = moment.scored / batch if cost.scores else 0.0
    rest = moment.step - scoring
    return scoring * cost.iteration + rest * cost.plain
