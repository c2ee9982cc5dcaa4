"""What a path names: which reader takes it."""

import re
from pathlib import Path
from typing import cast, get_args

from guideplug import absolute_path, is_there
from guideplug_images.arrays import read_idx, read_npz
from guideplug_images.collection import Collection, ImageError
from guideplug_images.datasets import CALL, absolute_call, read_dataset
from guideplug_images.files import LabelSource, read_folder, read_zip

__all__ = ["absolute", "read_collection"]

IDX = re.compile(r"(-ubyte|\.idx\d?|\.idx\d-ubyte)(\.gz)?$")
"""Endings of the names of IDX files."""


def absolute(path: str) -> str:
    """A path, or a call of `datasets` with its paths, that does not depend on the current folder."""
    if CALL.match(path):
        return absolute_call(path)
    return absolute_path(path)


def read_collection(place: str, label: str | None) -> Collection:
    """The images at a path.

    Raises:
        ImageError: there is nothing, or nothing that can be used as images.
    """
    if CALL.match(place):
        return read_dataset(place, label)
    path = Path(place)
    if not is_there(path):
        raise ImageError(f"{path} does not exist: check the path")
    if path.is_dir():
        return read_folder(path, _file_label(path, label))
    if path.suffix.lower() == ".zip":
        return read_zip(path, _file_label(path, label))
    if path.suffix.lower() == ".npz":
        return read_npz(path, label)
    if IDX.search(path.name):
        return read_idx(path, label)
    raise ImageError(f"{path} is no folder, .zip, .npz, or IDX file (-ubyte, .idx, .gz of it): give one of these")


def _file_label(path: Path, label: str | None) -> LabelSource:
    if label not in get_args(get_args(LabelSource)[0]) and label is not None:
        raise ImageError(f"{path}: label is {label!r}: for a folder or a zip write auto, folders, dataset.json or none")
    return cast(LabelSource, label)
