"""The animation: where its points come from, and what the file is."""

from pathlib import Path
from typing import final

import attrs
import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence
from torch import Tensor

from guideplug import Arm, Condition, Leaf, Sampler
from guideplug_edm import Euler, Heun
from guideplug_tree import Tree
from guideplug_tree.animation import FOOTER, HEADER, MAX_FRAMES, walk
from guideplug_tree.denoisers import SPACE
from guideplug_tree.figure import window

torch.set_num_threads(1)

SEED = 3


@final
class Constant(Leaf):
    """Whose samples all end at one point."""

    def __init__(self, point: Tensor) -> None:
        super().__init__(SPACE)
        self.point = point

    def denoise(self, x: Tensor, sigma: Tensor, condition: Condition) -> Tensor:
        return self.point.expand_as(x)


def exact(task: Tree, sampler: Sampler, count: int) -> Arm:
    return task.truth(count, sampler, SEED)[1]


def frames(path: Path) -> list[Image.Image]:
    with Image.open(path) as file:
        return [frame.convert("RGB") for frame in ImageSequence.Iterator(file)]


def durations(path: Path) -> list[int]:
    with Image.open(path) as file:
        assert file.format == "GIF"
        assert file.info["loop"] == 0
        return [frame.info["duration"] for frame in ImageSequence.Iterator(file)]


def test_the_walk_is_the_sampling_of_the_arm() -> None:
    task, sampler = Tree("both", labels=True), Heun(num_steps=4, churn=2.0)
    arm = exact(task, sampler, 40)
    assert arm.start is not None
    sigmas, points = walk(arm, sampler, SEED, 30)
    assert sigmas == sampler.sigmas(task.exact())
    assert points.shape == (5, 30, 2)
    assert torch.equal(points[0], arm.start[:30])
    assert torch.allclose(points[-1], arm.samples[:30], atol=1e-4)


def test_it_begins_with_its_last_frame_which_is_held(tmp_path: Path) -> None:
    task, sampler, path = Tree(), Euler(num_steps=4), tmp_path / "tree.gif"
    arm = exact(task, sampler, 64)
    assert task.animate([arm, attrs.evolve(arm, name="guided", title="guided: " + "x" * 200)], sampler, SEED, path)
    held = durations(path)
    assert len(held) == 5
    assert held[0] >= 2000
    assert max(held[2:]) < held[1]
    last, first, *_ = frames(path)
    assert first.width > 1.3 * first.height  # two panels
    assert first.tobytes() != last.tobytes()


def test_many_steps_are_thinned(tmp_path: Path) -> None:
    task, sampler, path = Tree(), Euler(num_steps=2 * MAX_FRAMES), tmp_path / "tree.gif"
    task.animate([exact(task, sampler, 4)], sampler, SEED, path)
    assert 0.9 * MAX_FRAMES <= len(durations(path)) <= MAX_FRAMES


def coloured(frame: Image.Image) -> tuple[int, int]:
    """How many pixels of the panels are blue, and how many red."""
    panel = np.asarray(frame.crop((0, HEADER, frame.width, frame.height - FOOTER))).astype(int)
    bluer = panel[..., 2] - panel[..., 0]
    return int((bluer > 50).sum()), int((bluer < -50).sum())


@pytest.mark.parametrize("hits", [True, False])
def test_points_have_the_colour_of_where_they_are(hits: bool, tmp_path: Path) -> None:
    task, sampler, path = Tree(), Euler(num_steps=2), tmp_path / "tree.gif"
    low, high = window(task.mixture)
    end = task.mixture.component_means[3] if hits else low + 0.1 * (high - low)
    start = exact(task, sampler, 50).start
    assert start is not None
    task.animate([Arm("guided", start, None, start, Constant(end))], sampler, SEED, path)
    last, first, *_ = map(coloured, frames(path))
    assert first[1] > 4 * first[0]  # noise is outside, wherever it ends
    blue, red = last
    assert (blue > 4 and red == 0) if hits else (red > 4 and blue == 0)
