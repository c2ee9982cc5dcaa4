"""What a run draws or measures may fail: all else is kept, the failure is named, and resuming does it alone again."""

import json
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from tiers import few

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
            "run",
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
        done = cli(*command, code=code)
        return done, calls.read_text().splitlines()

    run.plugin = plugin  # type: ignore[attr-defined]
    return run


def content(name: str, path: str = "") -> Any:
    value = json.loads(Path("run", path or f"{name}.json").read_text())
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

    done, calls = fragile("", "run", "--resume", "run", code=0)
    after = content("metrics")
    assert "failures" not in after
    anew = {"seconds": 0} | ({"slider": after.get("slider")} if part == "slider" else {})
    assert {**after, **anew} == {**whole(after, metrics), **anew}
    assert "slider" in after
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


@pytest.mark.parametrize(("part", "how"), few(ALL, *FAST))
def test_a_failed_part_costs_itself_alone(fragile: Any, part: str, how: str) -> None:
    check(fragile, part, how)


def test_a_page_that_fails_is_written_by_resuming(fragile: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*args: object, **options: object) -> None:
        raise SystemExit(0)

    with monkeypatch.context() as patch:
        patch.setattr(report, "write_page", failing)
        fragile("", code=3)
    assert content("metrics")["failures"] == [{"part": "page", "name": "report.html", "reason": "SystemExit: 0"}]
    assert content("run")["status"] == "incomplete"
    _, calls = fragile("", "run", "--resume", "run", code=0)
    assert {call.partition(" ")[0] for call in calls} == {"words"}
    assert Path("run/report.html").is_file()
    assert content("run")["status"] == "finished"


def test_metrics_are_written_before_anything_is_drawn(fragile: Any) -> None:
    _, calls = fragile("", code=0)
    order = [call.partition(" ")[0] for call in calls]
    last = max(place for place, call in enumerate(order) if call in ("metric", "interval", "resampled"))
    assert last < min(order.index(part) for part in ("figure", "animation", "slider", "words"))


# Comparisons, studies, and samples of a file


def comparing(plugin: Path, *others: object) -> tuple[object, ...]:
    arms = ("--guider", "none", "--guider", "autoguidance", "--seeds", "0,1", "--snapshots", "2", "--samples", "16")
    return ("compare", "--plugin", plugin, "--task", "toy", "--device", "cpu", *arms, "--out", "run", *others)


@pytest.mark.proof
def test_a_metric_that_fails_in_one_arm_costs_no_grid(fragile: Any) -> None:
    done, _ = fragile("metric raises autoguidance", *comparing(fragile.plugin), code=3)
    result = content("compare")
    assert {(one["name"], one["arm"]) for one in result["failures"]} == {("fragile", "autoguidance")}
    for row in result["rows"]:
        missing = {name for name, value in row["metrics"].items() if value is None}
        assert missing == ({"fragile"} if row["guider"] == "autoguidance" else set())
    assert "RuntimeError: no such luck" in " ".join(result["words"])
    for text in (done.stdout, Path("run/tables.md").read_text()):
        assert any("failed" in line for line in text.splitlines() if "autoguidance" in line)
    assert done.stderr.splitlines()[-1].endswith("guideplug compare --resume run")
    cells = {path.name: path.read_bytes() for path in Path("run/cells").iterdir()}

    _, calls = fragile("", "compare", "--resume", "run", code=0)
    after = content("compare")
    assert after["failures"] == []
    assert "metric autoguidance" in calls
    for name in cells:
        record = content("cell", f"cells/{name}")
        assert "failures" not in record
        assert json.loads(cells[name])["guiders"]["none"] == record["guiders"]["none"]
    _, calls = fragile("", "compare", "--resume", "run", code=0)  # nothing is left to do
    assert not [call for call in calls if call.startswith("metric")]


