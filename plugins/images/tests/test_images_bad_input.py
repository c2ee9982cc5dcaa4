"""What cannot be used is refused in one line that names it, and nothing of it is kept."""

import gzip
import io
import json
import re
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from guideplug_images import ImageError, Images
from guideplug_images.datasets import CALL

OF_FILES = ["zip", "unpacked"]


def refusal(task: Images) -> str:
    with pytest.raises(ImageError) as caught:
        _ = task.data
    message = str(caught.value)
    assert "\n" not in message
    return message


def prepared_in(store: Path) -> list[str]:
    return sorted(path.name for path in (store / "data").glob("*") if path.suffix != ".lock")


def deep_png() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((8, 8), 60_000, np.uint16)).save(buffer, "PNG")
    return buffer.getvalue()


def deep_colour() -> bytes:
    """A PNG of 16 bits per channel in colour, which Pillow opens as if it had 8."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    rows = zlib.compress(b"".join(b"\0" + bytes(8 * 6) for _ in range(8)))
    head = struct.pack(">IIBBBBB", 8, 8, 16, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def huge_png() -> bytes:
    buffer = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(buffer, "PNG")
    return buffer.getvalue()


def frames() -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (8, 8)).save(buffer, "GIF", save_all=True, append_images=[Image.new("L", (8, 8), 255)])
    return buffer.getvalue()


def other_size() -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (9, 8)).save(buffer, "PNG")
    return buffer.getvalue()


BROKEN: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty": (lambda data: b"", "no image that Pillow reads"),
    "torn": (lambda data: data[: len(data) // 2], "damaged"),
    "text": (lambda data: b"not found", "no image that Pillow reads"),
    "16 bits, grey": (lambda data: deep_png(), "16 bits per channel: save it with 8"),
    "16 bits, colour": (lambda data: deep_colour(), "16 bits per channel: save it with 8"),
    "huge": (lambda data: huge_png(), "pixels"),
    "frames": (lambda data: frames(), "2 frames"),
    "another size": (lambda data: other_size(), r"several sizes: .* give size="),
}


@pytest.mark.parametrize("name", OF_FILES)
@pytest.mark.parametrize("fault", BROKEN)
def test_an_image_that_cannot_be_used_is_named_and_nothing_is_kept(
    fault: str,
    name: str,
    edm2_files: Any,
    zipped: Any,
    unpacked: Any,
    pixels: Any,
    labels: Any,
    tmp_path: Path,
    store: Path,
) -> None:
    files, wrong = edm2_files(pixels, labels), "00000/img00000017.png"
    change, says = BROKEN[fault]
    files[wrong] = change(files[wrong])
    place = zipped(tmp_path / "a.zip", files) if name == "zip" else unpacked(tmp_path / "a", files)
    message = refusal(Images(str(place)))
    assert wrong in message
    assert re.search(says, message), message
    assert not prepared_in(store)
    unpacked(tmp_path / "b", edm2_files(pixels, labels))
    assert Images(str(tmp_path / "b")).data.size == 36  # mended, it is used


def sheet(change: Callable[[list[Any]], object]) -> Callable[[dict[str, bytes]], dict[str, bytes]]:
    def changed(files: dict[str, bytes]) -> dict[str, bytes]:
        pairs = json.loads(files["dataset.json"])["labels"]
        return {**files, "dataset.json": json.dumps({"labels": change(pairs)}).encode()}

    return changed


SHEETS: dict[str, tuple[Callable[[dict[str, bytes]], dict[str, bytes]], str]] = {
    "a label is missing": (sheet(lambda pairs: pairs[:-2]), r"no label for 00000/img00000038.png \(and 1 more\)"),
    "a label too many": (sheet(lambda pairs: [*pairs, ["x.png", 1]]), "label for 'x.png', and there is no such image"),
    "twice": (sheet(lambda pairs: [*pairs, pairs[0]]), "names a file twice"),
    "from 1": (sheet(lambda pairs: [[name, value + 1] for name, value in pairs]), "begin at 1: subtract 1"),
    "below 0": (sheet(lambda pairs: [[name, value - 1] for name, value in pairs]), "the label -1: labels begin at 0"),
    "texts": (sheet(lambda pairs: [[name, str(value)] for name, value in pairs]), "'0': give whole numbers"),
    "fractions": (sheet(lambda pairs: [[name, value / 2] for name, value in pairs]), "0.0.*give whole numbers"),
    "too many classes": (sheet(lambda pairs: [*pairs[:-1], [pairs[-1][0], 10**6]]), "beyond the 10,000 classes"),
    "beyond 64 bits": (sheet(lambda pairs: [*pairs[:-1], [pairs[-1][0], 10**30]]), "at most 64 bits"),
    "below 64 bits": (sheet(lambda pairs: [*pairs[:-1], [pairs[-1][0], -(10**30)]]), "at most 64 bits"),
    "names only": (sheet(lambda pairs: [name for name, _ in pairs]), "has another form"),
    "a table": (sheet(dict), "has another form"),
    "another JSON": (lambda files: {**files, "dataset.json": b"[1, 2]"}, "has another form"),
    "no JSON": (lambda files: {**files, "dataset.json": b"{"}, "dataset.json"),
    "deep JSON": (lambda files: {**files, "dataset.json": b"[" * 10**5}, "nested more than"),
    "no images": (lambda files: {"dataset.json": files["dataset.json"]}, "has no images"),
    "latents among images": (lambda files: {**files, "a.npy": b""}, "make two data sets"),
}  # fmt: skip


@pytest.mark.parametrize("name", OF_FILES)
@pytest.mark.parametrize("fault", SHEETS)
def test_labels_that_do_not_fit(
    fault: str,
    name: str,
    edm2_files: Any,
    zipped: Any,
    unpacked: Any,
    pixels: Any,
    labels: Any,
    tmp_path: Path,
    store: Path,
) -> None:
    change, says = SHEETS[fault]
    files = change(edm2_files(pixels, labels))
    place = zipped(tmp_path / "a.zip", files) if name == "zip" else unpacked(tmp_path / "a", files)
    message = refusal(Images(str(place)))
    assert re.search(says, message), message
    assert not prepared_in(store)


@pytest.mark.parametrize("name", ["../out.png", "/tmp/out.png", "a/../../out.png", "C:/out.png"])
def test_names_that_lead_out_of_a_zip(name: str, edm2_files: Any, zipped: Any, pixels: Any, tmp_path: Path) -> None:
    files = edm2_files(pixels, None)
    files[name] = files["00000/img00000000.png"]
    assert "leads out of it" in refusal(Images(str(zipped(tmp_path / "a.zip", files))))


def test_a_link_that_leads_out_of_a_folder(edm2_files: Any, unpacked: Any, pixels: Any, tmp_path: Path) -> None:
    unpacked(tmp_path / "a", edm2_files(pixels, None))
    Image.new("L", (8, 8)).save(tmp_path / "secret.png")
    (tmp_path / "a" / "00000" / "z.png").symlink_to(tmp_path / "secret.png")
    assert "leads out" in refusal(Images(str(tmp_path / "a")))


def test_zips_that_inflate_without_bounds_or_are_torn(
    edm2_files: Any, zipped: Any, pixels: Any, tmp_path: Path
) -> None:
    files = edm2_files(pixels, None)
    bomb = zipped(tmp_path / "bomb.zip", {**files, "a.png": bytes(80 * 1024**2)}, zipfile.ZIP_DEFLATED)
    assert "inflates to" in refusal(Images(str(bomb)))
    whole = zipped(tmp_path / "whole.zip", files).read_bytes()
    (tmp_path / "torn.zip").write_bytes(whole[:-200])
    assert "no whole zip" in refusal(Images(str(tmp_path / "torn.zip")))
    middle = whole.index(b"IDAT") + 20
    (tmp_path / "changed.zip").write_bytes(whole[:middle] + b"xxxx" + whole[middle + 4 :])
    assert "img00000000.png: it is damaged" in refusal(Images(str(tmp_path / "changed.zip")))


ARRAYS: dict[str, tuple[Callable[[Any, Any], dict[str, Any]], str]] = {
    "floats to 255": (lambda x, y: {"images": x.astype(np.float32), "labels": y}, "float32, from 0 to 255: save"),
    "floats to 1": (lambda x, y: {"images": x / 255}, "float64, from 0 to 1: save them as uint8"),
    "16 bits": (lambda x, y: {"images": x.astype(np.uint16) * 257}, "uint16, from 0 to 65535: save"),
    "too few labels": (lambda x, y: {"images": x, "labels": y[:-1]}, "39 labels for 40 images"),
    "labels of 64 bits": (lambda x, y: {"images": x, "labels": y.astype(np.uint64) + 2**63}, "labels begin at 9"),
    "labels from 1": (lambda x, y: {"images": x, "labels": y + 1}, "begin at 1: subtract 1"),
    "labels as numbers": (lambda x, y: {"images": x, "labels": y / 1}, "type float64: give whole numbers"),
    "rows": (lambda x, y: {"images": x.reshape(40, 64)}, r"images \(40, 64\): call the one of images"),
    "two channels": (lambda x, y: {"images": np.concatenate([x, x], 3)}, r"shape \(40, 8, 8, 2\)"),
    "two of images": (lambda x, y: {"a": x, "b": x}, "call the one of images 'images'"),
    "none": (lambda x, y: {"labels": y}, "call the one of images 'images'"),
    "too few images": (lambda x, y: {"images": x[:19]}, "has 19 images: at least 20"),
    "all equal": (lambda x, y: {"images": 0 * x}, "all values of the training images are equal"),
    "a class per image": (lambda x, y: {"images": x, "labels": np.arange(40)}, "one image per class"),
}  # fmt: skip


@pytest.mark.parametrize("fault", ARRAYS)
def test_arrays_that_do_not_fit(fault: str, pixels: Any, labels: Any, tmp_path: Path) -> None:
    make, says = ARRAYS[fault]
    pixels[0, 0, 0], pixels[0, 0, 1] = 0, 255
    np.savez(tmp_path / "a.npz", **make(pixels, np.array(labels)))
    message = refusal(Images(str(tmp_path / "a.npz")))
    assert re.search(says, message), message


IDX: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "torn": (lambda data: data[:-1], "2,560 values, and it has 2,559"),
    "longer": (lambda data: data + b"0", "2,560 values, and it has more"),
    "labels": (lambda data: b"\0\0\x08\x01" + data[4:], "begins with 00 00 08 01"),
    "floats": (lambda data: b"\0\0\x0d\x03" + data[4:], "begins with 00 00 0d 03"),
    "a promise": (lambda data: data[:4] + b"\xff" * 12 + data[16:], "values are read"),
    "empty": (lambda data: b"", "begins with "),
}


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("fault", IDX)
def test_idx_files_that_do_not_fit(fault: str, suffix: str, writers: Any, pixels: Any, tmp_path: Path) -> None:
    change, says = IDX[fault]
    data = change(writers["idx"](tmp_path, pixels, None).read_bytes())
    path = tmp_path / f"a-images-idx3-ubyte{suffix}"
    path.write_bytes(gzip.compress(data) if suffix else data)
    assert says in refusal(Images(str(path)))


@pytest.mark.parametrize(
    ("place", "says"),
    [
        ("python(./no.py:dataset)", "no such file"),
        ("torchvision(MNIST)", "write torchvision\\(NAME, root=FOLDER\\)"),
        ("torchvision(Nothing, root=here)", "no data set 'Nothing'"),
        ("torchvision(MNIST, root=./nowhere)", "Dataset not found"),
        ("torchvision(MNIST, root=./nowhere, nothing=1)", "TypeError"),
        ("./nothing", "does not exist"),
        ("./thing.txt", "give one of these"),
    ],
)
def test_places_that_do_not_exist(place: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if place.startswith("torchvision"):
        pytest.importorskip("torchvision")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "thing.txt").touch()
    with pytest.raises(Exception, match=says) as caught:
        _ = Images(place).data
    assert "\n" not in str(caught.value)
    assert bool(CALL.match(Images(place).path)) == place.startswith(("python", "torchvision"))


def test_what_a_data_set_raises_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "data.py").write_text(
        "def dataset():\n    return [1 / (40 - i) if i == 39 else None for i in range(40)]\n"
    )
    assert "item 0: TypeError: an image is a NoneType" in refusal(Images(f'python("{tmp_path}/data.py:dataset")'))
    (tmp_path / "two.py").write_text("def dataset():\n    raise OSError('gone')\n")
    assert "OSError: gone" in refusal(Images(f'python("{tmp_path}/two.py:dataset")'))


def test_latents_take_no_size_and_no_mirror(tmp_path: Path) -> None:
    for number in range(20):
        np.save(tmp_path / f"{number}.npy", np.ones((4, 2, 2), np.float32) * number)
    assert "latents" in refusal(Images(str(tmp_path), size=8))
    assert "leave flip out" in refusal(Images(str(tmp_path), flip=True))
    np.save(tmp_path / "3.npy", np.full((4, 2, 2), np.nan, np.float32))
    assert "3.npy: its numbers are not finite" in refusal(Images(str(tmp_path)))
    np.save(tmp_path / "3.npy", np.ones((3, 2, 2), np.float32))
    assert "3.npy: it is float32 of shape (3, 2, 2)" in refusal(Images(str(tmp_path)))
