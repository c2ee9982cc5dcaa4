"""Names that survive a power failure: of files that are created or renamed, and of new folders.

A name is a line of its folder, and on the disk once the folder is synced. The order is always the same: the bytes are
synced, the file is renamed, the folder is synced. New files and folders have the mode that the user's umask leaves.
"""

import contextlib
import errno
import os
import secrets
from pathlib import Path

from guideplug.files.opening import is_there, open_own

__all__ = ["append_line", "make_folder", "new_file_beside", "rename", "sync_folder"]

CANNOT_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EBADF}
"""Error numbers of systems that sync no folders."""
CREATE = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)


def new_file_beside(path: Path) -> tuple[int, Path]:
    """A new temporary file in the folder of ``path``, open for writing: its descriptor and its path."""
    while True:
        aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
        with contextlib.suppress(FileExistsError):
            return os.open(aside, CREATE, 0o666), aside


def rename(source: Path, target: Path) -> None:
    """Rename a file, whose bytes are synced, or a folder within its folder; the new name lasts."""
    source.replace(target)
    sync_folder(target.parent)


def make_folder(path: Path) -> None:
    """Make a folder, and those above it that are missing; their names last. One that is there is left alone."""
    new = [path, *path.parents]
    new = new[: next((number for number, folder in enumerate(new) if folder.is_dir()), len(new))]
    path.mkdir(parents=True, exist_ok=True)
    for folder in new:
        sync_folder(folder.parent)


def append_line(path: Path, line: str) -> None:
    """Add a line to a list; it lasts."""
    new = not is_there(path)
    with os.fdopen(open_own(path, os.O_WRONLY | os.O_APPEND), "ab", buffering=0) as file:
        file.write(os.fsencode(line))
        os.fsync(file.fileno())
    if new:
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Put the names in a folder on the disk, where the system can."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:  # a system that opens no folders, or a folder that may be written and not read
        return
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in CANNOT_SYNC:
            raise
    finally:
        os.close(handle)
