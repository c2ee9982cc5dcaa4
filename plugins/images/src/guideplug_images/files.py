"""Images in files: a folder, or a zip with the same within, such as a data set of EDM2 (arXiv:2312.02696).

Labels come from `dataset.json`, ``{"labels": [["00000/img00000000.png", 7], ...]}``, or from the folders that images
lie in. Files of ``.npy`` are encoded latents instead: means and deviations of C channels, float32 (2 C, H, W).
"""

import contextlib
import functools
import hashlib
import io
import os
import re
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Literal, final

import numpy as np
from numpy.typing import NDArray

from guideplug import open_file, parse_json, read_arrays, read_bytes, walk_folder
from guideplug_images.collection import (
    MOST_CLASSES,
    Collection,
    ImageError,
    Labels,
    Opener,
    natural_order,
    numbered_labels,
)
from guideplug_images.picture import decode

__all__ = ["LabelSource", "read_folder", "read_zip"]

LabelSource = Literal["auto", "folders", "dataset.json"] | None
PICTURES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"}
SHEET = "dataset.json"
MOST_FILE = 256 * 1024**2
MOST_SHEET = 512 * 1024**2
ALWAYS_ROOM, INFLATED = 64 * 1024**2, 100
"""Bytes that a zip may inflate to in any case, and how many times its size beyond: images hardly compress."""
SHARD = re.compile(r"\d{5}/img[^/]*\d{8}\.\w+")
"""Names in EDM2's data sets, whose folders are no classes."""


@final
class FileCollection(Collection):
    """Images in files, by name."""

    def __init__(
        self,
        where: str,
        names: Sequence[str],
        read: Callable[[str], bytes],
        reopen: Callable[[], Callable[[str], bytes]],
        label: LabelSource,
        digest: str,
        close: Callable[[], None] = lambda: None,
    ) -> None:
        self.where, self._read, self._reopen, self._close = where, read, reopen, close
        self.names = sorted((name for name in names if _suffix(name) in {*PICTURES, ".npy"}), key=natural_order)
        self.latent = bool(self.names) and all(_suffix(name) == ".npy" for name in self.names)
        if not self.names:
            raise ImageError(f"{where} has no images: known are {', '.join(sorted(PICTURES))}, and .npy of latents")
        if not self.latent and any(_suffix(name) == ".npy" for name in self.names):
            raise ImageError(f"{where} has images and .npy files: latents and images make two data sets")
        self.labels = _labels(where, self.names, names, read, label)
        self.digest = hashlib.sha256(f"{digest} {label}".encode()).hexdigest()

    def image(self, index: int) -> NDArray[Any]:
        return _image(self.where, self.latent, self._read, self.names[index])

    def opener(self) -> Opener:
        return functools.partial(_image_reader, self.where, self.latent, self._reopen)

    def close(self) -> None:
        self._close()


def read_folder(folder: Path, label: LabelSource) -> Collection:
    """The images in a folder and in those below.

    Raises:
        ImageError: it cannot be listed, has no images, or labels do not fit.
    """
    try:
        names = [path.relative_to(folder).as_posix() for path in walk_folder(folder)]
    except (OSError, ValueError) as error:
        raise ImageError(f"{folder} cannot be listed: {getattr(error, 'strerror', None) or error}") from None

    read = functools.partial(_read_file, folder)
    digest = hashlib.sha256()
    for name in sorted(names):
        if _suffix(name) in {*PICTURES, ".npy"} or name == SHEET:
            try:
                content = hashlib.sha256(read(name)).hexdigest()
            except (OSError, ValueError) as error:
                raise ImageError(f"{folder}, {name}: {getattr(error, 'strerror', None) or error}") from None
            digest.update(f"{name}\n{content}\n".encode("utf-8", "surrogateescape"))
    reopen = functools.partial(functools.partial, _read_file, folder)
    return FileCollection(str(folder), names, read, reopen, label, digest.hexdigest())


def _read_file(folder: Path, name: str) -> bytes:
    return read_bytes(folder / name, MOST_SHEET if name == SHEET else MOST_FILE, folder)


def read_zip(path: Path, label: LabelSource) -> Collection:
    """The images in a zip.

    Raises:
        ImageError: it is no whole zip, inflates beyond its limits, has names outside of it, no images, or labels that
            do not fit.
    """
    with contextlib.ExitStack() as opened:
        try:
            file = opened.enter_context(open_file(path))
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            archive = opened.enter_context(zipfile.ZipFile(file))
        except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError) as error:
            raise ImageError(f"{path} is no whole zip ({getattr(error, 'strerror', None) or error})") from None
        members = _members(path, archive, os.fstat(file.fileno()).st_size)
        read = functools.partial(_read_member, archive, members)
        reopen = functools.partial(_reopened_zip, path, _version(file))
        held = contextlib.ExitStack()
        collection = FileCollection(str(path), list(members), read, reopen, label, digest, held.close)
        held.enter_context(opened.pop_all())
        return collection


def _reopened_zip(path: Path, version: tuple[int, ...]) -> Callable[[str], bytes]:
    """The members of a zip by name, from a handle of this process's own, as long as it is the same file."""
    file = open_file(path)
    if _version(file) != version:
        raise ValueError("it changed while it was read")
    archive = zipfile.ZipFile(file)
    return functools.partial(_read_member, archive, {member.filename: member for member in archive.infolist()})


