"""Images written in every format that the task reads."""

import gzip
import io
import json
import struct
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

Pixels = np.ndarray[Any, np.dtype[np.uint8]]


def png(pixels: Pixels) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(buffer, "PNG")
    return buffer.getvalue()


def files(pixels: Pixels, labels: list[int] | None) -> dict[str, bytes]:
    """The files of EDM2's data set."""
    names = [f"00000/img{number:08d}.png" for number in range(len(pixels))]
    pairs = None if labels is None else [list(pair) for pair in zip(names, labels, strict=True)]
    return {**dict(zip(names, map(png, pixels), strict=True)), "dataset.json": json.dumps({"labels": pairs}).encode()}


def write_folder(place: Path, content: Mapping[str, bytes]) -> Path:
    for name, data in content.items():
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return place


def write_zip(place: Path, content: Mapping[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(place, "w", compression) as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return place


def idx(values: Pixels) -> bytes:
    return bytes([0, 0, 8, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape) + values.tobytes()


def as_zip(folder: Path, pixels: Pixels, labels: list[int] | None) -> Path:
    return write_zip(folder / "dataset.zip", files(pixels, labels))


def as_unpacked(folder: Path, pixels: Pixels, labels: list[int] | None) -> Path:
    return write_folder(folder / "unpacked", files(pixels, labels))


def as_classes(folder: Path, pixels: Pixels, labels: list[int] | None) -> Path:
    """A folder per class, or a flat one; names are in the order of the images."""
    places = ["" if labels is None else f"{label}/" for label in labels or [0] * len(pixels)]
    named = {
        f"{place}{number}.png": png(image) for number, (place, image) in enumerate(zip(places, pixels, strict=True))
    }
    return write_folder(folder / "classes", named)


def as_npz(folder: Path, pixels: Pixels, labels: list[int] | None) -> Path:
    arrays = {"images": pixels} | ({} if labels is None else {"labels": np.array(labels)})
    np.savez(folder / "arrays.npz", **arrays)
    return folder / "arrays.npz"


def as_idx(folder: Path, pixels: Pixels, labels: list[int] | None, suffix: str = "") -> Path:
    pack: Callable[[bytes], bytes] = gzip.compress if suffix else bytes
    path = folder / f"train-images-idx3-ubyte{suffix}"
    path.write_bytes(pack(idx(pixels[..., 0])))
    if labels is not None:
        (folder / f"train-labels-idx1-ubyte{suffix}").write_bytes(pack(idx(np.array(labels, np.uint8))))
    return path


def as_idx_gz(folder: Path, pixels: Pixels, labels: list[int] | None) -> Path:
    return as_idx(folder, pixels, labels, ".gz")


def as_python(folder: Path, pixels: Pixels, labels: list[int] | None) -> str:
    np.save(folder / "pixels.npy", pixels)
    (folder / "data.py").write_text(
        "import numpy as np\n"
        f"PIXELS, LABELS = np.load({str(folder / 'pixels.npy')!r}), {labels}\n"
        "def dataset():\n"
        "    return [image if LABELS is None else (image, LABELS[n]) for n, image in enumerate(PIXELS)]\n"
    )
    return f'python("{folder / "data.py"}:dataset")'


WRITERS = {
    "zip": as_zip, "unpacked": as_unpacked, "classes": as_classes, "npz": as_npz, "idx": as_idx, "idx.gz": as_idx_gz,
    "python": as_python,
}  # fmt: skip


@pytest.fixture(autouse=True)
def store(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("store")
    monkeypatch.setenv("GUIDEPLUG_STORE", str(folder))
    return folder


@pytest.fixture
def pixels() -> Pixels:
    """40 grey images of 8 x 8 pixels, sorted by class: four of ten."""
    return np.random.default_rng(0).integers(0, 256, (40, 8, 8, 1)).astype(np.uint8)


@pytest.fixture
def labels() -> list[int]:
    return [number // 10 for number in range(40)]


@pytest.fixture
def writers() -> Mapping[str, Callable[..., Path | str]]:
    return WRITERS


@pytest.fixture
def edm2_files() -> Callable[[Pixels, list[int] | None], dict[str, bytes]]:
    return files


@pytest.fixture
def zipped() -> Callable[..., Path]:
    return write_zip


@pytest.fixture
def unpacked() -> Callable[[Path, Mapping[str, bytes]], Path]:
    return write_folder
