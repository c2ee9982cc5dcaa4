"""The task keeps its laws: examples decided by seed and step, mirrors by number, latents drawn anew, a fair split."""

import shutil
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
import torch

from guideplug import Arm, Registry, TrainingStreams, run
from guideplug.config import Reader, short, write
from guideplug.store.identity import describe, identity
from guideplug.task import Task, seeded_build
from guideplug.testing import check_task
from guideplug_images import ImageError, Images, ImagesUNet


@pytest.fixture
def place(writers: Any, pixels: Any, labels: Any, tmp_path: Path) -> str:
    return str(writers["zip"](tmp_path, pixels, labels))


@pytest.fixture
def latents(tmp_path: Path) -> str:
    """24 latents of 2 channels of 4 x 4, whose channels differ in mean and spread; the deviation is 3."""
    random = np.random.default_rng(0)
    (tmp_path / "latents").mkdir()
    for number in range(24):
        mean = random.normal(size=(2, 4, 4)) * np.array([1, 4])[:, None, None] + np.array([5, -1])[:, None, None]
        np.save(
            tmp_path / "latents" / f"{number}.npy", np.concatenate([mean, np.full((2, 4, 4), 3.0)]).astype(np.float32)
        )
    return str(tmp_path / "latents")


@pytest.mark.parametrize("options", [{}, {"flip": True, "size": 6}, {"label": None, "channels": 3}])
def test_the_laws_of_tasks(options: dict[str, Any], place: str) -> None:
    check_task(Images(place, **options))


def test_the_laws_of_tasks_for_latents(latents: str) -> None:
    check_task(Images(latents))


def test_its_option_size_is_read_written_and_replaced(place: str) -> None:
    reader = Reader(Registry.installed())
    task = reader.expression(f"images('{place}', size=16, flip=true)", Task)
    assert task == Images(place, size=16, flip=True)
    assert reader.read(write(task), Task, "task") == task
    assert "size=16" in short(task)
    assert "side" not in short(task)
    assert reader.replaced(task, "size", 8, "task") == Images(place, size=8, flip=True)
    with pytest.raises(ValueError, match="size is 0"):
        Images(place, size=0)
    assert attrs.evolve(task, size=4).side == 4


def test_parts_share_no_image_and_each_class_is_held_out(place: str) -> None:
    data = Images(place, heldout=0.3).data
    assert sorted([*data.train, *data.heldout]) == list(range(40))
    held_out = data.labels_of(data.heldout)
    assert held_out is not None
    assert held_out.bincount().tolist() == [3, 3, 3, 3]
    assert set(data.second()) <= set(data.train)
    assert len(data.second()) == len(data.heldout)


def test_a_class_of_one_image_is_trained_on(writers: Any, pixels: Any, tmp_path: Path) -> None:
    task = Images(str(writers["zip"](tmp_path, pixels, [0] * 20 + [1] + [2] * 19)))
    assert 20 in task.data.train
    assert task.num_labels == 3


def test_mirrored_images_have_numbers_of_their_own(place: str) -> None:
    plain, flipped = Images(place), Images(place, flip=True)
    count = plain.size()
    assert count is not None
    assert flipped.size() == 2 * count
    images, labels = plain.items(torch.arange(count))
    both, both_labels = flipped.items(torch.arange(2 * count))
    assert torch.equal(both[:count], images)
    assert torch.equal(both[count:], images.flip(3))
    assert torch.equal(torch.as_tensor(both_labels), torch.as_tensor(labels).repeat(2))
    assert plain.fingerprint() == flipped.fingerprint()


def test_examples_are_decided_by_seed_and_step(place: str) -> None:
    first, second = Images(place, flip=True), Images(place, flip=True)  # as in two processes
    sigma = torch.full((16,), 0.5)
    for step in (0, 7):
        ours, theirs = (task.draw(sigma, TrainingStreams(3, step)) for task in (first, second))
        assert torch.equal(ours.x, theirs.x)
        assert torch.equal(torch.as_tensor(ours.condition), torch.as_tensor(theirs.condition))
        first.draw(sigma, TrainingStreams(4, 1))  # what was drawn before decides nothing
    assert not torch.equal(first.draw(sigma, TrainingStreams(4, 7)).x, ours.x)


