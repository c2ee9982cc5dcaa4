"""PNG of 32 x 32 from a zip, prepared for training, beside a bare loop of Pillow: images per second and process.

    python tests/benchmarks/images_decoding.py [IMAGES] [ROUNDS]

The bare loop does what preparing owes: read a member, decode it, write its pixels, hash them. What the task adds is
limits on what it reads, checks of modes and frames, orientation, and one shape. The zip is listed and hashed before the
clock starts, for both. Ways take turns; seconds are of the wall clock, each the median over rounds. The last line has
as many workers as cores: it includes their start.
"""

import hashlib
import io
import statistics
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from guideplug_images import workers
from guideplug_images.place import read_collection


def make(path: Path, count: int) -> None:
    """Smooth colours with noise: as large as photographs of this side."""
    random = np.random.default_rng(0)
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(count):
            smooth = np.asarray(Image.fromarray(random.integers(0, 256, (4, 4, 3), np.uint8)).resize((32, 32)))
            pixels = (smooth.astype(int) + random.integers(-8, 9, (32, 32, 3))).clip(0, 255).astype(np.uint8)
            buffer = io.BytesIO()
            Image.fromarray(pixels).save(buffer, "PNG")
            archive.writestr(f"{number // 1000:05d}/img{number:08d}.png", buffer.getvalue())


def bare(path: Path, out: Path) -> float:
    """Seconds of a loop by hand."""
    with zipfile.ZipFile(path) as archive, out.open("wb") as file:
        names, digest, begin = archive.namelist(), hashlib.sha256(), time.perf_counter()
        for name in names:
            with Image.open(io.BytesIO(archive.read(name))) as image:
                pixels = np.asarray(image.convert("RGB")).transpose(2, 0, 1).tobytes()
            digest.update(pixels)
            file.write(pixels)
        return time.perf_counter() - begin


def prepared(path: Path, out: Path, patience: float) -> float:
    """Seconds of the task's own way, with workers after some patience."""
    workers.PATIENCE = patience
    with read_collection(str(path), None) as collection, out.open("wb") as file:
        digest, begin = hashlib.sha256(), time.perf_counter()
        for image in workers.ready_images(collection, None, None):
            pixels = image.tobytes()
            digest.update(pixels)
            file.write(pixels)
        return time.perf_counter() - begin


def main(count: int, rounds: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path, out = Path(folder) / "images.zip", Path(folder) / "pixels"
        make(path, count)
        ways: dict[str, Callable[[], float]] = {
            "a bare loop of Pillow": lambda: bare(path, out),
            "images, one process": lambda: prepared(path, out, 1e9),
            "images, workers from the start": lambda: prepared(path, out, 0.0),
        }
        times: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(rounds):
            for name, way in ways.items():
                times[name].append(way())
        for name, seconds in times.items():
            print(f"  {name:<34} {count / statistics.median(seconds):8,.0f} images per second")


if __name__ == "__main__":
    given = [int(text) for text in sys.argv[1:]]
    main(*given, *(20_000, 3)[len(given) :])
