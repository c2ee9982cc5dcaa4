"""Small sets of images in the forms of published ones: random pixels, with as many classes as are given."""

import gzip
import io
import json
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

Pixels = np.ndarray[Any, np.dtype[np.uint8]]
COUNT = 60


def pixels(side: int, channels: int = 3) -> Pixels:
    return np.random.default_rng(0).integers(0, 256, (COUNT, side, side, channels)).astype(np.uint8)


def encoded(image: Pixels, form: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, form)
    return buffer.getvalue()


def zipped(path: Path, files: dict[str, bytes], classes: int | None) -> Path:
    """A data set of EDM or EDM2: an uncompressed zip with dataset.json."""
    labels = None if classes is None else [[name, number % classes] for number, name in enumerate(files)]
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
        archive.writestr("dataset.json", json.dumps({"labels": labels}))
    return path


def edm_zip(folder: Path, side: int, classes: int | None) -> Path:
    """Images as EDM's and EDM2's dataset_tool.py writes them."""
    files = {f"00000/img{number:08d}.png": encoded(image, "PNG") for number, image in enumerate(pixels(side))}
    return zipped(folder / "images.zip", files, classes)


def latents_zip(folder: Path, side: int, classes: int) -> Path:
    """Means and deviations of 4 channels, as EDM2's encoder writes them."""
    files = {}
    for number in range(COUNT):
        mean, deviation = np.random.default_rng(number).normal(size=(2, 4, side, side))
        buffer = io.BytesIO()
        np.save(buffer, np.concatenate([mean, np.abs(deviation)]).astype(np.float32))
        files[f"00000/img-mean-std-{number:08d}.npy"] = buffer.getvalue()
    return zipped(folder / "latents.zip", files, classes)


def tiny_imagenet(folder: Path, side: int, classes: int) -> Path:
    """Folders of classes as Tiny ImageNet has them: images in a folder below, beside a text; some of them grey."""
    for number, image in enumerate(pixels(side)):
        name = f"n{number % classes:08d}"
        place = folder / "train" / name / "images"
        place.mkdir(parents=True, exist_ok=True)
        grey = number % 7 == 0
        (place / f"{name}_{number}.JPEG").write_bytes(encoded(image[..., 0] if grey else image, "JPEG"))
        (place.parent / f"{name}_boxes.txt").write_text(f"{name}_{number}.JPEG\t0\t0\t62\t62\n")
    return folder / "train"


def faces(folder: Path, side: int, classes: int) -> Path:
    """A folder of upright JPEGs for each class, as of CelebA."""
    for number, image in enumerate(pixels(side)):
        place = folder / "celeba" / f"smiling-{number % classes}"
        place.mkdir(parents=True, exist_ok=True)
        upright = np.concatenate([image, image[: side // 4]])
        (place / f"{number + 1:06d}.jpg").write_bytes(encoded(upright, "JPEG"))
    return folder / "celeba"


def idx(folder: Path, side: int, classes: int) -> Path:
    """Compressed IDX files, as Fashion-MNIST's."""
    images = pixels(side, 1)[..., 0]
    labels = (np.arange(COUNT) % classes).astype(np.uint8)
    for name, values in (("train-images-idx3-ubyte.gz", images), ("train-labels-idx1-ubyte.gz", labels)):
        header = bytes([0, 0, 8, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape)
        (folder / name).write_bytes(gzip.compress(header + values.tobytes()))
    return folder / "train-images-idx3-ubyte.gz"