def _version(file: io.BufferedReader) -> tuple[int, ...]:
    status = os.fstat(file.fileno())
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _members(path: Path, archive: zipfile.ZipFile, size: int) -> Mapping[str, zipfile.ZipInfo]:
    """The files in a zip of ``size`` bytes by name, within limits."""
    members: dict[str, zipfile.ZipInfo] = {}
    for member in archive.infolist():
        if member.is_dir() or member.filename.startswith("__MACOSX/"):
            continue
        _check_member(path, member, members)
        members[member.filename] = member
    declared = sum(member.file_size for member in members.values())
    if declared > max(ALWAYS_ROOM, INFLATED * size):
        raise ImageError(
            f"{path} has {size:,} bytes and says that it inflates to {declared:,}: at most {INFLATED} times are read"
        )
    return members


def _read_member(archive: zipfile.ZipFile, members: Mapping[str, zipfile.ZipInfo], name: str) -> bytes:
    most = MOST_SHEET if name == SHEET else MOST_FILE
    if members[name].file_size > most:
        raise ValueError(f"it is larger than {most:,} bytes")
    try:
        return archive.read(members[name])
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError) as error:
        raise ValueError(f"it is damaged in the zip ({' '.join(str(error).split())[:80]})") from None


def _check_member(path: Path, member: zipfile.ZipInfo, members: Mapping[str, zipfile.ZipInfo]) -> None:
    parts, name = PurePosixPath(member.filename).parts, member.filename
    if ".." in parts or name.startswith("/") or "\\" in name or (parts and parts[0].endswith(":")):
        raise ImageError(f"{path} has the name {name[:80]!a}, which leads out of it: make the zip anew")
    if name in members:
        raise ImageError(f"{path} has two files of the name {name[:80]!a}: make the zip anew")


def _image(where: str, latent: bool, read: Callable[[str], bytes], name: str) -> NDArray[Any]:
    try:
        data = read(name)
        return _latent(data) if latent else decode(data)
    except (OSError, ValueError) as error:
        raise ImageError(f"{where}, {name}: {_reason(error)}") from None


def _image_reader(
    where: str, latent: bool, reopen: Callable[[], Callable[[str], bytes]]
) -> Callable[[str], NDArray[Any]]:
    try:
        return functools.partial(_image, where, latent, reopen())
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise ImageError(f"{where}: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or " ".join(str(error).split())


def _suffix(name: str) -> str:
    base = PurePosixPath(name)
    return "" if base.name.startswith(".") else base.suffix.lower()


def _latent(data: bytes) -> NDArray[np.float32]:
    array = read_arrays(data)["samples"]
    if array.dtype != np.float32 or array.ndim != 3 or array.shape[0] % 2:
        raise ValueError(
            f"it is {array.dtype} of shape {array.shape}: latents are float32 (2 C, H, W), mean and deviation"
        )
    if not np.isfinite(array).all() or (array[len(array) // 2 :] < 0).any():
        raise ValueError("its numbers are not finite, or deviations are negative")
    return array


def _labels(
    where: str, names: Sequence[str], files: Sequence[str], read: Callable[[str], bytes], label: LabelSource
) -> Labels | None:
    """The labels of images, by the source that is named, or by the one that is there."""
    if label is None:
        return None
    if label == "dataset.json" or (label == "auto" and SHEET in files):
        if SHEET not in files:
            raise ImageError(f"{where} has no {SHEET}: write label=folders, or label=none")
        return _sheet_labels(where, names, read)
    shards = all(SHARD.fullmatch(name) for name in names)
    parents = [str(PurePosixPath(name).parent) for name in names]
    if label == "auto" and (shards or "." in parents or len(set(parents)) < 2):
        return None
    loose = [name for name, parent in zip(names, parents, strict=True) if parent == "."]
    if loose:
        raise ImageError(f"{where}: {loose[0]} lies in no folder of a class: move it, or write label=none")
    classes = tuple(sorted(set(parents), key=natural_order))
    if not 2 <= len(classes) <= MOST_CLASSES:
        raise ImageError(f"{where} has {len(classes)} folders of classes: from 2 to {MOST_CLASSES:,}, or label=none")
    place = {name: number for number, name in enumerate(classes)}
    return Labels(np.array([place[parent] for parent in parents], dtype=np.int64), classes)


def _sheet_labels(where: str, names: Sequence[str], read: Callable[[str], bytes]) -> Labels | None:
    """The labels in `dataset.json`; None where it says that there are none."""
    sheet = f"{where}, {SHEET}"
    try:
        content = parse_json(read(SHEET).decode())
    except (OSError, ValueError) as error:
        raise ImageError(f"{sheet}: {' '.join(str(error).split())[:120]}") from None
    pairs = content.get("labels", ...) if isinstance(content, dict) else ...
    if pairs is None:
        return None
    if not isinstance(pairs, list) or any(not isinstance(one, list) or len(one) != 2 for one in pairs):
        raise ImageError(f'{sheet} has another form: write {{"labels": [["FILE", NUMBER], ...]}}, or null for none')
    if any(not isinstance(name, str) for name, _ in pairs):
        raise ImageError(f"{sheet}: a name of a file is no text")
    by_name = {name.replace("\\", "/"): value for name, value in pairs}
    if len(by_name) < len(pairs):
        raise ImageError(f"{sheet} names a file twice")
    missing = [name for name in names if name not in by_name]
    if missing:
        raise ImageError(f"{sheet} has no label for {missing[0]}{_others(missing)}: add it, or write label=none")
    surplus = sorted(by_name.keys() - set(names))
    if surplus:
        raise ImageError(f"{sheet} has a label for {surplus[0][:80]!a}{_others(surplus)}, and there is no such image")
    return numbered_labels(sheet, [by_name[name] for name in names], names)


def _others(names: Sequence[str]) -> str:
    return f" (and {len(names) - 1} more)" if len(names) > 1 else ""
