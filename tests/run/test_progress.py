"""Progress of a run on a terminal and elsewhere."""

import io

from rich.console import Console

from guideplug.run.progress import ProgressBars, ProgressLines, notes


def events(listener, count=3):
    for done in range(count):
        listener.on_event("measure", {"arm": "guided", "metric": f"metric {done}", "done": done, "total": count})
    listener.on_event("metrics", {"arm": "guided", "values": dict.fromkeys(map(str, range(count)), 0.0)})


def test_metrics_that_take_long_are_named_as_they_begin(monkeypatch):
    text = io.StringIO()
    lines = ProgressLines(Console(file=text, width=100))
    events(lines)
    assert text.getvalue() == ""
    monkeypatch.setattr(lines, "SECONDS_BETWEEN", -1.0)
    events(lines)
    assert text.getvalue().splitlines() == [f"measuring guided: metric {n}, {n + 1} of 3" for n in range(3)]


def test_the_bar_of_the_metrics_names_the_one_and_ends_full(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    text = io.StringIO()
    bars = ProgressBars(Console(file=text, force_terminal=True, width=160))
    bars.on_event("measure", {"arm": "guided", "metric": "transport", "done": 1, "total": 3})
    bars._progress.refresh()
    assert "transport" in text.getvalue()
    assert "1/3" in text.getvalue()
    events(bars)
    bars.close()
    assert "3/3" in text.getvalue()


def test_the_share_that_selection_keeps_is_cumulative_and_says_so():
    assert notes({"loss": 0.5, "kept": 0.92}) == "loss 0.5, 92% kept so far"
    assert notes({"loss": 0.5, "kept": 1.0}) == "loss 0.5"
