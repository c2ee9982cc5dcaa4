"""What a run draws or measures may fail: all else is kept, the failure is named, and resuming does it alone again."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from guideplug.cli import report

HERE = Path(__file__).parent
SCHEMAS = HERE.parents[1] / "guideplug" / "schemas"
PARTS = {
    "metric": "metric", "interval": "interval", "resampled": "interval", "figure": "figure", "animation": "animation",
    "slider": "slider", "words": "words",
}  # fmt: skip
"""What the plugin lets fail, and the part that is then listed."""
HOWS = ("raises", "exits", "nonsense")
ALL = [(part, how) for part in PARTS for how in HOWS]
FAST = [(part, HOWS[place % 3]) for place, part in enumerate(PARTS)]
METRICS = {"distance", "balance", "fragile"}


@pytest.fixture
def fragile(cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A guided run of the toy task, whose parts fail as they are told to."""
    plugin, calls = tmp_path / "fragile.py", tmp_path / "calls"
    plugin.write_text(
        (HERE / "toy.py").read_text() + (HERE / "failing.py").read_text().partition("# mypy: ignore-errors\n")[2]
    )
    monkeypatch.setenv("TOY_CALLS", str(calls))

    def run(fails: str, *args: object, code: int) -> tuple[Any, list[str]]:
        monkeypatch.setenv("TOY_FAILS", fails)
        calls.write_text("")
        command = args or (
            "--task",
            "toy",
            "--device",
            "cpu",
            "--guider",
            "autoguidance",
            "--plugin",
            plugin,
            "--out",
            "run",
        )
        done = cli("run", *command, code=code)
        return done, calls.read_text().splitlines()

    return run


def content(name: str) -> Any:
    value = json.loads(Path("run", f"{name}.json").read_text())
    problems = list(
        jsonschema.Draft202012Validator(json.loads((SCHEMAS / f"{name}.json").read_text())).iter_errors(value)
    )
    assert not problems, problems[0].message
    return value


def check(fragile: Any, part: str, how: str) -> None:
    listed = PARTS[part]
    done, _ = fragile(f"{part} {how}", code=3)
    metrics = content("metrics")
    assert {failure["part"] for failure in metrics["failures"]} == {listed}
    for arm in ("truth", "unguided", "guided"):
        values = metrics["arms"][arm]
        assert values.keys() == METRICS
        assert {name for name, value in values.items() if value is None} == ({"fragile"} if part == "metric" else set())
    assert metrics["differences"].keys() == METRICS - ({"fragile"} if listed in ("metric", "interval") else set())
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert line.endswith("guideplug run --resume run")
    assert f"{listed} '" in line
    if how == "raises":
        assert "no such luck" in line
    rows = [line for line in done.stdout.splitlines() if " fragile " in line]
    assert any("failed" in row for row in rows) is (listed in ("metric", "interval"))
    page = Path("run/report.html").read_text()
    assert "distance" in page
    assert page.count(f"{listed} &#39;") >= 1
    assert content("run")["status"] == "incomplete"
    if part != "words":
        assert content("words")["failures"]

    done, calls = fragile("", "--resume", "run", code=0)
    after = content("metrics")
    assert "failures" not in after
    assert {**after, "seconds": 0} == {**whole(after, metrics), "seconds": 0}
    assert content("run")["status"] == "finished"
    assert "failures" not in content("words")
    assert "sample" not in calls
    again = {call.partition(" ")[0] for call in calls} - {"words", "resampled", "interval"}
    assert again == ({part} & {"metric", "figure", "animation", "slider"})
    assert {path.name for path in Path("run").iterdir()} >= {"report.html", "words.json", "sweep.npz", "samples.npz"}
    assert {path.name for path in Path("run/figures").iterdir()} == {"toy.png", "toy.gif"}


def whole(after: Any, before: Any) -> Any:
    """The metrics of a failed run with what was missing in them, taken from the resumed one; the rest is as before."""
    record = {key: value for key, value in before.items() if key != "failures"}
    record["arms"] = {
        arm: {**after["arms"][arm], **{k: v for k, v in values.items() if v is not None}}
        for arm, values in before["arms"].items()
    }
    record["differences"] = {**after["differences"], **before["differences"]}
    return record


@pytest.mark.parametrize(("part", "how"), FAST)
def test_a_failed_part_costs_itself_alone(fragile: Any, part: str, how: str) -> None:
    check(fragile, part, how)


@pytest.mark.slow
@pytest.mark.parametrize(("part", "how"), [pair for pair in ALL if pair not in FAST])
def test_each_part_fails_in_each_way(fragile: Any, part: str, how: str) -> None:
    check(fragile, part, how)


def test_a_page_that_fails_is_written_by_resuming(fragile: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*args: object, **options: object) -> None:
        raise SystemExit(0)

    with monkeypatch.context() as patch:
        patch.setattr(report, "write_page", failing)
        fragile("", code=3)
    assert content("metrics")["failures"] == [{"part": "page", "name": "report.html", "reason": "SystemExit: 0"}]
    assert content("run")["status"] == "incomplete"
    _, calls = fragile("", "--resume", "run", code=0)
    assert {call.partition(" ")[0] for call in calls} == {"words"}
    assert Path("run/report.html").is_file()
    assert content("run")["status"] == "finished"


def test_metrics_are_written_before_anything_is_drawn(fragile: Any) -> None:
    _, calls = fragile("", code=0)
    order = [call.partition(" ")[0] for call in calls]
    last = max(place for place, call in enumerate(order) if call in ("metric", "interval", "resampled"))
    assert last < min(order.index(part) for part in ("figure", "animation", "slider", "words"))
