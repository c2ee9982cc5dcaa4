"""Images ready for training: decoded once, of one shape, in a memory-mapped file in the store.

Images are kept as uint8 and become x / 127.5 - 1 where they are used. The file is keyed by the content of the data and
the options that decide pixels, so it is never out of date. Latents are kept as they are, means and deviations.
"""

import contextlib
import functools
import hashlib
import io
import json
import mmap
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, final

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from guideplug import open_file, parse_json, prepared_data, read_arrays, read_bytes, whole_file
from guideplug_images.collection import Collection, ImageError, Labels
from guideplug_images.workers import ready_images

__all__ = ["Prepared", "prepare"]

PIXELS, LABELS, RECORD = "pixels.bin", "labels.npy", "record.json"
VERSION = 1
"""Of the files, and of the way from images to pixels."""
MOST_LABELS, MOST_RECORD = 1024**3, 8 * 1024**2


@final
@frozen(eq=False)
class Prepared:
    """Images of one shape, and their classes.

    Args:
        where: the place that they come from, for messages.
        pixels: uint8 (N, C, H, W), or latents float32 (N, 2 C, H, W); mapped from a file, read-only.
        labels: of the images, or None.
        fingerprint: the SHA-256 of shape, pixels and labels: equal for equal images, whatever held them.
        latent: whether they are means and deviations of latents.
    """

    where: str
    pixels: NDArray[Any]
    labels: Labels | None
    fingerprint: str
    latent: bool

    @property
    def shape(self) -> tuple[int, int, int]:
        """The shape of one sample."""
        channels, height, width = self.pixels.shape[1:]
        return (channels // 2 if self.latent else channels, height, width)


def prepare(collection: Collection, size: int | None, channels: Literal[1, 3] | None) -> Prepared:
    """The images of a collection at one shape, from the store if they were prepared before.

    Args:
        collection: the images.
        size: the side to resize and crop them to; None for images that all have one size.
        channels: 1 for grey, 3 for colour; None for grey if all images are.

    Raises:
        ImageError: an image cannot be read, or differs in size; it is named, and nothing is kept.
    """
    if collection.latent and (size is not None or channels is not None):
        raise ImageError(f"{collection.where} holds latents, which are used as they are: leave size and channels out")
    options = f"{VERSION} {size} {channels} {collection.digest}"
    key = hashlib.sha256(options.encode()).hexdigest()
    folder = prepared_data(key, functools.partial(_write, collection, size, channels))
    return _read(folder, collection)


def _write(collection: Collection, size: int | None, channels: Literal[1, 3] | None, folder: Path) -> None:
    written = _written(collection, size, channels, folder / PIXELS)
    if written is None:  # grey and colour images: all in colour
        written = _written(collection, size, 3, folder / PIXELS)
    assert written is not None
    shape, digest = written
    labels = collection.labels
    if labels is not None:
        digest.update(labels.numbers.tobytes())
        buffer = io.BytesIO()
        np.save(buffer, labels.numbers)
        with whole_file(folder / LABELS) as file:
            file.write(buffer.getvalue())
    record = {
        "shape": [len(collection.names), *shape],
        "latent": collection.latent,
        "classes": None if labels is None else list(labels.classes),
        "fingerprint": digest.hexdigest(),
    }
    with whole_file(folder / RECORD) as file:
        file.write(json.dumps(record).encode())


def _written(
    collection: Collection, size: int | None, channels: Literal[1, 3] | None, path: Path
) -> "tuple[tuple[int, ...], hashlib._Hash] | None":
    """The shape of one image, and the hash of all; None if some are in grey and some in colour, as they are."""
    shape: tuple[int, ...] = ()
    digest = hashlib.sha256()
    images = ready_images(collection, size, channels)
    with contextlib.closing(images), whole_file(path) as file:
        for name, pixels in zip(collection.names, images, strict=True):
            if not shape:
                shape = pixels.shape
                digest.update(f"{shape} {pixels.dtype}".encode())
            if pixels.shape[1:] != shape[1:] or (collection.latent and pixels.shape != shape):
                first, other = ("x".join(map(str, one[:0:-1])) for one in (shape, pixels.shape))
                raise ImageError(
                    f"{collection.where} has images of several sizes: {collection.names[0]} of {first} and {name} of "
                    f"{other} pixels; give size=, the side to crop and resize them to"
                )
            if pixels.shape != shape:
                return None
            digest.update(pixels.tobytes())
            file.write(pixels.tobytes())
    return shape, digest


def _read(folder: Path, collection: Collection) -> Prepared:
    try:
        record = parse_json(read_bytes(folder / RECORD, MOST_RECORD, folder).decode())
        shape: Sequence[int] = tuple(record["shape"])
        with open_file(folder / PIXELS, folder) as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        kind = np.float32 if record["latent"] else np.uint8
        pixels: NDArray[Any] = np.frombuffer(mapped, kind).reshape(shape)
        labels = None
        if record["classes"] is not None:
            numbers = read_arrays(read_bytes(folder / LABELS, MOST_LABELS, folder))["samples"]
            labels = Labels(numbers, tuple(record["classes"]))
        return Prepared(collection.where, pixels, labels, record["fingerprint"], record["latent"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ImageError(f"{folder} is damaged ({' '.join(str(error).split())}): remove the folder") from None
