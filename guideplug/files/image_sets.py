"""Anybody's images as uint8 RGB, one batch at a time: a folder or a zip of pictures, or arrays.

A set is read in the order of its names, and never whole: 50,000 images of 64 x 64 take the memory of a batch. Pictures
are PNG, JPEG, WebP or BMP of 8 bits per channel, read by Pillow; grey becomes RGB, and what is transparent lies on
white. Arrays are (N, C, H, W), (N, H, W, C) or (N, H, W), uint8 or floats; floats are images in [-1, 1], or in [0, 1]
if no value is below 0, and what lies outside is clipped, up to twice the range. Nothing in a file is executed or
unpacked.

Each refusal is a `ValueError` of one line that names the image, without the name of the file, which the caller adds.
"""

import abc
import io
import math
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Final, final

import numpy as np
import torch
from attrs import field, frozen
from numpy.typing import NDArray
from torch import Tensor

from guideplug.errors import UsageError, visible
from guideplug.files.opening import open_file, read_bytes, walk_folder

__all__ = ["ImageSet", "open_images"]

PICTURES: Final = {".png", ".jpg", ".jpeg", ".webp", ".bmp"}
FORMATS: Final = ("PNG", "JPEG", "WEBP", "BMP")
MOST_BYTES: Final = 64 * 1024**2
MOST_PIXELS: Final = 1 << 25
"""Of one picture: beyond these, a file is a bomb or no sample of a network."""
MODES: Final = {"1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"}
"""Pillow's modes of at most 8 bits per channel."""
NO_IMAGES: Final = ("condition", "start")
"""Arrays of a samples file that are no arm."""


class ImageSet(abc.ABC):
    """Images in a fixed order.

    Args:
        count: how many, at least 1.
        scale: of floats, the range that was read as black to white; empty for integers.
    """

    count: int
    scale: str = ""

    @abc.abstractmethod
    def batches(self, size: int) -> Iterator[Tensor]:
        """All images in order, uint8 (B, 3, H, W), ``size`` of them at a time.

        Raises:
            ValueError: an image is broken or of another size than the first; the message names it.
        """

    @abc.abstractmethod
    def name(self, number: int) -> str:
        """The name of an image."""


def open_images(path: Path) -> dict[str, ImageSet]:
    """The sets of images at a path by name: one of a folder, a zip or an .npy file, one for each array of an .npz file.

    Raises:
        UsageError: there is nothing, or nothing that is an image.
    """
    try:
        if path.is_dir():
            return {"images": _folder(path)}
        with open_file(path) as file:
            head = file.read(6)
        if head == b"\x93NUMPY":
            return {"images": _Rows.of(path, None)}
        if head[:4] != b"PK\x03\x04":
            raise ValueError("it is no folder, zip, .npz or .npy file")
        with open_file(path) as file, zipfile.ZipFile(file) as archive:
            members = archive.infolist()
        arrays = [member.filename for member in members if member.filename.endswith(".npy")]
        if any(Path(member.filename).suffix.lower() in PICTURES for member in members):
            return {"images": _zipped(path, members)}
        names = [name for name in arrays if name.removesuffix(".npy").split(".")[0].split("[")[0] not in NO_IMAGES]
        if not names:
            raise ValueError(f"it holds no images ({', '.join(sorted(PICTURES))}) and no arrays of them")
        return {name.removesuffix(".npy"): _Rows.of(path, name) for name in names}
    except FileNotFoundError:
        raise UsageError(f"{path} does not exist: give a folder of images, a zip of them, or an .npz file") from None
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise UsageError(f"{path}: {visible(getattr(error, 'strerror', None) or str(error))}") from None


def _folder(path: Path) -> ImageSet:
    files = [file for file in walk_folder(path) if file.suffix.lower() in PICTURES]
    names = [str(file.relative_to(path)) for file in files]
    return _Pictures(path, _some(names), zipped=False)


def _zipped(path: Path, members: list[zipfile.ZipInfo]) -> ImageSet:
    names = sorted(member.filename for member in members if Path(member.filename).suffix.lower() in PICTURES)
    return _Pictures(path, _some(names), zipped=True)


def _some(names: list[str]) -> tuple[str, ...]:
    if not names:
        raise ValueError(f"it holds no image ({', '.join(sorted(PICTURES))})")
    return tuple(names)


@final
@frozen(eq=False)
class _Pictures(ImageSet):
    """Files of pictures, in a folder or in a zip."""

    path: Path
    names: tuple[str, ...] = field(repr=False)
    zipped: bool
    count: int = field(init=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "count", len(self.names))

    def name(self, number: int) -> str:
        return self.names[number]

    def batches(self, size: int) -> Iterator[Tensor]:
        shape: tuple[int, ...] | None = None
        with open_file(self.path) if self.zipped else io.BytesIO() as file:
            archive = zipfile.ZipFile(file) if self.zipped else None
            for start in range(0, self.count, size):
                images = []
                for name in self.names[start : start + size]:
                    try:
                        image = _decoded(self._bytes(archive, name))
                    except Exception as error:  # damaged pictures raise anything
                        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
                        raise ValueError(f"{visible(name)} cannot be read: {' '.join(reason.split())}") from None
                    shape = shape or image.shape
                    if image.shape != shape:
                        raise ValueError(
                            f"{visible(name)} is of {_size(image.shape)}, and {visible(self.names[0])} of "
                            f"{_size(shape)}: bring all to one size"
                        )
                    images.append(image)
                yield torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()

    def _bytes(self, archive: zipfile.ZipFile | None, name: str) -> bytes:
        if archive is None:
            return read_bytes(self.path / name, MOST_BYTES, self.path)
        if archive.getinfo(name).file_size > MOST_BYTES:
            raise ValueError(f"it is larger than {MOST_BYTES:,} bytes")
        return archive.read(name)


