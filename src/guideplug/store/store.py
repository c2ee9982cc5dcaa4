"""The store: trained networks under the identity of their recipe.

    <root>/<identity>/entry.json            recipe, facts, the SHA-256 of every other file, and its own
                      weights.safetensors   what the recipe made
                      snapshot-*.safetensors  earlier moments and other averages, where asked for
    <root>/<identity>.partial/              a training in progress: its last state, resumable
    <root>/<identity>.lock                  held while somebody makes the entry; freed when its holder ends, however

An entry appears by one rename, whole or not at all. Whatever is read is checked against its checksum.
"""

import contextlib
import hashlib
import json
import math
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
from platformdirs import user_cache_path
from torch import Tensor

from guideplug.errors import DamagedFile, StoreError
from guideplug.files import check_unchanged, note_checksums, whole_file
from guideplug.reading import file_digest, read_json_file
from guideplug.tensors import read_tensors, write_tensors

try:
    import fcntl
except ImportError:  # pragma: no cover - where there is no flock, two trainings of one network are not kept apart
    fcntl = None  # type: ignore[assignment]

__all__ = ["Entry", "Store"]

WEIGHTS = "weights.safetensors"


@attrs.frozen
class Entry:
    """A finished entry: its folder, the recipe as it was hashed, and facts of its making."""

    folder: Path
    recipe: Mapping[str, Any]
    facts: Mapping[str, Any]
    files: Mapping[str, str]

    @property
    def identity(self) -> str:
        """The entry's address."""
        return self.folder.name

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return sum(file.stat().st_size for file in self.folder.iterdir())

    def damage(self) -> str:
        """What is wrong with its files, in a few words, or nothing."""
        for name, digest in self.files.items():
            path = self.folder / name
            if not path.is_file():
                return f"{name} is missing"
            if file_digest(path) != digest:
                return f"{name} has changed since it was written"
        return ""

    def tensors(self, name: str = WEIGHTS) -> dict[str, Tensor]:
        """The tensors of one of its files.

        Raises:
            StoreError: the file is missing or damaged.
        """
        path = self.folder / name
        if name not in self.files or not path.is_file() or file_digest(path) != self.files[name]:
            raise StoreError(f"{path} is damaged or missing: remove it with guideplug store prune --damaged")
        return read_tensors(path)[0]


