"""Images in arrays: `.npz`, and the IDX files of MNIST and its kin, compressed by gzip or not.

IDX: two zero bytes, the type (8: uint8), the number of dimensions, and each size as 32 bits, big-endian; then the
values (Y. LeCun, C. Cortes, C. Burges, 1998). Labels of IDX files are a second file.
"""

import gzip
import hashlib
import math
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from guideplug import file_digest, is_there, open_file, read_arrays
from guideplug_images.collection import Collection, ImageError, Labels, numbered_labels

__all__ = ["ArrayCollection", "of_arrays", "read_idx", "read_npz"]

MOST_IDX = 16 * 1024**3
LABEL_NAMES = ("labels", "label", "y", "y_train")
IMAGE_NAMES = ("images", "image", "samples", "x", "x_train", "arr_0")
BLOCK = 1024**2


@final
class ArrayCollection(Collection):
    """Images of one size, uint8 (N, H, W, C), with C = 1 or 3."""

    def __init__(self, where: str, pixels: NDArray[np.uint8], labels: Labels | None, digest: str) -> None:
        self.where, self._pixels, self.labels, self.digest = where, pixels, labels, digest
        self.names = [f"image {number}" for number in range(len(pixels))]

    def image(self, index: int) -> NDArray[Any]:
        pixels: NDArray[np.uint8] = self._pixels[index]
        return pixels


def of_arrays(where: str, pixels: NDArray[Any], labels: NDArray[Any] | None, digest: str) -> Collection:
    """A collection of arrays: images (N, H, W), (N, H, W, C) or (N, C, H, W), and labels (N,).

    Raises:
        ImageError: other shapes or types, such as floating-point numbers, whose scale is unknown.
    """
    if pixels.dtype != np.uint8:
        raise ImageError(f"{where} has images of type {pixels.dtype}{_span(pixels)}: save them as uint8, from 0 to 255")
    if pixels.ndim == 3:
        pixels = pixels[..., None]
    elif pixels.ndim == 4 and pixels.shape[3] not in (1, 3) and pixels.shape[1] in (1, 3):
        pixels = pixels.transpose(0, 2, 3, 1)
    if pixels.ndim != 4 or pixels.shape[3] not in (1, 3) or 0 in pixels.shape:
        raise ImageError(f"{where} has images of shape {pixels.shape}: give (N, H, W), or (N, H, W, C) with C = 1 or 3")
    names = [f"image {number}" for number in range(len(pixels))]
    if labels is not None and (labels.ndim != 1 or labels.dtype.kind not in "iu"):
        raise ImageError(f"{where} has labels of shape {labels.shape} and type {labels.dtype}: give whole numbers (N,)")
    return ArrayCollection(where, pixels, None if labels is None else numbered_labels(where, labels, names), digest)


def read_npz(path: Path, label: str | None) -> Collection:
    """The images of an `.npz`, in the array called images, samples, x or arr_0, or the only one of 3 or 4 dimensions.

    Args:
        path: the file.
        label: the name of the array of labels; "auto" for labels or y, where it is there.

    Raises:
        ImageError: the file or its arrays cannot be used.
    """
    try:
        arrays = read_arrays(path)
        digest = file_digest(path)
    except (OSError, ValueError) as error:
        raise ImageError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    candidates = [name for name, array in arrays.items() if array.ndim in (3, 4)]
    known = [name for name in IMAGE_NAMES if name in candidates] or candidates
    if not known or (len(known) > 1 and known is candidates):
        shapes = ", ".join(f"{name} {array.shape}" for name, array in list(arrays.items())[:6])
        raise ImageError(f"{path} has the arrays {shapes}: call the one of images 'images'")
    labels = _named_labels(path, arrays, label)
    key = hashlib.sha256(f"{digest} {label}".encode()).hexdigest()
    return of_arrays(str(path), arrays[known[0]], labels, key)


def _named_labels(path: Path, arrays: Mapping[str, NDArray[Any]], label: str | None) -> NDArray[Any] | None:
    if label == "auto":
        label = next((name for name in LABEL_NAMES if name in arrays), None)
    if label is not None and label not in arrays:
        raise ImageError(f"{path} has no array {label!r} of labels; it has {', '.join(list(arrays)[:10])}")
    return None if label is None else arrays[label]


def read_idx(path: Path, label: str | None) -> Collection:
    """The images of an IDX file (N, H, W).

    Args:
        path: the file; decompressed if its name ends in .gz.
        label: the file of labels, beside it if it is a name; "auto" for the one whose name has "labels-idx1" for
            "images-idx3", where it is there.

    Raises:
        ImageError: a file cannot be used, or the numbers of images and labels differ.
    """
    labels_path = None if label is None else path.parent / label
    if label == "auto":
        twin = path.with_name(path.name.replace("images-idx3", "labels-idx1").replace("images.idx3", "labels.idx1"))
        labels_path = twin if twin != path and is_there(twin) else None
    pixels = _idx(path, 3)
    labels = None if labels_path is None else _idx(labels_path, 1)
    digest = hashlib.sha256(pixels.tobytes() + (b"" if labels is None else labels.tobytes()))
    return of_arrays(str(path), pixels, labels, f"idx {pixels.shape} {digest.hexdigest()}")


def _idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    try:
        with open_file(path) as file:
            stream = gzip.GzipFile(fileobj=file) if path.suffix == ".gz" else file
            head = stream.read(4)
            if head != bytes([0, 0, 8, dimensions]):
                what = "images, uint8 (N, H, W)" if dimensions == 3 else "labels, uint8 (N,)"
                raise ValueError(
                    f"it begins with {head.hex(' ')}: an IDX file of {what} begins with 00 00 08 0{dimensions}"
                )
            shape = struct.unpack(f">{dimensions}I", stream.read(4 * dimensions))
            count = math.prod(shape)
            if not 0 < count <= MOST_IDX:
                raise ValueError(f"it says that its shape is {shape}: from 1 to {MOST_IDX:,} values are read")
            data = bytearray()
            while part := stream.read(min(BLOCK, count + 1 - len(data))):
                data += part
    except (OSError, ValueError, EOFError, zlib.error, struct.error) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise ImageError(f"{path} cannot be read: {reason}") from None
    if len(data) != count:
        found = "more" if len(data) > count else f"{len(data):,}"
        raise ImageError(f"{path} cannot be read: its shape is {shape}, {count:,} values, and it has {found}")
    return np.frombuffer(bytes(data), np.uint8).reshape(shape)


def _span(values: NDArray[Any]) -> str:
    """The span of numbers, in words; empty for others."""
    if values.dtype.kind not in "fiu" or not values.size:
        return ""
    return f", from {values.min():g} to {values.max():g}"