def _decoded(content: bytes) -> NDArray[np.uint8]:
    """A picture as (H, W, 3)."""
    from PIL import Image  # it comes with matplotlib, and takes a tenth of a second

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with Image.open(io.BytesIO(content), formats=FORMATS) as picture:
            if picture.width * picture.height > MOST_PIXELS:
                raise ValueError(f"it has {picture.width:,} x {picture.height:,} pixels")
            if picture.mode not in MODES:
                raise ValueError(f"its pixels are of mode {picture.mode}: save it with 8 bits per channel")
            if picture.has_transparency_data:
                white = Image.new("RGBA", picture.size, "white")
                return np.asarray(Image.alpha_composite(white, picture.convert("RGBA")).convert("RGB"))
            return np.asarray(picture.convert("RGB"))


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[0]} x {shape[1]}"


@final
@frozen(eq=False)
class _Rows(ImageSet):
    """An array of an .npz or an .npy file, read in blocks of rows."""

    path: Path
    member: str | None
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    count: int
    channels_first: bool
    low: float
    """The value of black, of floats; that of white is 1."""
    scale: str

    @classmethod
    def of(cls, path: Path, member: str | None) -> "_Rows":
        where = "" if member is None else f"array {visible(member.removesuffix('.npy'))} "
        with _OpenArray(path, member) as file:
            shape, dtype = _header(file, where)
        rows = cls(path, member, shape, dtype, shape[0], _channels_first(shape, where), 0.0, "")
        if dtype == np.uint8:
            return rows
        low, high = rows._range(where)
        return cls(path, member, shape, dtype, shape[0], rows.channels_first, low, f"[{low:g}, {high:g}]")

    def _range(self, where: str) -> tuple[float, float]:
        low, high = math.inf, -math.inf
        for number, block in enumerate(self._blocks(BLOCK)):
            least, most = float(block.min()), float(block.max())
            if not math.isfinite(least + most):
                raise ValueError(f"{where}holds a value that is not finite, from image {number * BLOCK:,} on")
            low, high = min(low, least), max(high, most)
        if low < -2 or high > 2:
            raise ValueError(
                f"{where}holds floats from {low:.4g} to {high:.4g}: images of floats lie in [-1, 1] or [0, 1]; save "
                "values of 0 to 255 as uint8"
            )
        return (-1.0 if low < 0 else 0.0), 1.0

    def name(self, number: int) -> str:
        return f"image {number:,}"

    def batches(self, size: int) -> Iterator[Tensor]:
        for block in self._blocks(size):
            if block.dtype != np.uint8:
                block = ((block - self.low) * (255 / (1 - self.low))).round().clip(0, 255).astype(np.uint8)
            images = torch.from_numpy(block)
            if images.ndim == 3:
                images = images[:, None]
            elif not self.channels_first:
                images = images.permute(0, 3, 1, 2)
            yield images.expand(-1, 3, -1, -1).contiguous()

    def _blocks(self, size: int) -> Iterator[NDArray[Any]]:
        """Blocks of rows, floats in float32."""
        row = math.prod(self.shape[1:]) * self.dtype.itemsize
        with _OpenArray(self.path, self.member) as file:
            _header(file, "")
            for start in range(0, self.count, size):
                rows = min(size, self.count - start)
                content = file.read(rows * row)
                if len(content) < rows * row:
                    raise ValueError(f"it ends before image {start + len(content) // row:,}")
                block = np.frombuffer(content, self.dtype).reshape(rows, *self.shape[1:])
                yield block.copy() if self.dtype == np.uint8 else block.astype(np.float32)


BLOCK: Final = 256


class _OpenArray:
    """An array of a file, opened for reading from its beginning."""

    def __init__(self, path: Path, member: str | None) -> None:
        self._path, self._member = path, member

    def __enter__(self) -> IO[bytes]:
        self._file = open_file(self._path)
        if self._member is None:
            return self._file
        self._archive = zipfile.ZipFile(self._file)
        return self._archive.open(self._member)

    def __exit__(self, *error: object) -> None:
        self._file.close()


def _header(file: IO[bytes], where: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"{where}is of format {version[0]}.{version[1]}, not that of arrays of numbers")
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(file)
    if dtype != np.uint8 and dtype.kind != "f":
        raise ValueError(f"{where}is of type {dtype}: images are uint8 or floats")
    if fortran:
        raise ValueError(f"{where}is stored by columns: save numpy.ascontiguousarray of it")
    return shape, dtype


def _channels_first(shape: tuple[int, ...], where: str) -> bool:
    if len(shape) in (3, 4) and min(shape) >= 1 and math.prod(shape[1:]) <= 3 * MOST_PIXELS:
        if len(shape) == 3 or shape[1] in (1, 3):
            return True
        if shape[3] in (1, 3):
            return False
    raise ValueError(
        f"{where}has shape {shape}: give images (N, C, H, W) or (N, H, W, C) of 1 or 3 channels, or (N, H, W); "
        "latents must be decoded first"
    )
