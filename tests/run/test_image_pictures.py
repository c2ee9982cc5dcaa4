"""Pictures of images: the nearest training example of each sample, and its distance."""

from pathlib import Path

import pytest
import torch

from guideplug import Arm
from guideplug.run.image_pictures import BLOCK, draw_nearest, draw_pairs, nearest_examples
from guideplug_digits import Digits


def test_the_nearest_example_is_that_of_the_plain_search() -> None:
    task, count = Digits(), 500
    samples = torch.randn(20, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    examples = task.items(torch.arange(count))[0]
    samples[3] = examples[123]
    distances, numbers = nearest_examples(task, samples, count)
    plain = (samples.double()[:, None] - examples.double()[None]).flatten(2).norm(dim=2)
    assert torch.allclose(distances, plain.min(1).values, rtol=1e-12)
    assert torch.equal(numbers, plain.argmin(1))
    assert distances[3] == 0
    assert count < BLOCK


def test_blocks_are_searched_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    from guideplug.run import image_pictures

    samples = torch.randn(5, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    whole = nearest_examples(Digits(), samples, 300)
    monkeypatch.setattr(image_pictures, "BLOCK", 37)
    parts = nearest_examples(Digits(), samples, 300)
    assert torch.equal(whole[1], parts[1])
    assert torch.equal(whole[0], parts[0])


def test_both_pictures_are_drawn(tmp_path: Path) -> None:
    task = Digits()
    real = task.items(torch.arange(30))[0]
    arms = [Arm("unguided", real), Arm("guided", real.flip(0), title="guided: cfg(weight=2)")]
    draw_pairs(task, *arms, tmp_path / "pairs.png")
    assert draw_nearest(task, arms[1], tmp_path / "nearest.png")
    assert not draw_nearest(task, Arm("guided", real[:1]), tmp_path / "one.png")
    assert all((tmp_path / name).stat().st_size > 1000 for name in ("pairs.png", "nearest.png"))
