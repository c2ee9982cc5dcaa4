"""Metrics at copies, at noise and at degenerate samples; figures."""

import math
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
import torch
from attrs import evolve

from guideplug import Arm, Context, Task
from guideplug_edm import Euler
from guideplug_points import Points

torch.set_num_threads(1)

SAMPLER = Euler(num_steps=1)


def prepared(path: Path, label: str | None = None) -> tuple[Points, Context, Arm]:
    task = Points(str(path), label)
    (truth,) = task.truth(4096, SAMPLER, 0)
    return task, Context(task, {"truth": truth}, SAMPLER), truth


def values(arm: Arm, context: Context) -> dict[str, float | None]:
    return {metric.name: metric.measure(arm, context) for metric in context.task.metrics()}


def test_held_out_rows_have_good_values_and_no_metric_looks_at_the_units(rings: Path) -> None:
    _, context, truth = prepared(rings, "ring")
    found = values(truth, context)
    low_high = {
        "precision": (0.85, 1.0),
        "density": (0.8, 1.3),
        "class accuracy": (0.99, 1.0),
        "recall": (0.85, 1.0),
        "coverage": (0.85, 1.0),
        "sliced W2": (0.01, 0.3),
        "energy distance": (-0.05, 0.05),
        "nearest training row": (0.005, 0.1),
    }
    assert low_high.keys() == found.keys()
    for name, (low, high) in low_high.items():
        value = found[name]
        assert value is not None
        assert low <= value <= high, name


def test_noise_is_worse_and_copies_are_found_out(rings: Path) -> None:
    task, context, truth = prepared(rings, "ring")
    true = values(truth, context)
    generator = torch.Generator().manual_seed(0)
    spread = torch.from_numpy(task.table.std).float()
    noise = truth.samples + 2 * spread * torch.randn(truth.samples.shape, generator=generator)
    measured = values(Arm("noise", noise, truth.condition), context)
    assert measured.pop("recall") is not None  # spread-out samples have large balls: known of the metric
    for name, value in measured.items():
        (metric,) = (metric for metric in task.metrics() if metric.name == name)
        real = true[name]
        assert value is not None
        assert real is not None
        assert value < real if metric.better == "higher" else value > real, name
    train = torch.from_numpy(task.table.train).float()
    copies = values(Arm("copies", train, torch.from_numpy(task.table.train_labels)), context)
    assert copies["nearest training row"] == pytest.approx(0, abs=1e-4)


def test_samples_of_one_class_are_faithful_and_cover_half(rings: Path) -> None:
    _, context, truth = prepared(rings, "ring")
    assert isinstance(truth.condition, torch.Tensor)
    inner = truth.condition == 0
    found = values(Arm("guided", truth.samples[inner], truth.condition[inner]), context)
    assert found["precision"] == 1
    assert found["coverage"] is not None
    assert found["coverage"] < 0.6  # of truth: more than .85
    swapped = values(Arm("swapped", truth.samples, 1 - truth.condition), context)
    assert swapped["class accuracy"] == pytest.approx(1 - (values(truth, context)["class accuracy"] or 0))


def test_a_tie_of_classes_goes_to_the_nearest_row(tmp_path: Path) -> None:
    """Three classes along a line, whose five neighbours of 0 are of the classes c, a, a, c, b, nearest first."""
    line = [(0.1, "c"), (-0.2, "a"), (0.3, "a"), (-0.4, "c"), (0.5, "b")]
    far = [(40.0 + i, "abc"[i % 3]) for i in range(40)]
    path = tmp_path / "line.csv"
    path.write_text("x,y,k\n" + "".join(f"{x},{i},{k}\n" for i, (x, k) in enumerate(far)))
    task = Points(str(path), "k")
    rows = np.array([[x, 0.0] for x, _ in line])
    table = evolve(
        task.table,
        train=np.concatenate([rows, task.table.train]),
        train_labels=np.concatenate([["abc".index(k) for _, k in line], task.table.train_labels]),
        mean=np.zeros(2),
        std=np.ones(2),
    )
    asked = Context(cast(Task, SimpleNamespace(table=table)), {}, SAMPLER)
    (accuracy,) = (metric for metric in task.metrics() if metric.name == "class accuracy")
    for label, expected in enumerate([0.0, 0.0, 1.0]):
        asked.cache.clear()
        assert accuracy.measure(Arm("guided", torch.zeros(1, 2), torch.tensor([label])), asked) == expected


def test_without_classes_there_is_no_accuracy(cloud: Path, rings: Path) -> None:
    _, context, truth = prepared(cloud)
    assert values(truth, context)["class accuracy"] is None
    _, context, truth = prepared(rings, "ring")
    assert values(evolve(truth, condition=None, name="guided"), context)["class accuracy"] is None


@pytest.mark.parametrize("count", [1, 2, 30])
@pytest.mark.parametrize("fill", [0.0, 1e6, None])
def test_every_metric_is_finite_on_degenerate_samples(count: int, fill: float | None, rings: Path) -> None:
    _, context, _ = prepared(rings, "ring")
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(count, 2, generator=generator) if fill is None else torch.full((count, 2), fill)
    for name, value in values(Arm("guided", rows, torch.zeros(count, dtype=torch.int64)), context).items():
        assert value is None or math.isfinite(value), name


def test_the_figure_of_two_and_of_more_columns(rings: Path, cloud: Path, tmp_path: Path) -> None:
    for number, (path, label) in enumerate([(rings, "ring"), (cloud, None)]):
        task, _, truth = prepared(path, label)
        file = tmp_path / f"{number}.png"
        task.figure([truth, evolve(truth, name="unguided"), Arm("guided", truth.samples + 1e4)], file)
        assert file.read_bytes().startswith(b"\x89PNG")


def test_the_figure_of_many_classes(tmp_path: Path) -> None:
    random = np.random.RandomState(0)
    np.save(tmp_path / "a.npy", np.column_stack([random.randn(240, 3), np.arange(240) % 12]))
    task = Points(str(tmp_path / "a.npy"), label=4)
    task.figure(task.truth(48, SAMPLER, 0), tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 10_000
