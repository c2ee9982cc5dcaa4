"""Untrusted data files, read within limits or refused with the reason; nothing in them is executed.

Files are opened by `guideplug.files.opening`. Declared sizes are compared with the size of the file before memory is
allocated. Values that are nested too deeply, and numbers beyond the range of floats, are refused. Each refusal is a
`ValueError` of one line without the name of the file, which the caller adds.
"""

import hashlib
import io
import json
import math
import os
import re
import tomllib
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
from numpy.typing import NDArray

from guideplug.errors import brief
from guideplug.files.opening import open_file, read_bytes

__all__ = [
    "file_digest",
    "installed_memory",
    "parse_json",
    "parse_toml",
    "read_arrays",
    "read_json_file",
    "read_text",
]

MOST_TOML: Final = 256 * 1024
MOST_JSON: Final = 8 * 1024**2
MOST_NESTED: Final = 100
WRITTEN: Final = 10_000
"""Bits of the largest whole number that Python writes in digits, or somewhat fewer."""
MOST_ARRAYS: Final = 10_000
ALWAYS_ROOM: Final = 64 * 1024**2
INFLATED: Final = 100
"""The largest compression ratio of files beyond ``ALWAYS_ROOM``: samples are noise, and hardly compress."""
LONGEST_NAME: Final = 100

_PART = r"""(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')"""
_MANY_PARTS = re.compile(rf"(?<![\w-]){_PART}(?:[ \t]*+\.[ \t]*+{_PART}){{40}}")
"""A dotted key of many parts; the time of tomllib grows with the square of their number."""
_PICKLED = "arrays of objects are pickles, which are not read, since they can execute code"


def file_digest(path: Path, within: Path | None = None) -> str:
    """The SHA-256 of a regular file's bytes, read in blocks.

    Raises:
        OSError: the system refuses.
        ValueError: it is a folder, a pipe, a socket or a device, or a link that leads out of ``within``.
    """
    with open_file(path, within) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_text(path: Path, most: int, within: Path | None = None) -> str:
    """The UTF-8 text of a regular file of at most ``most`` bytes.

    Raises:
        OSError: the system refuses.
        ValueError: another kind of file, too large, not UTF-8, or a link that leads out of ``within``.
    """
    return read_bytes(path, most, within).decode()


def parse_toml(path: Path, within: Path | None = None) -> dict[str, Any]:
    """The values of a TOML file: tables, lists, texts, numbers and booleans.

    Raises:
        OSError: the system refuses.
        ValueError: not TOML, nested too deeply, a date, a number that is too large, or as `read_text` says.
    """
    text = read_text(path, MOST_TOML, within)
    if _MANY_PARTS.search(text):
        raise ValueError("it has a key of more than 40 parts")
    try:
        table: dict[str, Any] = _parsed(text, tomllib.loads)
    except tomllib.TOMLDecodeError as error:
        place = re.search(r"at line (\d+)", str(error))
        line = text.split("\n")[int(place[1]) - 1] if place else ""
        shown = f", in '{brief(line)}'" if line else ""
        raise tomllib.TOMLDecodeError(f"{error}{shown}: write texts in quotes and numbers in digits") from None
    return table


def read_json_file(path: Path, within: Path | None = None) -> Any:
    """The value in a JSON file.

    Raises:
        OSError: the system refuses.
        ValueError: not JSON, nested too deeply, or as `read_text` says.
    """
    return parse_json(read_text(path, MOST_JSON, within))


def parse_json(text: str) -> Any:
    """The value of a JSON text.

    Raises:
        ValueError: not JSON, nested too deeply, or a number that is too large.
    """
    return _parsed(text, json.loads)


def _parsed(text: str, parse: Callable[[str], Any]) -> Any:
    """The value of a text, within the limits of `_check`."""
    try:
        value = parse(text)
    except RecursionError:
        raise ValueError(f"it is nested more than {MOST_NESTED} levels deep") from None
    except ValueError as error:
        if "integer string conversion" not in str(error):
            raise
        number = re.search("[0-9]{4000,}", text)
        shown = brief(number[0]) if number else "a number"
        raise ValueError(f"it has {shown}: a whole number must have at most 64 bits") from None
    _check(value)
    return value