def test_latents_are_drawn_anew_and_of_one_scale(latents: str) -> None:
    task = Images(latents)
    assert task.space.shape == (2, 4, 4)
    assert task.space.sigma_data == 0.5
    assert task.size() is None
    with pytest.raises(NotImplementedError):
        task.items(torch.arange(2))
    draws = torch.cat([task.draw(torch.ones(64), TrainingStreams(0, step)).target for step in range(60)])
    assert draws.mean((0, 2, 3)).abs().max() < 0.02
    assert (draws.std((0, 2, 3)) - 0.5).abs().max() < 0.01
    same = torch.zeros(4096, dtype=torch.int64)
    redrawn = task.data.examples(same, torch.device("cpu"), TrainingStreams(0, 0))
    assert redrawn.std(0) == pytest.approx(3 * np.repeat(task.data.scale, 16).reshape(2, 4, 4), rel=0.1)
    assert Images(latents, sigma_data=1.0).space.sigma_data == 1.0


REFERENCE = np.array(
    [
        [0.11990407109260559, 0.10822510719299316, 0.13477088510990143, 0.15243902802467346],
        [-0.6966426372528076, -0.3517315983772278, -0.016172505915164948, 0.32774391770362854],
    ],
    np.float32,
)
"""Scale and bias as a published snapshot of EDM2's latent networks holds them."""


def test_latents_are_scaled_by_the_constants_of_edm2(latents: str, place: str, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    (tmp_path / "four").mkdir()
    for number in range(24):
        np.save(tmp_path / "four" / f"{number}.npy", random.random((8, 2, 2), np.float32))
    own, measured = Images(str(tmp_path / "four"), latent_scaling="edm2"), Images(str(tmp_path / "four"))
    data = own.data
    assert np.array_equal(np.array([data.scale, data.bias], np.float32), REFERENCE)
    raw = torch.from_numpy(data.prepared.pixels[data.heldout, :4].copy())
    scale, bias = torch.from_numpy(REFERENCE)[:, :, None, None]
    assert torch.equal(data.images(data.heldout), raw * scale + bias)
    assert own.space.sigma_data == 0.5
    mains = [main for task in (own, measured) if (main := task.recipe("main", None))]
    assert identity(mains[0]) != identity(mains[1])
    assert describe(mains[0])["recipe"]["task"]["latent_scaling"] == "edm2"
    assert "latent_scaling" not in describe(mains[1])["recipe"]["task"]
    for where, what in ((latents, "latents of 2 channels"), (place, "images")):
        with pytest.raises(ImageError, match=f"holds {what}: latent_scaling=edm2 is for latents of 4 channels"):
            _ = Images(where, latent_scaling="edm2").data


def test_a_moved_data_set_trains_the_same_networks(place: str, tmp_path: Path) -> None:
    shutil.copy(place, tmp_path / "moved.zip")
    moved = Images(str(tmp_path / "moved.zip"))
    assert moved.fingerprint() == Images(place).fingerprint()
    identities = [identity(main) for task in (moved, Images(place)) if (main := task.recipe("main", None))]
    assert identities[0] == identities[1]
    (main,) = [Images(place, flip=True).recipe("main", None)]
    assert main is not None
    assert identity(main) != identities[0]


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_figures_show_images_and_latents(channels: int, place: str, tmp_path: Path) -> None:
    task = Images(place)
    samples = torch.randn(9, channels, 8, 8)
    task.figure([Arm("truth", samples, torch.arange(9) % 4), Arm("a", samples)], tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_the_network_refuses_sides_that_it_cannot_halve(place: str) -> None:
    task = Images(place, size=6)
    with pytest.raises(ValueError, match="halves images 2 times, which 6 x 6 pixels do not allow"):
        ImagesUNet(levels=3).build(task)
    assert seeded_build(ImagesUNet(width=8, levels=2), task, 0).num_labels == 4
    with pytest.raises(ValueError, match="multiple of 8"):
        ImagesUNet(width=12)


def test_a_run_from_a_folder_to_a_figure(place: str, tmp_path: Path) -> None:
    task = Images(place)
    result = run(
        "cfg(weight=2)", task=task, denoiser=ImagesUNet(width=8, levels=2), duration="5it", samples=8,
        sampler="heun(num_steps=3)", out=tmp_path / "run",
    )  # fmt: skip
    assert (tmp_path / "run" / "figures" / "images.png").is_file()
    assert set(result.metrics["arms"]) >= {"truth", "unguided", "guided"}


@pytest.mark.parametrize("network", ["edm2", "edm"])
def test_published_architectures_train_on_it(network: str, place: str, tmp_path: Path) -> None:
    registry = Registry.installed()
    kind = registry.find("denoiser", network)
    assert isinstance(kind, type)
    small = kind(**kind.example(tmp_path))  # type: ignore[arg-type]
    run(None, task=Images(place), denoiser=small, duration="2it", samples=4, sampler="heun(num_steps=2)",
        out=tmp_path / "run")  # fmt: skip
