"""Progress of comparisons and studies: few lines, phases that overlap, what was found, and the time left."""

import io
import re
from collections.abc import Iterator
from typing import Any

import pytest
from rich.console import Console

from guideplug.cli.experiment_progress import ExperimentProgress


def comparison(trainings: int, cells: int, found: int = 0) -> Iterator[tuple[str, dict[str, Any]]]:
    """The events of a comparison, some of whose trainings are in the store."""
    for number in range(trainings):
        yield "training", {"done": number + 1, "total": trainings, "stored": number < found}
    for seconds in (0.0015, 0.0025):
        yield "price", {"which": "work", "seconds": seconds, "low": seconds, "high": seconds}
    for number in range(cells):
        yield "cell", {"done": number + 1, "total": cells}
    yield "warning", {"text": "something else"}


def printed(events: Iterator[tuple[str, dict[str, Any]]], *, stored: int = 0, terminal: bool = False) -> list[str]:
    file = io.StringIO()
    progress = ExperimentProgress(Console(file=file, force_terminal=terminal, width=100), stored)
    for event, data in events:
        progress.on_event(event, data)
    progress.close()
    return re.findall(r"\[ +\d+ s\] ([^\n\r]*)", file.getvalue())


def test_about_ten_lines_where_there_is_no_terminal() -> None:
    lines = printed(comparison(12, 48))
    assert len(lines) == 4 + 1 + 4 + 1
    assert re.fullmatch(r"trainings: 3 of 12, about 1 s left", lines[0])
    assert lines[3:5] == [
        "trainings: 12 of 12, prices and measurements come next",
        "prices: 2 kinds of iterations, 1.5 to 2.5 ms each (costs.json)",
    ]
    assert lines[-2:] == ["measurements: 48 of 48", "warning: something else"]


def test_what_was_found_was_not_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter(range(1000))
    monkeypatch.setattr("guideplug.cli.experiment_progress.time.monotonic", lambda: float(next(now)))
    lines = printed(comparison(12, 0, found=10), stored=10)
    assert lines[2] == "trainings: 9 of 12, 9 found in the store"  # no time left is known where nothing was trained
    assert lines[3] == "trainings: 12 of 12, 10 found in the store, prices and measurements come next"


def test_one_line_per_phase_on_a_terminal() -> None:
    assert printed(comparison(12, 48), terminal=True) == [
        "trainings: 12 of 12, prices and measurements come next",
        "prices: 2 kinds of iterations, 1.5 to 2.5 ms each (costs.json)",
        "measurements: 48 of 48",
        "warning: something else",
    ]


def test_phases_overlap_and_what_was_there_is_said() -> None:
    def study() -> Iterator[tuple[str, dict[str, Any]]]:
        for number in range(4):
            yield "network", {"done": number + 1, "total": 4}
            yield "trial", {"done": number + 5, "total": 8}

    lines = printed(study())
    assert "trials: 4 of 8 were there" in lines
    assert lines[-1] == "trials: 8 of 8"
    assert "networks: 4 of 4" in lines


def test_a_second_batch_of_networks_is_counted_anew() -> None:
    batches = [("network", {"done": done, "total": total}) for total in (2, 6) for done in range(1, total + 1)]
    assert "networks: 6 of 6" in printed(iter(batches))
    assert not any("of 2" in line for line in printed(iter(batches))[2:])


def test_a_long_training_in_this_process_is_heard_of(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter(range(0, 100000, 50))
    monkeypatch.setattr("guideplug.cli.experiment_progress.time.monotonic", lambda: float(next(now)))
    step = {"role": "main", "reached": 32, "total": 4096, "unit": "it"}
    assert printed(iter([("step", step)] * 4)) == ["training main: 32 of 4096 it"] * 2
