"""Bundled networks: entries of the store that travel in the folder of a run.

    FOLDER/store/IDENTITY/    an entry, as in the store: its record, its weights, its further files

Networks are looked up in the store first, and then in the bundle, which is never written to by those who read it. An
entry of a bundle is compared with its checksums before it is used.
"""

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import final

import attrs
from torch import Tensor

from guideplug.errors import StoreError
from guideplug.files.atomic import refused, whole_file
from guideplug.files.durable import make_folder
from guideplug.files.opening import is_there, open_file
from guideplug.files.reading import file_digest
from guideplug.store.store import RECORD, Entry, Store

__all__ = ["BUNDLE", "BundledStore", "with_bundle", "write_bundle"]

BUNDLE = "store"
"""The subfolder of a run's folder."""


@final
@attrs.frozen
class BundledStore(Store):
    """A store, and the entries of a bundle beneath it.

    Args:
        root: of the store.
        bundle: the folder of the bundle, which is only read.
    """

    bundle: Path = attrs.field(kw_only=True)

    def find(self, identity: str) -> Entry | None:
        """The entry of an identity, of the store or else of the bundle; None if neither has one.

        Raises:
            StoreError: the bundled entry is damaged, or a link leads out of the bundle.
        """
        own = super().find(identity)
        folder = self.bundle / identity
        if own is not None or not is_there(folder / RECORD):  # a killed process writes no record
            return own
        advice = f"restore it, or remove {folder} to train that network anew"
        try:
            entry = Store(self.bundle).find(identity)
            damage = "" if entry is None else entry.damage()
        except StoreError:
            damage = "its record cannot be read"
        if damage:
            raise StoreError(f"the bundled network {folder} is damaged ({damage}): {advice}")
        return entry

    def add(self, entry: Entry, name: str, tensors: Mapping[str, Tensor]) -> None:
        """Add a file to an entry; one of the bundle is copied into the store first."""
        folder = self.root / entry.identity
        if entry.folder != folder:
            with self.locked(entry.identity):
                if not is_there(folder):
                    _copy(entry, folder)
        super().add(attrs.evolve(entry, folder=folder), name, tensors)


def with_bundle(store: Store, folder: Path) -> Store:
    """The store with the bundle of a run's folder beneath it; the store itself where there is no bundle."""
    bundle = folder.absolute() / BUNDLE
    if not is_there(folder / "run.json") or not bundle.is_dir():
        return store
    return BundledStore(store.root, bundle=bundle)


def write_bundle(store: Store, identities: Iterable[str], folder: Path) -> None:
    """Copy entries into the bundle of a run's folder, except those that are there with the same record.

    Raises:
        StoreError: the store lost an entry, or it is damaged.
        WriteError: a file cannot be written.
    """
    for identity in identities:
        place = folder / BUNDLE / identity
        entry = store.find(identity)
        if entry is None:
            raise StoreError(f"the store lost the network {identity} before it was bundled: run again")
        if damage := entry.damage():
            raise StoreError(f"{entry.folder} is damaged ({damage}): remove it with {store.pruning(identity)}")
        if not is_there(place / RECORD) or file_digest(place / RECORD) != file_digest(entry.folder / RECORD):
            _copy(entry, place)


def _copy(entry: Entry, place: Path) -> None:
    """Copy the files of an entry, its record last."""
    try:
        make_folder(place)
        for name in (*entry.files, RECORD):
            with open_file(entry.folder / name, entry.folder) as source, whole_file(place / name) as copy:
                shutil.copyfileobj(source, copy)
    except OSError as error:
        raise refused(place, error) from None
