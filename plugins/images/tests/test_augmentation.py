"""Augmentation is decided by seed, step and place in the batch, changes what is learned, and refuses in one line."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from guideplug import TrainingStreams
from guideplug.store.identity import identity
from guideplug.testing import check_task
from guideplug_images import ImageError, Images

NOISE = """
import random
import numpy as np
import torch

def noise(image):
    return (torch.rand(image.shape) * 50 + np.random.rand() * 50 + random.random() * 50).byte() + image // 4

def torn(image):
    {}
"""


@pytest.fixture
def place(writers: Any, pixels: Any, labels: Any, tmp_path: Path) -> str:
    (tmp_path / "own.py").write_text(NOISE.format("return image"))
    return str(writers["npz"](tmp_path, pixels, labels))


def own(place: str, name: str = "noise") -> str:
    return f"{Path(place).with_name('own.py')}:{name}"


def drawn(task: Images, seed: int, step: int, count: int = 6) -> torch.Tensor:
    return task.draw(torch.full((count,), 0.5), TrainingStreams(seed, step)).target


def test_the_laws_of_tasks_for_augmented_images(place: str) -> None:
    check_task(Images(place, augment=own(place), flip=True))


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**40), step=st.integers(0, 10**9), before=st.integers(0, 2**32 - 1))
def test_examples_are_decided_by_seed_and_step_alone(seed: int, step: int, before: int, place: str) -> None:
    task = Images(place, augment=own(place))
    first = drawn(task, seed, step)
    torch.manual_seed(before), np.random.seed(before), random.seed(before)  # noqa: NPY002
    states = torch.random.get_rng_state(), random.getstate()
    assert torch.equal(drawn(task, seed, step), first)
    assert torch.equal(torch.random.get_rng_state(), states[0])
    assert random.getstate() == states[1]
    assert not torch.equal(drawn(task, seed, step + 1), first)


def test_one_image_is_another_at_each_place(place: str) -> None:
    data = Images(place, augment=own(place)).data
    cpu, same = torch.device("cpu"), torch.zeros(5, dtype=torch.int64)
    views = data.examples(same, cpu, TrainingStreams(0, 0))
    assert len(views.unique(dim=0)) == 5
    assert len(data.examples(same, cpu).unique(dim=0)) == 1
    assert torch.equal(data.examples(same, cpu, TrainingStreams(0, 0, noise_for="reference")), views)
    assert torch.equal(data.images(data.heldout), Images(place).data.images(data.heldout))  # measured as they are


def test_a_function_is_part_of_the_identity_and_where_it_lies_is_not(place: str, tmp_path: Path) -> None:
    def of(augment: str | None) -> str:
        main = Images(place, augment=augment).recipe("main", None)
        assert main is not None
        return identity(main)

    (tmp_path / "copies").mkdir()
    (tmp_path / "copies" / "own.py").write_text(NOISE.format("return 2"))
    assert of(own(place)) == of(f"{tmp_path / 'copies' / 'own.py'}:noise")
    assert len({of(None), of(own(place)), of(own(place, "torn")), of(f"{tmp_path / 'copies' / 'own.py'}:torn")}) == 4


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("return image.float()", r"returned torch.float32 \(1, 8, 8\): return uint8 \(1, 8, 8\)"),
        ("return image[:, 1:]", r"returned torch.uint8 \(1, 7, 8\): return uint8 \(1, 8, 8\)"),
        ("return image.numpy()", "returned ndarray: return a tensor"),
        ("raise OSError('a\\nb')", r"raised OSError: a b, for an image uint8 \(1, 8, 8\)"),
    ],
)
def test_what_a_function_may_not_do(body: str, says: str, place: str, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(NOISE.format(body))
    with pytest.raises(ImageError, match=f"own.py:torn {says}"):
        drawn(Images(place, augment=own(place, "torn")), 0, 0)


def test_augmented_images_have_no_numbers(place: str, tmp_path: Path) -> None:
    task = Images(place, augment=own(place))
    assert task.size() is None
    with pytest.raises(NotImplementedError, match="augmented"):
        task.items(torch.arange(2))
    with pytest.raises(ValueError, match="augment is 'own'"):
        Images(place, augment="own")
    (tmp_path / "latents").mkdir()
    for number in range(20):
        np.save(tmp_path / "latents" / f"{number}.npy", np.full((4, 2, 2), number, np.float32))
    with pytest.raises(ImageError, match="augment is for images: leave it out"):
        _ = Images(str(tmp_path / "latents"), augment=own(place)).data


def test_transforms_of_torchvision(place: str, tmp_path: Path) -> None:
    pytest.importorskip("torchvision")
    (tmp_path / "shift.py").write_text(
        "from torchvision.transforms import v2\nshift = v2.Compose([v2.RandomCrop(8, padding=2)])\n"
    )
    task = Images(place, augment=f"{tmp_path / 'shift.py'}:shift")
    assert drawn(task, 0, 0).shape == (6, 1, 8, 8)
    assert torch.equal(drawn(task, 3, 4), drawn(Images(place, augment=f"{tmp_path / 'shift.py'}:shift"), 3, 4))
