"""The price of an iteration, on trainings and a clock made up for the purpose."""

import random
from typing import Any

import attrs
import pytest

from guideplug.experiments.comparison.costs import BLOCKS, Cost, Price, measure_prices, seconds_at
from guideplug.train import Moment


@attrs.define
class Clock:
    """Tells the time that fake trainings have taken."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@attrs.define
class Early:
    """A selector that goes off after some steps."""

    last: int

    def init(self) -> dict[str, Any]:
        return {"count": 0}

    def switched_off(self, state: Any) -> bool:
        return bool(state["count"] >= self.last)


@attrs.define
class Fake:
    """A training whose steps take ``on`` seconds while its selector is on, and ``off`` seconds otherwise."""

    clock: Clock
    off: float
    on: float = 0.0
    selector: Any = None
    step: int = 0
    selector_state: Any = None
    log: list[str] = attrs.field(factory=list)
    name: str = ""
    busy: Any = None

    def __attrs_post_init__(self) -> None:
        self.selector_state = None if self.selector is None else self.selector.init()

    def run(self, until: Any = None) -> None:
        while self.step < until.amount:
            selects = self.selector is not None and not self.selector.switched_off(self.selector_state)
            taken = self.on if selects else self.off
            self.clock.now += taken if self.busy is None else self.busy(taken)
            if selects:
                self.selector_state = {"count": self.selector_state["count"] + 1}
            self.step += 1
            self.log.append(self.name)


def prices(works: dict[str, Fake], **options: Any) -> dict[str, float]:
    clock = next(iter(works.values())).clock
    return {name: price.seconds for name, price in measure_prices(works, clock=clock, **options).items()}  # type: ignore[arg-type]


def test_each_work_has_the_price_of_its_own_iterations() -> None:
    clock = Clock()
    works = {"plain": Fake(clock, 0.02), "jest": Fake(clock, 0.02, 0.05, Early(10**9)), "weak": Fake(clock, 0.003)}
    assert prices(works) == pytest.approx({"plain": 0.02, "jest": 0.05, "weak": 0.003})


@pytest.mark.parametrize("last", [1, 2, 7])
def test_a_selector_that_goes_off_early_is_on_in_every_step_that_is_measured(last: int) -> None:
    clock = Clock()
    assert prices({"early": Fake(clock, 0.02, 0.05, Early(last))}) == pytest.approx({"early": 0.05})


def test_an_early_one_that_has_stopped_costs_what_no_selection_costs() -> None:
    """30 of 100 steps selected: also where its selector is blind and cheap, as a random one is."""
    moment = Moment(100, 9.0, 30, 6400, 1920, 3000)
    dear, bare, cheap = (Price(value, value, value) for value in (0.05, 0.02, 0.004))
    assert seconds_at(moment, Cost(dear, bare)) == pytest.approx(30 * 0.05 + 70 * 0.02)
    assert seconds_at(attrs.evolve(moment, scored=0), Cost(cheap, bare)) == pytest.approx(30 * 0.004 + 70 * 0.02)
    assert seconds_at(attrs.evolve(moment, selecting=0), Cost(dear, bare)) == pytest.approx(100 * 0.02)


def test_the_order_is_drawn_anew_for_each_round() -> None:
    """What runs after a dear one pays for a cold cache: in one fixed order a single work would pay always."""
    log: list[str] = []
    clock = Clock()
    works = {name: Fake(clock, 0.01, log=log, name=name) for name in "abc"}

    def cold(name: str) -> Any:
        return lambda taken: taken * (1.12 if log and log[-1] == "a" and name != "a" else 1.0)

    for name, work in works.items():
        work.busy = cold(name)
    found = prices(works, rounds=400)
    rounds = [tuple(log[start : start + 3]) for start in range(15, len(log), 3)]
    assert all(sorted(one) == ["a", "b", "c"] for one in rounds)
    assert len(set(rounds)) == 6
    assert found["b"] == pytest.approx(found["c"], rel=1e-6)
    again = list(log)
    log.clear()
    prices({name: Fake(clock, 0.01, log=log, name=name, busy=cold(name)) for name in "abc"}, rounds=400)
    assert log == again  # the generator is explicit, and begins alike
    log.clear()
    prices({name: Fake(clock, 0.01, log=log, name=name) for name in "abc"}, rounds=400, generator=random.Random(5))
    assert log != again


def test_rounds_that_scatter_are_repeated_and_the_quietest_block_counts() -> None:
    noise = random.Random(1)
    clock = Clock()
    work = Fake(clock, 0.01)
    work.busy = lambda taken: taken * (noise.uniform(1, 3) if work.step < 5 + 40 else 1.0)
    (found,) = measure_prices({"one": work}, clock=clock).values()  # type: ignore[dict-item]
    assert found.seconds == pytest.approx(0.01)
    assert found.calm
    assert work.step == 5 + 2 * 40


def test_a_machine_that_stays_busy_is_told() -> None:
    noise = random.Random(1)
    clock = Clock()
    work = Fake(clock, 0.01, busy=lambda taken: taken * noise.uniform(1, 3))
    (found,) = measure_prices({"one": work}, clock=clock).values()  # type: ignore[dict-item]
    assert not found.calm
    assert work.step == 5 + BLOCKS * 40


@pytest.mark.parametrize(("high", "calm"), [(0.0114, True), (0.0116, False)])
def test_calm_is_a_range_of_15_percent(high: float, calm: bool) -> None:
    assert Price(0.01, 0.01, high).calm is calm
