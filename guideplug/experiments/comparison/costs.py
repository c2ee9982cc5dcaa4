"""Seconds of an iteration of each kind of work, measured alone and side by side.

Trainings of a comparison may run in parallel, and beside other load, so their own seconds are unreliable. The cost of
an iteration is measured separately: fresh trainings advance in turn, one iteration each, in a random order per round,
in one process; the median over the rounds is the price. A training's selector is reset before each of its iterations,
so that it is on in all of them. A training's time at a step is then

    steps with the selector on * price of such a step + the others * price of a step without selection

which does not depend on parallel load. The price of a step without selection is that of a fresh training without a
selector, and trainings that do the same work share one price.

Blocks of rounds are repeated while their times scatter, and the block with the least scatter counts; if it scatters
too, the price is marked as busy.
"""

import random
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import attrs

from guideplug.config import Duration
from guideplug.select import Selector
from guideplug.train import Moment

__all__ = ["Cost", "Price", "Work", "measure_prices", "seconds_at"]

ROUNDS, WARM_UP = 40, 5
BLOCKS = 4
"""Largest number of blocks of rounds."""
CALM = 0.15
"""Largest interquartile range, as a share of the median, of a price measured on a calm machine.

A second process on two cores slows an iteration by about 12 %; one that comes and goes moves a quartile by as much."""


class Work(Protocol):
    """The measured work: a `guideplug.train.Training`."""

    @property
    def step(self) -> int:
        """Iterations done."""

    @property
    def selector(self) -> Selector | None:
        """The selector."""

    selector_state: Any

    def run(self, until: Duration | None = None) -> None:
        """Advance."""


@attrs.frozen
class Price:
    """Seconds of an iteration: the median over rounds, and its quartiles."""

    seconds: float
    low: float
    high: float

    @property
    def spread(self) -> float:
        """The interquartile range as a share of the median."""
        return (self.high - self.low) / self.seconds if self.seconds > 0 else 0.0

    @property
    def calm(self) -> bool:
        """Whether the times scatter little."""
        return self.spread <= CALM


@attrs.frozen
class Cost:
    """The price of a training's iterations: with its selector on, and without selection."""

    on: Price
    off: Price


def measure_prices(
    works: Mapping[str, Work],
    *,
    rounds: int = ROUNDS,
    blocks: int = BLOCKS,
    clock: Callable[[], float] = time.perf_counter,
    generator: random.Random | None = None,
) -> dict[str, Price]:
    """The price of an iteration of each work, measured in turn.

    Args:
        works: fresh trainings, by name; each stands for one kind of iteration.
        rounds: iterations of each in a block.
        blocks: the most blocks of rounds.
        clock: the clock, in seconds.
        generator: draws the order in each round; by default with a fixed seed.
    """
    generator = generator or random.Random(0)
    for work in works.values():
        for _ in range(WARM_UP):
            _advance(work)
    measured: list[dict[str, Price]] = []
    while len(measured) < blocks and not (measured and all(price.calm for price in measured[-1].values())):
        measured.append(_block(works, rounds, clock, generator))
    return min(measured, key=lambda prices: max((price.spread for price in prices.values()), default=0.0))


def _block(
    works: Mapping[str, Work], rounds: int, clock: Callable[[], float], generator: random.Random
) -> dict[str, Price]:
    times: dict[str, list[float]] = {name: [] for name in works}
    order = list(works)
    for _ in range(rounds):
        generator.shuffle(order)
        for name in order:
            _put_back(works[name])
            begin = clock()
            works[name].run(until=Duration(works[name].step + 1, "it"))
            times[name].append(clock() - begin)
    seconds_of = {}
    for name, taken in times.items():
        low, middle, high = statistics.quantiles(taken, n=4)
        seconds_of[name] = Price(middle, low, high)
    return seconds_of


def _advance(work: Work) -> None:
    _put_back(work)
    work.run(until=Duration(work.step + 1, "it"))


def _put_back(work: Work) -> None:
    """Reset the selector's state: one that has switched off is on again."""
    if work.selector is not None:
        work.selector_state = work.selector.init()


def seconds_at(moment: Moment, cost: Cost) -> float:
    """Seconds of a training up to a moment, by the price of its iterations."""
    return moment.selecting * cost.on.seconds + (moment.step - moment.selecting) * cost.off.seconds
