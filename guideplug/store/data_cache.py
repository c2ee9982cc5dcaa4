"""Prepared data in the store: files that are computed from a user's data once, under a key of what decides them.

    <root>/data/<key>/            the files, complete or not there
    <root>/data/<key>.partial/    files in progress; removed before they are begun anew

One process prepares a key; others wait for it. A key is a hash of the content and of all options, so that nothing is
ever out of date. The folder may be removed at any time between commands.
"""

import shutil
from collections.abc import Callable
from pathlib import Path

from guideplug.files.atomic import refused
from guideplug.files.durable import make_folder, rename
from guideplug.files.opening import is_there
from guideplug.store.store import Store

__all__ = ["prepared_data"]


def prepared_data(key: str, prepare: Callable[[Path], None]) -> Path:
    """The folder of the files of a key, prepared if it is not there.

    Args:
        key: a hash of what decides the files, 64 hexadecimal digits.
        prepare: writes the files into an empty folder; what it raises leaves nothing behind.

    Raises:
        StoreError: the store cannot be used.
        WriteError: a file cannot be written.
    """
    store = Store(Store.default().root / "data")
    folder, partial = store.root / key, store.root / f"{key}.partial"
    if is_there(folder):
        return folder
    with store.locked(key):
        if is_there(folder):
            return folder
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