@attrs.frozen
class Store:
    """Trained networks in a folder."""

    root: Path

    @classmethod
    def default(cls) -> "Store":
        """The folder of ``GUIDEPLUG_STORE``, else one in the platform's cache.

        Raises:
            StoreError: it cannot be made or written to.
        """
        chosen = os.environ.get("GUIDEPLUG_STORE")
        root = Path(chosen) if chosen else user_cache_path("guideplug") / "store"
        try:
            root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"the store {root} cannot be made ({error.strerror}): set GUIDEPLUG_STORE") from None
        if not os.access(root, os.W_OK):
            raise StoreError(f"the store {root} is not writable: set GUIDEPLUG_STORE to a folder of yours")
        return cls(root)

    def entries(self) -> Iterator[Entry | tuple[Path, str]]:
        """All entries by name; one whose record cannot be read comes as its folder and the reason."""
        for folder in sorted(self.root.glob("[0-9a-f]" * 64)):
            try:
                yield self._entry(folder)
            except StoreError as error:
                yield folder, str(error)

    def partial(self) -> list[Path]:
        """Folders of trainings that are not finished."""
        return sorted(self.root.glob("*.partial"))

    def find(self, identity: str) -> Entry | None:
        """The entry of an identity, if it is there.

        Raises:
            StoreError: it is there and its record cannot be read.
        """
        folder = self.root / identity
        return self._entry(folder) if folder.is_dir() else None

    def _entry(self, folder: Path) -> Entry:
        path = folder / "entry.json"
        try:
            record = read_json_file(path)
            if record.pop("sha256") != _digest(record):
                raise ValueError("it has changed since it was written")
            recipe, facts, files = (dict(record[key]) for key in ("recipe", "facts", "files"))
            numbers = [facts.get(key) for key in ("made", "seconds", "iterations")]
            if any("/" in name for name in files) or not all(one is None or math.isfinite(one) for one in numbers):
                raise ValueError("it is of another form")
            return Entry(folder, recipe, facts, files)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError):
            raise StoreError(f"{path} cannot be read: remove the entry with guideplug store prune --damaged") from None

    @contextlib.contextmanager
    def locked(self, identity: str) -> Iterator[None]:
        """Hold the entry: who else wants it waits. Freed at the end of the block, or of the process."""
        self.root.mkdir(parents=True, exist_ok=True)
        path = self.root / f"{identity}.lock"
        while True:
            with path.open("w") as file:
                if fcntl is not None:
                    fcntl.flock(file, fcntl.LOCK_EX)
                    if not path.exists() or not os.path.samestat(path.stat(), os.fstat(file.fileno())):
                        continue  # the file that was waited for has been removed meanwhile: wait for its successor
                yield
                return

    def workplace(self, identity: str) -> Path:
        """The folder of a training in progress; what an earlier one left there is still there."""
        folder = self.root / f"{identity}.partial"
        folder.mkdir(parents=True, exist_ok=True)
        note_checksums(folder)
        return folder

    def finish(
        self,
        started: str,
        identity: str,
        weights: Mapping[str, Tensor],
        recipe: Mapping[str, Any],
        facts: Mapping[str, Any],
    ) -> Entry:
        """Turn the workplace of ``started`` into the entry ``identity``, in one rename.

        Snapshots that lie in the workplace come along; a state to resume from does not.

        Raises:
            StoreError: a snapshot is not what was written.
        """
        folder, target = self.workplace(started), self.root / identity
        write_tensors(folder / WEIGHTS, weights)
        try:
            for file in folder.glob("snapshot-*.safetensors"):
                check_unchanged(file)
        except DamagedFile as error:
            raise StoreError(f"{error}: guideplug store prune --partial removes all of that training") from None
        for left in folder.iterdir():
            if left.name != WEIGHTS and not left.name.startswith("snapshot-"):
                left.unlink()
        files = {file.name: file_digest(file) for file in sorted(folder.glob("*.safetensors"))}
        self._record(folder, recipe, {**facts, "made": time.time()}, files)
        before = target.with_name(f".{identity}.removed")
        if target.exists():
            shutil.rmtree(before, ignore_errors=True)
            target.replace(before)
        folder.replace(target)
        shutil.rmtree(before, ignore_errors=True)
        return self._entry(target)

    def add(self, entry: Entry, name: str, tensors: Mapping[str, Tensor]) -> None:
        """Add a file of tensors to a finished entry; the checksums of the others stay as they are."""
        with self.locked(entry.identity):
            write_tensors(entry.folder / name, tensors)
            now = self._entry(entry.folder)  # somebody may have added to it since it was found
            self._record(now.folder, now.recipe, now.facts, {**now.files, name: file_digest(now.folder / name)})

    def _record(
        self, folder: Path, recipe: Mapping[str, Any], facts: Mapping[str, Any], files: Mapping[str, str]
    ) -> None:
        with whole_file(folder / "entry.json") as file:
            record = {"recipe": recipe, "facts": dict(facts), "files": dict(files)}
            file.write(json.dumps({**record, "sha256": _digest(record)}, indent=1).encode())

    def in_use(self, identity: str) -> bool:
        """Whether somebody holds the entry, to make it or to add to it."""
        path = self.root / f"{identity}.lock"
        if fcntl is None or not path.exists():
            return False
        with path.open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    def remove(self, identity: str) -> None:
        """Remove an entry and what an unfinished training of it left."""
        for folder in (self.root / identity, self.root / f"{identity}.partial"):
            if folder.is_dir():
                aside = folder.with_name(f".{folder.name}.removed")
                shutil.rmtree(aside, ignore_errors=True)
                folder.replace(aside)
                shutil.rmtree(aside)


def _digest(record: Mapping[str, Any]) -> str:
    """The SHA-256 of a record, however it is laid out."""
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()
