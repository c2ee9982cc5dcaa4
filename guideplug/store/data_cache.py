"""Prepared data in the store: files that are computed from a user's data once, under a key of what decides them.

    <root>/data/<key>/            the files, complete or not there
    <root>/data/<key>.partial/    files in progress; removed before they are begun anew

One process prepares a key; others wait for it. A key is a hash of the content and of all options, so that nothing is
ever out of date. Who uses a folder holds a shared lock on it until its process ends, and ``guideplug store prune``
leaves such a folder. Otherwise the folder may be removed at any time.
"""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import final

from attrs import frozen

from guideplug.errors import StoreError
from guideplug.files.atomic import refused
from guideplug.files.durable import make_folder, rename
from guideplug.files.opening import is_there
from guideplug.store.store import Store

try:
    import fcntl
except ImportError:  # pragma: no cover - without flock, data in use are not told from others
    fcntl = None  # type: ignore[assignment]

__all__ = ["DataCache", "prepared_data"]

_used: dict[Path, int] = {}
"""A handle with a shared lock per folder that this process uses."""


@final
@frozen
class DataCache(Store):
    """The prepared data of a store: folders under keys, which are locked, measured and removed as its networks are."""

    @classmethod
    def default(cls) -> "DataCache":
        """The prepared data of the default store."""
        return cls(Store.default().root / "data")

    def prepared(self) -> list[str]:
        """The keys of all data that are complete."""
        return [folder.name for folder in self._listed("[0-9a-f]" * 64)]

    def made(self, key: str) -> float:
        """When data were prepared, in seconds since 1970."""
        return (self.root / key).lstat().st_mtime

    def in_use(self, identity: str) -> bool:
        """Whether a process prepares data, or uses them."""
        if super().in_use(identity):
            return True
        handle = _opened(self.root / identity)
        if handle is None:
            return False
        try:
            return not _locked(handle, exclusive=True)
        finally:
            os.close(handle)

    def remove(self, identity: str) -> None:
        """Remove data, and what a killed process left of their preparation.

        Raises:
            StoreError: a process uses them.
        """
        handle = _opened(self.root / identity)
        try:
            if handle is not None and not _locked(handle, exclusive=True):
                raise StoreError(f"{self.root / identity} is in use: wait for the run that uses it")
            super().remove(identity)
        finally:
            if handle is not None:
                os.close(handle)


def prepared_data(key: str, prepare: Callable[[Path], None]) -> Path:
    """The folder of the files of a key, prepared if it is not there, and kept until the process ends.

    Args:
        key: a hash of what decides the files, 64 hexadecimal digits.
        prepare: writes the files into an empty folder; what it raises leaves nothing behind.

    Raises:
        StoreError: the store cannot be used.
        WriteError: a file cannot be written.
    """
    cache = DataCache.default()
    folder, partial = cache.root / key, cache.root / f"{key}.partial"
    while not _use(folder):
        with cache.locked(key):
            if is_there(folder):
                continue
            shutil.rmtree(partial, ignore_errors=True)  # of a killed process
            try:
                make_folder(partial)
                prepare(partial)
                rename(partial, folder)
            except OSError as error:
                raise refused(partial, error) from None
            finally:
                shutil.rmtree(partial, ignore_errors=True)
    return folder


def _use(folder: Path) -> bool:
    """Hold a folder until the process ends; False if it is not there, or was removed meanwhile."""
    handle = _opened(folder)
    if handle is None:
        return False
    _locked(handle, exclusive=False)
    if not is_there(folder) or not os.path.samestat(folder.lstat(), os.fstat(handle)):
        os.close(handle)
        return False
    before = _used.pop(folder, None)
    if before is not None:
        os.close(before)
    _used[folder] = handle
    return True


def _opened(folder: Path) -> int | None:
    """A handle on a folder; None if it is not there."""
    try:
        return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreError(f"{folder} cannot be used ({error.strerror}): remove it") from None


def _locked(handle: int, *, exclusive: bool) -> bool:
    """Whether a lock was acquired: an exclusive one at once or not, a shared one after waiting.

    Where a file system locks no folders, it always is.
    """
    if fcntl is not None:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB if exclusive else fcntl.LOCK_SH)
        except BlockingIOError:
            return False
        except OSError:
            pass
    return True
