"""Signals as exceptions: at once, put off, insisted on, ignored, and through blocks inside each other."""

import signal
from collections.abc import Callable

import pytest

from guideplug.executors.interrupt import SIGNALS, Interrupted, StopToken, defer_signals, handle_signals


def ended_by(work: Callable[[StopToken], None]) -> int:
    """The exit code that some work is interrupted with."""
    with pytest.raises(Interrupted) as caught, handle_signals() as stop:
        work(stop)
    return caught.value.exit_code


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_raises_at_once(number: signal.Signals) -> None:
    before, done = signal.getsignal(number), []

    def work(stop: StopToken) -> None:
        signal.raise_signal(number)
        done.append("went on")

    assert ended_by(work) == 128 + number
    assert not done
    assert signal.getsignal(number) is before


def test_it_is_put_off_until_it_is_asked_for() -> None:
    done = []

    def work(stop: StopToken) -> None:
        with defer_signals():
            signal.raise_signal(signal.SIGTERM)
            done.append("saved")
        done.append("stored")
        stop()
        done.append("went on")

    assert ended_by(work) == 143
    assert done == ["saved", "stored"]


def test_the_second_is_not_put_off() -> None:
    done = []

    def work(stop: StopToken) -> None:
        with defer_signals():
            signal.raise_signal(signal.SIGTERM)
            done.append("saved")
            signal.raise_signal(signal.SIGINT)
            done.append("went on")

    assert ended_by(work) == 130
    assert done == ["saved"]


def test_blocks_inside_each_other_share_the_answer() -> None:
    def work(outer: StopToken) -> None:
        with handle_signals() as inner:
            assert inner is outer
            signal.raise_signal(signal.SIGINT)

    assert ended_by(work) == 130
    with handle_signals() as after:
        assert after.signal is None


@pytest.mark.parametrize("number", SIGNALS)
def test_what_is_ignored_from_the_beginning_stays_ignored(number: signal.Signals) -> None:
    """SIGHUP under nohup, and the signals of a terminal in a worker, whose driver requests the stop."""
    before = signal.signal(number, signal.SIG_IGN)
    try:
        with handle_signals() as stop:
            signal.raise_signal(number)
            assert stop.signal is None
            assert signal.getsignal(number) is signal.SIG_IGN
        assert signal.getsignal(number) is signal.SIG_IGN
    finally:
        signal.signal(number, before)


def test_a_terminal_that_hangs_up_is_heard() -> None:
    assert {signal.SIGINT, signal.SIGTERM, signal.SIGHUP} == set(SIGNALS)