def _check(value: Any) -> None:
    """Refuse values nested too deeply, dates, and integers beyond 64 bits; iteratively, for any depth."""
    level = [("it", value)]
    for _ in range(MOST_NESTED + 1):
        below: list[tuple[str, Any]] = []
        for key, item in level:
            if isinstance(item, dict):
                below += item.items()
            elif isinstance(item, list):
                below += [(key, member) for member in item]
            elif isinstance(item, int):
                if not -(2**63) <= item < 2**64:
                    size = item.bit_length()
                    shown = brief(str(item)) if size < WRITTEN else f"a number of {size:,} bits"
                    raise ValueError(f"{key} is {shown}: a whole number must have at most 64 bits")
            elif not isinstance(item, str | float | None):
                raise ValueError(f"it has a {type(item).__name__} ({item}), and nothing here is one")
        if not below:
            return
        level = below
    raise ValueError(f"it is nested more than {MOST_NESTED} levels deep")


def installed_memory() -> int:
    """The memory of this machine in bytes; an upper bound if unknown."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # pragma: no cover - some systems lack sysconf
        return 2**62


def read_arrays(source: Path | bytes, within: Path | None = None) -> dict[str, NDArray[Any]]:
    """The arrays of an ``.npz`` file by name, or that of an ``.npy`` file under the name ``samples``.

    Args:
        source: a file, or its bytes.
        within: the folder that the file belongs to; no link may lead out of it.

    Raises:
        OSError: the system refuses.
        ValueError: another format, pickled objects, or sizes that the file cannot hold.
    """
    try:
        with io.BytesIO(source) if isinstance(source, bytes) else open_file(source, within) as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(0)
            zipped = file.read(4) == b"PK\x03\x04"
            file.seek(0)
            return dict(_unzipped(file, size)) if zipped else {"samples": _array(file, size)}
    except (EOFError, MemoryError, NotImplementedError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{type(error).__name__}: {' '.join(str(error).split())}".rstrip(": ")) from None


def _unzipped(file: IO[bytes], size: int) -> Iterator[tuple[str, NDArray[Any]]]:
    if not zipfile.is_zipfile(file):
        raise ValueError("it is torn: a zip ends with its directory")
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        if len(members) > MOST_ARRAYS:
            raise ValueError("it lists far more arrays than a file of samples has")
        declared = sum(member.file_size for member in members)
        room = min(max(ALWAYS_ROOM, INFLATED * size), installed_memory() // 2)
        if declared > room:
            raise ValueError(
                f"it has {size:,} bytes and says that it inflates to {declared:,}: at most {room:,} are read"
            )
        if len({member.filename for member in members}) < len(members):
            raise ValueError("two of its arrays have one name")
        for member in members:
            name = member.filename.removesuffix(".npy")
            if name == member.filename or len(name) > LONGEST_NAME or not name.isprintable():
                raise ValueError(f"{name[:LONGEST_NAME]!a} is no name of an array")
            if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise ValueError("it is compressed in a way that numpy does not write")
            with archive.open(member) as head:
                _check_array(head, member.file_size)
            with archive.open(member) as data:
                yield name, np.lib.format.read_array(data, allow_pickle=False)


def _array(file: IO[bytes], size: int) -> NDArray[Any]:
    _check_array(file, size)
    file.seek(0)
    array: NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
    return array


def _check_array(file: IO[bytes], size: int) -> None:
    """Refuse an array that is larger than its file, before it is allocated, and one of objects."""
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"format {version[0]}.{version[1]} is not that of arrays of numbers")
    head = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = head(file)
    if dtype.hasobject:
        raise ValueError(_PICKLED)
    if dtype.itemsize < 1 or any(length < 0 for length in shape):
        raise ValueError(f"it has the shape {_short(shape)} and the type {_short(dtype)}")
    if math.prod(shape) * dtype.itemsize > size:
        raise ValueError(f"it says that its shape is {_short(shape)}, and has {size:,} bytes")


def _short(value: object) -> str:
    try:
        text = str(value)
    except ValueError:  # more digits than str() accepts
        return "beyond words"
    return text if len(text) <= 60 else f"{text[:57]}..."
