"""Every format gives the same images, labels and fingerprint."""

import io
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from guideplug_images import Images
from guideplug_images.picture import decode, fit

FORMATS = ["zip", "unpacked", "classes", "npz", "idx", "idx.gz", "python"]


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_gives_its_images_and_labels(
    name: str, writers: Any, pixels: Any, labels: Any, tmp_path: Path
) -> None:
    task = Images(str(writers[name](tmp_path, pixels, labels)))
    prepared = task.data.prepared
    assert np.array_equal(prepared.pixels, pixels.transpose(0, 3, 1, 2))
    assert prepared.labels is not None
    assert prepared.labels.numbers.tolist() == labels
    assert prepared.labels.classes == ("0", "1", "2", "3")
    assert task.num_labels == 4
    assert task.space.shape == (1, 8, 8)
    scaled = (pixels[task.data.train] / 127.5 - 1).std()
    assert task.space.sigma_data == pytest.approx(scaled, rel=1e-3)
    images, classes = task.items(torch.arange(3))
    assert torch.equal(images, torch.from_numpy(prepared.pixels[task.data.train[:3]]).float() / 127.5 - 1)
    assert torch.equal(torch.as_tensor(classes), torch.tensor(labels)[task.data.train[:3]])


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_without_labels(name: str, writers: Any, pixels: Any, labels: Any, tmp_path: Path) -> None:
    task = Images(str(writers[name](tmp_path, pixels, None)))
    assert task.num_labels is None
    assert not task.groups()
    (tmp_path / "labelled").mkdir()
    labelled = writers[name](tmp_path / "labelled", pixels, labels)
    assert Images(str(labelled), label="none").fingerprint() == task.fingerprint()


def test_equal_images_have_one_fingerprint_in_all_formats(
    writers: Any, pixels: Any, labels: Any, tmp_path: Path
) -> None:
    prints = set()
    for name in FORMATS:
        (tmp_path / name).mkdir()
        prints.add(Images(str(writers[name](tmp_path / name, pixels, labels))).fingerprint())
    assert len(prints) == 1
    other = pixels.copy()
    other[7, 0, 0] ^= 1
    (tmp_path / "other").mkdir()
    assert Images(str(writers["zip"](tmp_path / "other", other, labels))).fingerprint() not in prints


def test_images_are_decoded_once(
    writers: Any, pixels: Any, labels: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(writers["zip"](tmp_path, pixels, labels))
    first = Images(path).fingerprint()
    monkeypatch.setattr("guideplug_images.files.decode", lambda data: pytest.fail("decoded again"))
    assert Images(path).fingerprint() == first
    with pytest.raises(pytest.fail.Exception):
        Images(path, size=4).fingerprint()


MODES = {
    "1": lambda: Image.new("1", (4, 4), 1),
    "L": lambda: Image.new("L", (4, 4), 100),
    "LA": lambda: Image.new("LA", (4, 4), (0, 0)),
    "P": lambda: Image.new("RGB", (4, 4), (250, 0, 0)).quantize(4),
    "RGB": lambda: Image.new("RGB", (4, 4), (1, 2, 3)),
    "RGBA": lambda: Image.new("RGBA", (4, 4), (0, 0, 0, 51)),
}
SEEN = {"1": [255], "L": [100], "LA": [255], "P": [250, 0, 0], "RGB": [1, 2, 3], "RGBA": [204, 204, 204]}


@pytest.mark.parametrize("mode", MODES)
def test_modes_become_grey_or_colour_on_white(mode: str) -> None:
    buffer = io.BytesIO()
    MODES[mode]().save(buffer, "PNG")
    pixels = decode(buffer.getvalue())
    assert pixels.shape == (4, 4, len(SEEN[mode]))
    assert (pixels == SEEN[mode]).all()


def test_images_are_cropped_at_the_centre_and_resized_without_aliasing() -> None:
    stripes = np.zeros((8, 24, 1), np.uint8)
    stripes[:, 8:16] = np.indices((8, 8)).sum(0)[..., None] % 2 * 255  # a checkerboard in the centre
    halved = fit(stripes, 4, 1)
    assert halved.shape == (1, 4, 4)
    assert np.abs(halved[:, 1:3, 1:3].astype(int) - 127).max() <= 8  # aliased, it is 0 or 255
    assert fit(stripes, 4, 3).shape == (3, 4, 4)
    colour = np.zeros((4, 4, 3), np.uint8) + np.array([255, 0, 0], np.uint8)
    assert (fit(colour, None, 1) == 76).all()


def test_names_are_ordered_by_their_numbers(writers: Any, tmp_path: Path) -> None:
    for number in range(30):
        Image.new("L", (2, 2), number).save(tmp_path / f"{number}.png")
    assert Images(str(tmp_path)).data.prepared.pixels[:, 0, 0, 0].tolist() == list(range(30))


def test_sizes_and_channels_are_made_equal(tmp_path: Path) -> None:
    for number in range(20):
        Image.new("RGB" if number == 11 else "L", (8 + number, 8)).save(tmp_path / f"{number}.png")
    Image.new("L", (30, 30), 9).save(tmp_path / "20.png")
    assert Images(str(tmp_path), size=8).space.shape == (3, 8, 8)
    assert Images(str(tmp_path), size=8, channels=1).space.shape == (1, 8, 8)


def test_the_reference_data_set_of_edm2(tmp_path: Path) -> None:
    """Folders of shards are no classes."""
    names = [f"{number % 2:05d}/img{number:08d}.png" for number in range(20)]
    for number, name in enumerate(names):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("L", (2, 2), number).save(tmp_path / name)
    assert Images(str(tmp_path)).num_labels is None
    assert Images(str(tmp_path), label="folders").num_labels == 2
    (tmp_path / "dataset.json").write_text(
        json.dumps({"labels": [[name, 3 * (n % 2)] for n, name in enumerate(names)]})
    )
    assert Images(str(tmp_path)).num_labels == 4


def test_a_data_set_augmented_at_random_keeps_one_fingerprint(tmp_path: Path) -> None:
    (tmp_path / "data.py").write_text(
        "import random, torch\nimport numpy as np\n"
        "class Random:\n"
        "    def __len__(self):\n        return 30\n"
        "    def __getitem__(self, index):\n"
        "        noise = torch.rand(1, 4, 4) * 60 + np.random.rand() * 60 + random.random() * 60\n"
        "        return noise.byte(), index % 3\n"
        "def dataset():\n    return Random()\n"
    )
    place = f'python("{tmp_path / "data.py"}:dataset")'
    first = Images(place).fingerprint()
    random.random(), np.random.rand(), torch.rand(1)  # noqa: NPY002
    before = torch.random.get_rng_state()
    assert Images(place).fingerprint() == first
    assert torch.equal(before, torch.random.get_rng_state())


def test_data_sets_of_torchvision(tmp_path: Path, pixels: Any, labels: Any, writers: Any) -> None:
    pytest.importorskip("torchvision")
    raw = tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    writers["idx"](raw, pixels, labels)
    writers["idx"](raw, pixels, labels).rename(raw / "t10k-images-idx3-ubyte")
    (raw / "train-labels-idx1-ubyte").rename(raw / "t10k-labels-idx1-ubyte")
    writers["idx"](raw, pixels, labels)
    task = Images(f"torchvision(FashionMNIST, root={tmp_path})")
    assert task.fingerprint() == Images(str(raw / "train-images-idx3-ubyte")).fingerprint()
