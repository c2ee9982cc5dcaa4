"""Two runs that share a store: a network that both want is trained once, and a killed holder keeps nobody waiting."""

import signal
from pathlib import Path

import pytest
from harness import COMMANDS, Child, Moments, Place, check_whole, outcome, same

pytestmark = pytest.mark.slow

WAITS = "waiting for another process, which is making main"


@pytest.fixture
def other(place: Place, tmp_path: Path) -> Place:
    """A second run folder with the store of the first."""
    return Place(place.nursery, tmp_path / "other", store=place.store)


def waiting(other: Place) -> Child:
    child = other.go_on(COMMANDS["run"])
    child.until(lambda: WAITS in child.said)
    return child


@pytest.mark.proof
def test_the_second_waits_and_makes_it_when_the_first_is_killed(place: Place, other: Place, run: Moments) -> None:
    first = place.hanging(COMMANDS["run"], "before step of main")
    second = waiting(other)
    first.kill(signal.SIGKILL)  # with the state of an earlier step beside the entry to be
    assert first.wait() == -9
    assert second.wait() == 0, second.said
    assert second.said.count(WAITS) == 1
    same(outcome(other), run.expected)
    check_whole(other)
    third = place.go_on(COMMANDS["run"])  # the killed one is resumed, and finds everything
    assert third.wait() == 0
    assert "found main in the store" in third.said
    same(outcome(place), run.expected)


def test_it_goes_on_from_the_killed_ones_last_state(place: Place, other: Place, run: Moments) -> None:
    at = [number for number, name in enumerate(run.names, 1) if name == "after step of main"][30]
    assert place.go_on(COMMANDS["run"], often=True, die=at).wait() == -9
    second = other.go_on(COMMANDS["run"])
    assert second.wait() == 0
    assert "training main from step 30: 48 it" in second.said
    assert "found weak in the store" in second.said
    same(outcome(other), run.expected)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_who_waits_can_be_stopped(place: Place, other: Place, number: signal.Signals) -> None:
    first = place.hanging(COMMANDS["run"], "before step of main")
    second = waiting(other)
    second.kill(number)
    assert second.wait(20) == 128 + number
    assert second.said.endswith("interrupted; go on with: guideplug run --resume out\n")
    first.kill()
    first.wait()


def test_nothing_is_cleared_away_under_a_living_writer(place: Place, other: Place, run: Moments) -> None:
    """The first is about to rename what it wrote; the second begins, and clears away what the dead left."""
    first = place.hanging(COMMANDS["run"], "before rename to state.safetensors")
    half = sorted(place.store.rglob("*.tmp"))
    assert half
    second = other.go_on(COMMANDS["run"])
    second.until(lambda: "waiting for another process" in second.said)
    assert sorted(place.store.rglob("*.tmp")) == half
    first.kill()
    first.wait()
    assert second.wait() == 0, second.said
    same(outcome(other), run.expected)
    check_whole(other)
