"""SIGINT and SIGTERM end a command at once, wherever it is, and it can be resumed. Its processes end with it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from harness import COMMANDS, Moments, Place, check_whole, outcome, same

pytestmark = pytest.mark.slow

AT_ONCE = 20.0
"""Seconds; they all hang for ten minutes. On a quiet machine they end within one second."""
GO_ON = "interrupted; go on with: guideplug {} --resume out\n"


@pytest.mark.parametrize(
    ("point", "number", "compiled"),
    [
        ("before event measure", signal.SIGTERM, False),
        ("before event measure", signal.SIGINT, True),
        ("before rename to toy.png", signal.SIGINT, False),
        ("before rename to weak.safetensors", signal.SIGTERM, True),
        ("before event train", signal.SIGTERM, False),
        ("before event measure", signal.SIGHUP, False),
    ],
)
def test_wherever_a_run_is_it_ends_at_once(
    place: Place, run: Moments, point: str, number: signal.Signals, compiled: bool
) -> None:
    child = place.hanging(COMMANDS["run"], point, compiled=compiled)
    child.kill(number)
    assert child.wait(AT_ONCE) == 128 + number
    assert child.said.endswith(GO_ON.format("run"))
    assert "Traceback" not in child.said
    assert '"status": "interrupted"' in (place.out / "run.json").read_text()
    place.finish(COMMANDS["run"])
    same(outcome(place), run.expected)
    check_whole(place)


@pytest.mark.parametrize("compiled", [False, True])
def test_a_training_ends_after_its_step_and_with_a_second_signal_at_once(
    place: Place, run: Moments, compiled: bool
) -> None:
    child = place.hanging(COMMANDS["run"], "before step of main", compiled=compiled)
    child.kill(signal.SIGINT)
    assert child.nursery.ask(wait=child.pid, seconds=1.5)["code"] is None  # the step is worth waiting for
    child.kill(signal.SIGINT)
    assert child.wait(AT_ONCE) == 130
    assert child.said.endswith(GO_ON.format("run"))
    place.finish(COMMANDS["run"])
    same(outcome(place), run.expected)


@pytest.mark.parametrize(("name", "point"), [("compare", "before drawing"), ("study", "before rename to widths.csv")])
def test_comparisons_and_studies_end_at_once_too(place: Place, name: str, point: str) -> None:
    child = place.hanging(COMMANDS[name], point)
    child.kill(signal.SIGTERM)
    assert child.wait(AT_ONCE) == 143
    assert child.said.endswith(GO_ON.format(name))
    place.finish(COMMANDS[name])
    check_whole(place)


def test_before_anything_is_done(place: Place) -> None:
    child = place.hanging(COMMANDS["run"], "before make out")
    child.kill(signal.SIGINT)
    assert child.wait(AT_ONCE) == 130
    assert child.said.splitlines()[-1] == "interrupted"
    assert not place.out.exists()


# Several processes


def started(place: Path, name: str) -> "subprocess.Popen[str]":
    program = "from guideplug.cli import main; main(prog_name='guideplug')"
    slow = {**os.environ, "TOY_PAUSE": "1", "GUIDEPLUG_STORE": str(place / "store")}
    return subprocess.Popen(
        [sys.executable, "-c", program, *COMMANDS[name], "--jobs", "2", "--out", "out"],
        cwd=place, env=slow, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def workers_of(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.proof
@pytest.mark.parametrize(("name", "number"), [("compare", signal.SIGTERM), ("study", signal.SIGKILL)])
def test_no_process_stays_behind(tmp_path: Path, name: str, number: signal.Signals) -> None:
    """Nor where the one that they work for is killed and can tell them nothing."""
    process = started(tmp_path, name)
    try:
        while not list(tmp_path.glob("store/*.partial")):
            assert process.poll() is None, process.communicate()
            time.sleep(0.05)
        workers = workers_of(process.pid)
        assert len(workers) == 2
        process.send_signal(number)
        _, output = process.communicate(timeout=60)
        assert process.returncode == (-number if number == signal.SIGKILL else 128 + number)
        if number == signal.SIGTERM:
            assert output == GO_ON.format(name)
        until = time.monotonic() + AT_ONCE
        while any(map(alive, workers)):
            assert time.monotonic() < until
            time.sleep(0.05)
    finally:
        process.kill()
        process.communicate()
