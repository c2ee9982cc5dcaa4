"""Observers of comparisons and studies: what they are told, and that nothing depends on them."""

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

TOY = Path(__file__).with_name("toy.py")


def events(folder: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(folder, "events.jsonl").read_text().splitlines()]


def test_a_study_is_told_and_resumed_with_other_observers(cli: Any) -> None:
    widths = ("study", "toy-widths(widths=[4, 8])", "--plugin", TOY, "--device", "cpu")
    cli(*widths, "--observer", "toy-failing(at=trial)", "--out", "w")
    assert tomllib.loads(Path("w/study.toml").read_text())["observers"] == ["toy-failing(at=trial, how=error)"]
    found = events("w")
    assert (found[0]["event"], found[0]["kind"], found[0]["resumed"]) == ("run", "study", False)
    assert [(one["done"], one["total"]) for one in found if one["event"] == "network"] == [(1, 2), (2, 2)]
    trials = [one for one in found if one["event"] == "trial"]
    assert [(one["done"], one["axes"], sorted(one["metrics"])) for one in trials] == [
        (1, {"width": 4}, ["balance", "distance"]),
        (2, {"width": 8}, ["balance", "distance"]),
    ]
    assert [one["at"] for one in found if one["event"] == "observer"] == ["trial"]
    assert found[-1]["status"] == "finished"
    assert {one["role"] for one in found if one["event"] == "step"} == {"main of width 4", "main of width 8"}
    assert "trial 2 of 2: width 8" in cli("watch", "w").stdout
    Path("w/trials/1.json").unlink()
    cli("study", "--resume", "w", "--observer", "none")
    assert [one["done"] for one in events("w") if one["event"] == "trial"] == [1, 2, 2]


@pytest.mark.slow
def test_a_comparison_is_told_and_shown(cli: Any) -> None:
    small = ("--plugin", TOY, "--task", "toy", "--device", "cpu", "--snapshots", "2")
    cli("compare", *small, "--selector", "toy-half", "--observer", "toy-failing(at=cell)", "--out", "c")
    found = events("c")
    assert [one["event"] for one in (found[0], found[-1])] == ["run", "end"]
    assert [(one["done"], one["which"]) for one in found if one["event"] == "training"] == [(1, "toy-half, seed 0")]
    cells = [one for one in found if one["event"] == "cell"]
    assert [(one["done"], one["total"], one["selector"], one["seed"], one["at"]) for one in cells] == [
        (1, 2, "toy-half", 0, 20),
        (2, 2, "toy-half", 0, 40),
    ]
    assert sorted(cells[0]["metrics"]["none"]) == ["balance", "distance"]
    assert {one["role"] for one in found if one["event"] == "step"} == {"toy-half, seed 0"}
    assert [one["at"] for one in found if one["event"] == "observer"] == ["cell"]
    assert "measurements" in cli("watch", "c", "--once").stdout
    cli("compare", "--resume", "c", "--observer", "none")
    assert tomllib.loads(Path("c/compare.toml").read_text())["observers"] == ["toy-failing(at=cell, how=error)"]
