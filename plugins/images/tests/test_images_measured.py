"""What images are measured by: the features that an option names, and a classifier trained on them once."""

from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
import torch

from guideplug import Arm, Context, GuideplugError, Registry, frechet_distance, run
from guideplug.config import Reader, short
from guideplug.store.identity import identity
from guideplug.task import Task
from guideplug_images import Images, classifier

Pixels = np.ndarray[Any, np.dtype[np.uint8]]


@pytest.fixture
def task(writers: Any, tmp_path: Path) -> Images:
    """80 noisy images of 8 x 8 pixels, of two classes: dark and bright."""
    random = np.random.default_rng(0)
    labels = [number % 2 for number in range(80)]
    pixels = random.integers(0, 128, (80, 8, 8, 1)) + 127 * np.array(labels)[:, None, None, None]
    return Images(str(writers["zip"](tmp_path, pixels.astype(np.uint8), labels)), heldout=0.5)


def values(task: Images) -> dict[str, float | None]:
    (arm,) = task.truth(task.samples(), None, 0)  # type: ignore[arg-type]
    samples = attrs.evolve(arm, name="unguided")
    context = Context(task, {"truth": arm}, None)  # type: ignore[arg-type]
    return {metric.name: metric.measure(samples, context) for metric in task.metrics()}


def with_features(task: Images, folder: Path, body: str) -> Images:
    (folder / "mine.py").write_text(f"def features(images):\n    assert images.shape[1] == 3\n    return {body}\n")
    text = f"{short(task)[:-1]}, features=python('{folder}/mine.py:features'))"
    return Reader(Registry.installed()).expression(text, Task)  # type: ignore[return-value]


def test_metrics_are_of_the_features(task: Images, tmp_path: Path) -> None:
    measured = with_features(task, tmp_path, "images[:, 0].flatten(1).float() / 255")
    data = task.data
    rows = (data.images(data.heldout) + 1).flatten(1).double() / 2
    assert values(measured)["Fréchet distance"] == pytest.approx(frechet_distance(rows, rows), abs=1e-6)
    shifted = with_features(task, tmp_path, "images.sum((2, 3)).float()")
    assert values(shifted)["precision"] == values(shifted)["coverage"] == 1
    bright = Arm("guided", torch.ones(40, 1, 8, 8))
    context = Context(shifted, {}, None)  # type: ignore[arg-type]
    assert {metric.name: metric.measure(bright, context) for metric in shifted.metrics()}["precision"] == 0


def test_what_measures_decides_no_network(task: Images, tmp_path: Path) -> None:
    measured = attrs.evolve(with_features(task, tmp_path, "images.sum((2, 3)).float()"), accuracy=True)
    recipes = [one.recipe("main", None) for one in (task, measured)]
    assert recipes[0] is not None
    assert recipes[1] is not None
    assert identity(recipes[0]) == identity(recipes[1])


def test_features_that_are_not_finite_are_named(task: Images, tmp_path: Path) -> None:
    broken = with_features(task, tmp_path, "images.sum((2, 3)).float() / 0 * 0")
    with pytest.raises(GuideplugError, match=r"features python\(.*not finite, first for image 0"):
        values(broken)


def test_classes_are_known_by_a_classifier_that_is_trained_once(task: Images, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classifier, "STEPS", 60)
    measured = attrs.evolve(task, accuracy=True)
    before = torch.get_rng_state()
    assert values(measured)["class accuracy"] == 1
    assert torch.equal(torch.get_rng_state(), before)
    monkeypatch.setattr(classifier, "_train", lambda *_: pytest.fail("trained again"))
    (arm,) = measured.truth(40, None, 0)  # type: ignore[arg-type]
    wrong = Arm("guided", arm.samples, 1 - arm.condition)  # type: ignore[operator]
    context = Context(measured, {}, None)  # type: ignore[arg-type]
    assert [metric.measure(wrong, context) for metric in measured.metrics()][-1] == 0


def test_classes_of_images_without_any_are_refused(task: Images) -> None:
    with pytest.raises(GuideplugError, match="accuracy=true measures the classes of samples, and these images have no"):
        attrs.evolve(task, label=None, accuracy=True).metrics()


def test_features_that_cannot_be_loaded_are_refused_before_anything_is_trained(task: Images, tmp_path: Path) -> None:
    broken = with_features(task, tmp_path, "images.sum((2, 3)).float()")
    (tmp_path / "mine.py").write_text("")
    with pytest.raises(GuideplugError, match="has no function 'features'"):
        run(task=broken, out=tmp_path / "run", samples=4)
    assert not list((tmp_path / "run").glob("denoisers/*"))
