"""Watching a run from its event log, whatever becomes of the log meanwhile."""

import io
import json
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from rich.console import Console

from guideplug.cli.main import main
from guideplug.cli.watch.chart import curve
from guideplug.cli.watch.loop import _Lines, _Watch
from guideplug.cli.watch.sentences import event_line
from guideplug.cli.watch.state import State
from guideplug.cli.watch.tail import Tail
from guideplug.cli.watch.view import view
from guideplug.run.folder import EventLog
from guideplug.testing import events_of_a_run

Events = list[dict[str, Any]]


ALONG = ("preview", "training_metrics")
"""What is told of a training beside its steps."""


def told(folder: Path, upto: str = "end", *, process: int = os.getpid(), **steps: int) -> Events:
    """The events of a made-up run up to the last of a kind, as the log has them."""
    names = []
    found = []
    for number, (event, data) in enumerate(events_of_a_run(folder, **steps)):
        if event in ("network", "trial", "training", "cell", "observer", *ALONG):
            continue
        names.append(event)
        found.append({"event": event, "time": 1000.0 + number, **data})
    found[0] |= {"process": process, "host": platform.node()}
    return found[: len(names) - names[::-1].index(upto)]


def write(folder: Path, events: Events, mode: str = "w", end: str = "\n") -> None:
    with (folder / "events.jsonl").open(mode) as file:
        file.write("\n".join(map(json.dumps, events)) + end)


def watch(*arguments: object, code: int = 0) -> str:
    done = CliRunner().invoke(main, ["watch", *map(str, arguments)], prog_name="guideplug")
    assert done.exit_code == code, done.output
    return done.output


def screen(folder: Path, width: int = 80, height: int = 40) -> list[str]:
    """What a terminal of a size shows."""
    state = _Watch(folder)
    state.look()
    out = io.StringIO()
    Console(width=width, file=out).print(view(state.state, "runs/one", state.life, width, height))
    return [line.rstrip() for line in out.getvalue().splitlines()]


# The log


