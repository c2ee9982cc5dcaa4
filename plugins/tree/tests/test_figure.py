"""The figure says the same numbers of the same samples as the table of metrics."""

from pathlib import Path
from typing import Any

import pytest
import torch
from matplotlib.figure import Figure

from guideplug import Arm, Context
from guideplug_edm import Heun
from guideplug_tree import Tree
from guideplug_tree.figure import NUM_POINTS, draw_figure
from guideplug_tree.metrics import METRICS


def test_its_shares_are_of_all_samples_as_the_metric_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Any] = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, path: drawn.append(figure))
    task = Tree()
    inside = task.mixture.component_means[3].expand(NUM_POINTS, 2)
    samples = torch.cat([inside, torch.full((NUM_POINTS // 4, 2), 5.0)])
    arm = Arm("guided", samples)
    draw_figure(task.mixture, [arm], tmp_path / "tree.png")
    _, panel, *_ = drawn[0].axes
    texts = [text.get_text() for text in panel.get_legend().get_texts()]
    (metric,) = (metric for metric in METRICS if metric.name == "inside outline")
    value = metric.measure(arm, Context(task, {}, Heun()))
    assert value == pytest.approx(0.8)
    assert texts == [f"inside {value:.2%}", f"outside {1 - value:.2%}"]
    assert " ".join(panel.get_title().split()) == "guided, 10,240 samples, 8,192 of them drawn"