@pytest.mark.proof
def test_a_mean_over_fewer_seeds_says_so(fragile: Any) -> None:
    fragile("", *comparing(fragile.plugin), code=0)
    cell = max(Path("run/cells").iterdir(), key=lambda path: int(path.stem.split("-")[2]))  # of the tables
    cell.unlink()
    done, _ = fragile("metric exits none", "compare", "--resume", "run", code=3)
    (kept,) = [path for path in Path("run/cells").iterdir() if "failures" in path.read_text()]
    assert kept == cell
    tables = Path("run/tables.md").read_text()
    assert "(n 1)" in tables
    assert "SystemExit" in tables
    assert "(n 1)" in done.stdout


@pytest.mark.parametrize("how", few(HOWS, "nonsense"))
def test_a_figure_that_fails_costs_no_comparison(fragile: Any, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*args: object) -> object:
        if how == "raises":
            raise RuntimeError("no such luck")
        if how == "exits":
            raise SystemExit(0)
        return "nonsense"

    with monkeypatch.context() as patch:
        patch.setattr(sys.modules["guideplug.experiments.comparison.write_report"], "draw_dots", failing)
        done, _ = fragile("", *comparing(fragile.plugin, "--json"), code=3)
    assert json.loads(done.stdout) == content("compare")
    assert "figure 'budgets.png' failed" in done.stderr
    assert not Path("run/budgets.png").exists()
    _, calls = fragile("", "compare", "--resume", "run", code=0)
    assert Path("run/budgets.png").is_file()
    assert not [call for call in calls if call.startswith("metric")]


def studying(plugin: Path) -> tuple[object, ...]:
    return ("study", "toy-widths", "--plugin", plugin, "--device", "cpu", "--out", "run")


@pytest.mark.parametrize("how", few(HOWS, "exits"))
def test_a_metric_that_fails_in_one_trial_costs_no_study(fragile: Any, how: str) -> None:
    done, _ = fragile(f"metric {how} 16", *studying(fragile.plugin), code=3)
    first, second = content("study")["trials"]
    assert first.get("failures") is None
    assert second["metrics"]["fragile"] is None
    assert second["metrics"]["distance"] is not None
    assert list(second["failures"]) == ["fragile"]
    assert "fragile failed in 1 of 2 trials" in done.stdout
    assert "failures" not in content("trial", "trials/0.json")
    content("trial", "trials/1.json")
    done, calls = fragile("", "study", "--resume", "run", code=0)
    assert not [call for call in calls if call.startswith("metric") and "width 8" in call]
    assert all("failures" not in trial for trial in content("study")["trials"])


SAYS = [(part, how) for part in ("report", "figure") for how in HOWS]


@pytest.mark.parametrize(("part", "how"), few(SAYS, ("report", "nonsense"), ("figure", "exits")))
def test_what_a_study_says_or_draws_may_fail(fragile: Any, part: str, how: str) -> None:
    done, _ = fragile(f"{part} {how}", *studying(fragile.plugin), code=3)
    assert [trial["metrics"]["fragile"] is not None for trial in content("study")["trials"]] == [True, True]
    assert f"{part} '" in done.stderr
    assert Path("run/trials.csv").is_file()
    fragile("", "study", "--resume", "run", code=0)
    assert Path("run/widths.png").is_file()
    assert list(content("study")["tables"]) == ["widths"]


OF_A_FILE = [(part, how) for part in ("metric", "interval", "figure") for how in HOWS]


@pytest.mark.parametrize(("part", "how"), few(OF_A_FILE, ("metric", "raises"), ("figure", "nonsense")))
def test_samples_of_a_file(fragile: Any, part: str, how: str) -> None:
    fragile("", code=0)
    options = ("--plugin", fragile.plugin, "--task", "toy", "--figure", "drawn.png", "--json")
    fails = f"{part} {how} {'guided' if part == 'metric' else ''}"
    done, _ = fragile(fails, "evaluate", "run/samples.npz", *options, code=3)
    result = json.loads(done.stdout)
    assert {failure["part"] for failure in result["failures"]} == {part}
    assert result["arms"]["truth"].keys() == METRICS
    assert result["arms"]["guided"]["distance"] is not None
    assert (result["figure"] is None) is (part == "figure")
