"""The one door to files: what is read is opened here, and what is listed is listed here, within limits.

Reading must end: a file is opened without waiting, as a pipe would for its writer, and only an ordinary file is read.
That is seen by its handle, so that nothing can take its place in between. A folder of results may be a stranger's, and
a link in it may lead to any file of the reader's: with ``within``, the folder that a file belongs to, a link that leads
out of it is refused. Files that a user names may be links.

Each refusal of a reader is a `ValueError` of one line without the name of the file, which the caller adds; a refusal
of a writer is an `OSError` with the name.
"""

import errno
import fnmatch
import io
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

__all__ = [
    "MOST_EVENTS",
    "check_inside",
    "is_there",
    "list_folder",
    "open_file",
    "open_own",
    "path_of",
    "read_bytes",
    "walk_folder",
]

MOST_ENTRIES: Final = 250_000
"""Files of a folder that are listed, with those below: many times those of the largest comparison."""
DEEPEST: Final = 8
BLOCK: Final = 1024**2
"""Bytes that are asked for at once; memory for them is taken before they are there."""
MOST_EVENTS: Final = 256 * 1024**2
"""Bytes of an event log that is read: a line per 32 steps of twenty million."""
NO_WAIT: Final = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
NO_LINK: Final = getattr(os, "O_NOFOLLOW", 0)
FOLDER: Final = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | NO_WAIT
LEADS_OUT: Final = "it is a link that leads out of its folder; put a copy there"


def open_file(path: Path, within: Path | None = None) -> io.BufferedReader:
    """An ordinary file, opened for reading.

    Args:
        path: the file.
        within: the folder that it belongs to, which no link may lead out of; None for a file that the user names.

    Raises:
        OSError: the system refuses.
        ValueError: it is a folder, a pipe, a socket or a device, or a link that leads out of the folder.
    """
    real = path if within is None else _inside(path, within)
    _check_ordinary(real.stat())  # before opening: the system acts on the opening of some devices
    handle = os.open(real, os.O_RDONLY | NO_WAIT) if within is None else _open_below(within, real)
    try:
        _check_ordinary(os.fstat(handle))
    except BaseException:
        os.close(handle)
        raise
    return os.fdopen(handle, "rb")


def read_bytes(path: Path, most: int, within: Path | None = None) -> bytes:
    """The bytes of an ordinary file that has at most ``most`` of them.

    Raises:
        OSError: the system refuses.
        ValueError: it is too large, or as `open_file` says.
    """
    parts, length = [], 0
    with open_file(path, within) as file:
        too_large = os.fstat(file.fileno()).st_size > most
        while not too_large and (part := file.read(BLOCK)):  # it may grow meanwhile
            parts.append(part)
            length += len(part)
            too_large = length > most
    if too_large:
        raise ValueError(f"it is larger than {most:,} bytes")
    return b"".join(parts)


def path_of(file: io.BufferedReader) -> str:
    """A path under which a library opens the very file of a handle, where the system has one; else the file's own."""
    own = f"/proc/self/fd/{file.fileno()}"
    return own if os.path.lexists(own) else str(file.name)


def is_there(path: Path) -> bool:
    """Whether anything is at a path: a file, or what opening refuses with its reason, such as a link to nowhere.

    Raises:
        OSError: the system does not say.
    """
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def check_inside(path: Path, within: Path) -> None:
    """Refuse a link that leads out of a folder.

    Raises:
        ValueError: the path does.
    """
    _inside(path, within)


def list_folder(folder: Path, pattern: str = "*", within: Path | None = None) -> list[Path]:
    """The entries of a folder whose names match a pattern, in order; none where there is no folder.

    Raises:
        OSError: the system refuses.
        ValueError: there are too many, or it is a link that leads out of ``within``.
    """
    if within is not None:
        _inside(folder, within)
    entries = []
    try:
        for name in _names(folder):
            entries.append(name)
            if len(entries) > MOST_ENTRIES:
                raise ValueError(f"it has more than {MOST_ENTRIES:,} files")
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [folder / name for name in sorted(entries) if fnmatch.fnmatchcase(name, pattern)]


def walk_folder(folder: Path) -> list[Path]:
    """What is in a folder and in the folders below, except the folders themselves, in order; links are not followed.

    Raises:
        OSError: the system refuses.
        ValueError: there are too many, or too deep ones.
    """
    entries: list[Path] = []
    folders = [(folder, 0)]
    while folders:
        place, depth = folders.pop()
        for entry in list_folder(place):
            if stat.S_ISDIR(entry.lstat().st_mode):
                if depth == DEEPEST:
                    raise ValueError(f"it has folders in folders more than {DEEPEST} levels deep")
                folders.append((entry, depth + 1))
            else:
                entries.append(entry)
        if len(entries) + len(folders) > MOST_ENTRIES:
            raise ValueError(f"it has more than {MOST_ENTRIES:,} files")
    return sorted(entries)


def open_own(path: Path, flags: int) -> int:
    """A handle on an ordinary file to write in place, such as a log or a lock, which is made if it is missing.

    Args:
        path: the file; a link is refused, since what is written would go elsewhere.
        flags: how to open, such as ``os.O_WRONLY | os.O_APPEND``.

    Raises:
        OSError: the system refuses, or something else is there.
    """
    try:
        handle = os.open(path, flags | os.O_CREAT | NO_WAIT | NO_LINK, 0o666)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise OSError(error.errno, "it is a link, and nothing is written elsewhere", str(path)) from None
        if error.errno == errno.ENXIO:
            raise OSError(error.errno, "it is a pipe or a socket", str(path)) from None
        raise
    try:
        _check_ordinary(os.fstat(handle))
    except ValueError as error:
        os.close(handle)
        raise OSError(errno.EINVAL, str(error), str(path)) from None
    return handle


def _names(folder: Path) -> Iterator[str]:
    with os.scandir(folder) as entries:
        for entry in entries:
            yield entry.name


def _inside(path: Path, folder: Path) -> Path:
    """The path without links; it is in the folder."""
    real, root = Path(os.path.realpath(path)), Path(os.path.realpath(folder))
    if not real.is_relative_to(root):
        raise ValueError(LEADS_OUT)
    return real


def _open_below(folder: Path, path: Path) -> int:
    """A handle on a file of a folder, opened part by part, none of which is a link by now."""
    root = Path(os.path.realpath(folder))
    if os.open not in os.supports_dir_fd:  # pragma: no cover - such as Windows
        return os.open(path, os.O_RDONLY | NO_WAIT)
    *parts, name = path.relative_to(root).parts
    place = os.open(root, FOLDER)
    try:
        for part in parts:
            below = os.open(part, FOLDER | NO_LINK, dir_fd=place)
            os.close(place)
            place = below
        return os.open(name, os.O_RDONLY | NO_WAIT | NO_LINK, dir_fd=place)
    finally:
        os.close(place)


def _check_ordinary(status: os.stat_result) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise ValueError("it is a folder")
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("it is no ordinary file, but a pipe, a socket or a device")
