"""What a run says about its selection."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from attrs import evolve

from guideplug.registry.registry import Registry
from guideplug.run.resolve import Request, resolve
from guideplug.run.summary import metrics_line, selection_sentence

CONFIG = resolve(Request({"task": "tree", "selector": "jest", "device": "cpu"}), Registry.installed())


def said(composition: dict[str, Any] | None) -> str:
    selection = {"effective_sample_size": 0.9, "switched_off_at": None, "iterations": 100, "composition": composition}
    metrics = {"selection": selection, "examples": {"seen": 1000, "backpropagated": 200}}
    return selection_sentence(CONFIG, SimpleNamespace(metrics=metrics))  # type: ignore[arg-type]


def test_the_table_says_where_its_metrics_are_explained(tmp_path: Path) -> None:
    assert metrics_line(CONFIG) == "what the metrics mean: guideplug plugins show tree"
    assert metrics_line(evolve(CONFIG, plugins=("my task.py",))).endswith(" tree --plugin 'my task.py'")
    rows = tmp_path / "rows.npy"
    np.save(rows, np.random.default_rng(0).standard_normal((64, 2)))
    points = resolve(Request({"task": f'points("{rows}")', "device": "cpu"}), Registry.installed())
    assert metrics_line(points) == "what the metrics mean: the tooltips of their names in the page"


def counts(offered: list[int], selected: list[int]) -> dict[str, Any]:
    return {"groups": [f"depth {i}" for i in range(len(offered))], "offered": offered, "selected": selected}


def test_groups_that_are_selected_clearly_more_or_less_often_are_named() -> None:
    text = said(counts([4000, 4000, 4000, 4000], [300, 780, 820, 1300]))
    assert text.endswith(
        "; 200 of 1,000 examples drawn were trained on; against a blind choice: depth 3 ×1.62, depth 0 ×0.38."
    )


@pytest.mark.parametrize(
    "composition",
    [
        None,
        counts([4000, 4000], [700, 900]),  # .875 and 1.125
        counts([400, 400], [20, 80]),  # a blind choice takes 50 of each: too few to say
        counts([4000, 0], [800, 0]),
        counts([0, 0], [0, 0]),
    ],
)
def test_nothing_is_said_where_nothing_is_clear(composition: dict[str, Any] | None) -> None:
    assert "blind" not in said(composition)


def test_a_group_that_is_never_selected_is_named_first() -> None:
    text = said(counts([2000] * 7, [0, 100, 200, 400, 600, 900, 1300]))
    assert text.endswith("against a blind choice: depth 6 ×2.60, depth 2 ×0.40, depth 1 ×0.20, depth 0 ×0.00.")
