"""True samples: how many a task has, and how many its metrics need, known before anything is drawn."""

from pathlib import Path
from typing import Any, final

import numpy as np
import pytest
import torch
from attrs import evolve, frozen
from click.testing import CliRunner

from guideplug import Context, Metric, Registry, Task
from guideplug.cli.main import main
from guideplug.config import Reader
from guideplug.denoise import select_rows
from guideplug.errors import ConfigError
from guideplug.run.measure import metrics_of
from guideplug.run.task_answers import check_true_samples
from guideplug.testing.toys import Straight

torch.set_num_threads(1)

REGISTRY = Registry.installed()
READER = Reader(REGISTRY)
FINITE = ("digits", "images", "points")
"""Tasks whose true samples are held-out ones."""


def task_of(name: str, folder: Path) -> Task:
    task: Any = REGISTRY.find("task", name)
    return task(**task.example(folder))  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", FINITE)
def test_a_task_has_as_many_true_samples_as_it_says(name: str, tmp_path: Path) -> None:
    task = task_of(name, tmp_path)
    count = task.num_true()
    assert count is not None
    assert len(task.truth(count + 10, Straight(), 0)[0].samples) == count
    check_true_samples(task, metrics_of(task, REGISTRY))


@pytest.mark.parametrize("name", FINITE)
def test_metrics_have_a_value_of_as_few_samples_as_they_say(name: str, tmp_path: Path) -> None:
    task = task_of(name, tmp_path)
    (truth,) = task.truth(40, Straight(), 0)
    for metric in metrics_of(task, REGISTRY):
        count, values = metric.fewest, []
        for number in (count - 1, count):
            arm = evolve(truth, name="few", samples=truth.samples[:number])
            arm = evolve(arm, condition=select_rows(truth.condition, slice(number)))
            values.append(metric.measure(arm, Context(task, {"truth": truth}, Straight(), 0)) if number else None)
        assert (values[0] is None, values[1] is not None) == (True, True), metric.name


@final
@frozen
class Demanding(Metric):
    """A metric that needs many samples."""

    name = "precision"
    better, aspect, formula, fewest = "higher", "fidelity", "none", 1000

    def measure(self, arm: Any, context: Context) -> float | None:
        return None


def test_a_primary_metric_that_needs_more_is_named(tmp_path: Path) -> None:
    task = task_of("images", tmp_path)
    with pytest.raises(ConfigError, match=r"has \d+ true samples to measure with, and metric 'precision' needs 1000"):
        check_true_samples(task, [Demanding()])
    check_true_samples(READER.expression("gaussian", Task), [Demanding()])


@pytest.mark.parametrize("samples", [(), ("--samples", "50")])
def test_one_image_held_out_is_refused_before_anything_is_trained(tmp_path: Path, samples: tuple[str, ...]) -> None:
    images = np.random.RandomState(0).randint(0, 256, (20, 8, 8, 1)).astype(np.uint8)
    np.savez(tmp_path / "few.npz", images=images)
    task = f"images('{tmp_path / 'few.npz'}', heldout=0.05)"
    out = tmp_path / "out"
    failed = CliRunner().invoke(main, ["run", "--task", task, "--device", "cpu", *samples, "--out", str(out)])
    assert failed.exit_code == 2
    assert "has 1 true sample to measure with, and metric 'precision' needs 2 at least" in failed.stderr
    assert failed.stderr.count("\n") == 1
    assert not out.exists()