def test_lines_are_read_as_they_come_and_torn_ones_when_they_are_whole(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text('{"event": "run"}\n{"event": "st')
    tail = Tail(path)
    assert tail.read() == ([{"event": "run"}], False)
    assert tail.read() == ([], False)
    with path.open("a") as file:
        file.write('ep"}\nno json\n[1]\n{"event": 3}\n{"event": "end"}\n')
    assert tail.read() == ([{"event": "step"}, {"event": "end"}], False)


def test_a_log_that_was_cut_back_is_read_anew_even_if_it_has_grown_since(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    before = "".join(f'{{"event": "step", "n": {number}}}\n' for number in range(500))
    path.write_text(before)
    tail = Tail(path)
    assert len(tail.read()[0]) == 500
    path.write_text(before[:5000])
    found, anew = tail.read()
    assert anew
    assert found[-1]["n"] < 499
    path.write_text(before[:4000] + "\n" + '{"event": "other"}\n' * 500)
    found, anew = tail.read()
    assert anew
    assert sum(event["event"] == "other" for event in found) == 500
    path.unlink()
    assert tail.read() == ([], False)  # a file system that lags
    path.write_text('{"event": "run"}\n')
    assert tail.read() == ([{"event": "run"}], True)


def test_the_log_has_a_line_a_second_of_sampling_and_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    log = EventLog(tmp_path / "events.jsonl")
    for done in range(1, 51):
        now[0] += 0.09
        log.on_event("sample", {"arm": "guided", "done": done, "total": 50})
    log.on_event("metrics", {"arm": "guided", "values": {"distance": float("inf")}})
    log.close()
    lines = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert [line["done"] for line in lines[:-1]] == [1, 13, 25, 37, 49, 50]
    assert lines[-1]["values"] == {"distance": None}
    EventLog(tmp_path / "events.jsonl").close()
    assert (tmp_path / "events.jsonl").read_text() == ""  # a resumed run samples and measures again


# What it says


def test_a_training_is_shown_with_its_curves_rates_and_time_left(tmp_path: Path) -> None:
    write(tmp_path, told(tmp_path, "step", last=8)[:-6])
    lines = screen(tmp_path)
    assert lines[0].startswith("running  runs/one  made-up  cfg")
    assert lines[1].startswith("training main  160 of 256 it, 1.5 s left, 64 it/s, 128 ex/s")
    assert lines[2].endswith("62%")
    assert any(line.startswith("loss 0.2, lr 0.01") for line in lines)
    assert any(line.startswith("selects 50%") for line in lines)
    assert "networks 1 of 2: weak found, main training" in lines
    assert any("weak: found in the store, trained in 1.5 s" in line for line in lines)


def test_sampling_and_metrics_are_shown(tmp_path: Path) -> None:
    write(tmp_path, told(tmp_path, "metrics"))
    lines = screen(tmp_path)
    assert any(line.startswith("sampling guided") and "2 of 2" in line for line in lines)
    assert any(line.split() == ["metric", "truth", "unguided", "guided"] for line in lines)
    assert any(line.split() == ["distance", "0", "0.75", "0.5"] for line in lines)
    assert any(line.split() == ["no", "value", "-", "-", "-"] for line in lines)


@pytest.mark.parametrize("width", [40, 80, 200])
@pytest.mark.parametrize("height", [5, 24, 60])
@pytest.mark.parametrize("upto", ["run", "train", "step", "sample", "metrics", "end"])
def test_it_fits_any_terminal(width: int, height: int, upto: str, tmp_path: Path) -> None:
    write(tmp_path, told(tmp_path, upto))
    lines = screen(tmp_path, width, height)
    assert max(map(len, lines)) <= width
    assert lines[0].startswith("finished" if upto == "end" else "running")


def test_without_colours_there_is_no_escape_sequence_and_none_comes_from_the_log(tmp_path: Path) -> None:
    events = told(tmp_path)
    events[0] |= {"task": "\x1b]0;title\x07[red]x[/red]\r"}
    write(tmp_path, events)
    shown = watch(tmp_path, "--once")
    assert "\x1b" not in shown
    assert "\x07" not in shown
    assert "[red]x[/red]" in shown
    assert "\x1b" not in watch(tmp_path)


def test_events_that_are_not_understood_are_passed_over() -> None:
    state = State()
    for event in (
        {"event": "step"},
        {"event": "train", "role": 3},
        {"event": "metrics", "values": 3},
        {"event": "new"},
    ):
        state.add({"time": 1.0, **event})
    state.add({"event": "end", "time": "never", "status": "finished"})
    assert (state.odd, state.status) == (4, "running")
    state.add({"event": "end", "time": -5.0, "status": "finished"})
    assert state.status == "finished"


def test_a_clock_that_is_set_back_matters_to_no_rate(tmp_path: Path) -> None:
    events = told(tmp_path, "step", last=8)
    for number, event in enumerate(events):
        event["time"] = -1e6 * number
    write(tmp_path, events)
    assert any("64 it/s" in line for line in screen(tmp_path))


def test_a_study_and_a_comparison_are_counted(tmp_path: Path) -> None:
    run = {"event": "run", "time": 0.0, "kind": "study", "study": "figure1", "resumed": False}
    trials = [
        {"event": "trial", "time": 10.0 * done, "done": done, "total": 9, "which": f"width {done}", "seconds": 10.0}
        for done in (1, 2, 3)
    ]
    write(tmp_path, [run, *trials])
    lines = screen(tmp_path)
    assert lines[0].startswith("running  runs/one  figure1")
    assert any(line.startswith("trials") and line.endswith("3 of 9, 60 s left") for line in lines)
    assert any("trial 3 of 9: width 3, 10 s" in line for line in lines)


# Its end


def test_a_process_that_is_gone_is_dead_and_one_that_is_there_is_silent(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    for process, said in ((gone.pid, "dead, its process"), (os.getpid(), "silent for 2 min, its process is there")):
        write(tmp_path, told(tmp_path, "step", process=process))
        os.utime(tmp_path / "events.jsonl", (0, time.time() - 110))
        assert said in watch(tmp_path, "--once").replace("\n", " ")
    write(tmp_path, told(tmp_path, "step", process=gone.pid))
    os.utime(tmp_path / "events.jsonl", (0, time.time() - 110))
    assert f"go on with guideplug run --resume {tmp_path}" in watch(tmp_path)  # and does not wait
    events = told(tmp_path, "step")
    events[0]["host"] = "elsewhere"
    write(tmp_path, events)
    os.utime(tmp_path / "events.jsonl", (0, time.time() - 110))
    assert "silent for 2 min, probably dead" in watch(tmp_path, "--once").replace("\n", " ")


def test_a_folder_that_is_none_is_one_line(tmp_path: Path) -> None:
    assert watch(tmp_path / "none", code=2).count("\n") == 1
    assert "has no events.jsonl" in watch(tmp_path, code=2)
    (tmp_path / "study.toml").write_text("")
    assert "no event log yet" in watch(tmp_path, code=2)


def test_a_run_that_failed_says_why(tmp_path: Path) -> None:
    events = [
        *told(tmp_path, "step"),
        {"event": "end", "time": 9.0, "status": "failed", "error": "diverged: " + "x" * 99},
    ]
    write(tmp_path, events)
    lines = screen(tmp_path)
    assert lines[0].startswith("failed")
    assert any(line.startswith("diverged:") for line in lines)
    assert watch(tmp_path).splitlines()[-1].startswith("failed: diverged")


def test_where_there_is_no_terminal_each_change_is_a_line(tmp_path: Path) -> None:
    events = told(tmp_path, last=8)
    pieces = [events[:3], events[3:4], events[4:10], events[10:]]
    write(tmp_path, pieces[0])
    looked, out = _Watch(tmp_path), io.StringIO()
    lines = _Lines(looked, Console(file=out, width=80))
    said = []
    for piece in ([], *pieces[1:], []):
        if piece:
            write(tmp_path, piece, "a")
        looked.look()
        lines.say()
        said.append(out.getvalue().splitlines())
        out.seek(0)
        out.truncate()
    assert said[0] == ["run begins", "weak: found in the store, trained in 1.5 s", "training main begins: 256 it"]
    assert said[1] == ["training main: 32 of 256 it, loss 1, 50% kept so far"]
    assert said[2] == ["training main: 128 of 256 it, loss 0.25, 50% kept so far"]
    work = "an iteration without selection takes 2 ms"
    assert said[3][-3:] == [f"drew {tmp_path / 'made-up.png'}", work, "finished"]
    assert said[4] == []
    assert looked.over


def test_what_is_drawn_and_measured_along_a_training_is_said(tmp_path: Path) -> None:
    said = [event_line(event, data) for event, data in events_of_a_run(tmp_path, last=1) if event in ALONG]
    drawing = f"drew {tmp_path / 'made-up.png'} at step 32 of main"
    assert said == [drawing, "main at step 32, raw: distance 1, no value -"]


def test_a_run_that_goes_on_from_earlier_is_followed(tmp_path: Path) -> None:
    first = told(tmp_path, "checkpoint", last=6)
    write(tmp_path, first)
    looked = _Watch(tmp_path)
    looked.look()
    assert looked.state.networks["main"].step == 192
    again = told(tmp_path, "step", first=2, last=3)
    write(tmp_path, [*(event for event in first if event.get("step", 0) <= 64), again[0], *again[2:]])
    looked.look()
    assert looked.cut
    assert [point.step for point in looked.state.networks["main"].points] == [32, 64, 96]
    lines = _Lines(looked, Console(file=(out := io.StringIO())))
    lines.say()
    assert "the log was cut back: the run goes on from an earlier state" in out.getvalue()


def test_ctrl_c_ends_it_quietly(tmp_path: Path) -> None:
    write(tmp_path, told(tmp_path, "step"))
    program = "from guideplug.cli import main; main(['watch', '.', '--interval', '0.1'], prog_name='guideplug')"
    process = subprocess.Popen(
        [sys.executable, "-c", program], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    while "training main: " not in process.stdout.readline():
        pass
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (0, "")


def test_watching_needs_no_torch(tmp_path: Path) -> None:
    write(tmp_path, told(tmp_path))
    program = (
        "import sys\nfrom guideplug.cli import main\nmain(['watch', '.', '--once'], standalone_mode=False)\n"
        "print([name for name in ('torch', 'numpy', 'matplotlib') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


# Curves


def dots(lines: list[str]) -> Iterator[tuple[int, int]]:
    """Columns and rows of the dots."""
    bits = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
    for y, line in enumerate(lines):
        for x, cell in enumerate(line):
            for row in range(4):
                for column in range(2):
                    if cell != " " and (ord(cell) - 0x2800) & bits[row][column]:
                        yield 2 * x + column, 4 * y + row


def test_a_line_is_a_diagonal_and_has_no_gap() -> None:
    found = dict(dots(curve([(0, 1.0), (19, 0.0)], 10, 5)))
    assert found == {x: x for x in range(20)}


def test_curves_of_few_or_equal_points() -> None:
    assert curve([], 4, 2) == ["    ", "    "]
    assert set(dots(curve([(3, 0.5)], 4, 2))) == {(0, 4)}
    assert {y for _, y in dots(curve([(0, 0.5), (9, 0.5)], 4, 2))} == {4}
    steep = list(dots(curve([(0, 0.0), (1, 1.0)], 1, 2)))
    assert sorted({y for _, y in steep}) == list(range(8))
    many = [(x, 1.0 + x % 7) for x in range(5000)]
    assert {x for x, _ in dots(curve(many, 30, 3))} == set(range(60))


def test_what_spans_decades_is_drawn_on_a_logarithmic_scale() -> None:
    found = dict(dots(curve([(x, 10.0**-x) for x in range(5)], 5, 5)))
    assert abs(found[4] - 9) <= 1  # the middle of the decades is in the middle
