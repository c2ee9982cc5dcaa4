"""The store: trained networks under the identity of their recipe.

    <root>/<identity>/entry.json            recipe, facts, the SHA-256 of every other file and of itself
                      weights.safetensors   the weights
                      snapshot-*.safetensors  earlier moments and other averages, on request
    <root>/<identity>.partial/              a training in progress: its last state, resumable
    <root>/<identity>.lock                  lock of the process that makes the entry; released when it ends

An entry appears by one rename, whole or not at all. Files are checked against their checksums when read. Leftovers of a
killed process are removed by the next holder of the lock (`Store.tidy`).
"""

import contextlib
import json
import math
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import attrs
from platformdirs import user_cache_path
from torch import Tensor

from guideplug.errors import StoreError
from guideplug.files.atomic import clear_litter, refused, whole_file
from guideplug.files.digest import record_digest
from guideplug.files.durable import make_folder, rename
from guideplug.files.reading import file_digest, read_json_file
from guideplug.files.tensors import read_tensors, write_tensors

try:
    import fcntl
except ImportError:  # pragma: no cover - without flock, two trainings of one network are not excluded
    fcntl = None  # type: ignore[assignment]

__all__ = ["FURTHER", "Entry", "Store"]

WEIGHTS = "weights.safetensors"
RECORD = "entry.json"
FURTHER = "snapshot-*.safetensors"
"""Further files of an entry beside the weights."""
ASK_EVERY = 0.05
"""Seconds between attempts to lock an entry."""


@attrs.frozen
class Entry:
    """A finished entry: its folder, the hashed recipe, facts of the training, and the plugins that were loaded then."""

    folder: Path
    recipe: Mapping[str, Any]
    facts: Mapping[str, Any]
    files: Mapping[str, str]
    plugins: Sequence[Mapping[str, str]] = ()

    @property
    def identity(self) -> str:
        """The identity of its recipe."""
        return self.folder.name

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return sum(file.stat().st_size for file in self.folder.iterdir())

    def damage(self) -> str:
        """A short description of damage to its files; empty without damage."""
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


def _absolute(path: Path) -> Path:
    return path.absolute()


@attrs.frozen
class Store:
    """Trained networks in a folder."""

    root: Path = attrs.field(converter=_absolute)

    @classmethod
    def default(cls) -> "Store":
        """The folder of ``GUIDEPLUG_STORE``, else one in the platform's cache.

        Raises:
            StoreError: the folder cannot be created or written to.
        """
        chosen = os.environ.get("GUIDEPLUG_STORE")
        root = Path(chosen) if chosen else user_cache_path("guideplug") / "store"
        try:
            make_folder(root)
        except OSError as error:
            raise StoreError(f"the store {root} cannot be made ({error.strerror}): set GUIDEPLUG_STORE") from None
        if not os.access(root, os.W_OK):
            raise StoreError(f"the store {root} is not writable: set GUIDEPLUG_STORE to a folder of yours")
        return cls(root)

    def entries(self) -> Iterator[Entry | tuple[Path, str]]:
        """All entries by name; an entry with an unreadable record as its folder and the reason."""
        for folder in sorted(self.root.glob("[0-9a-f]" * 64)):
            try:
                yield self._entry(folder)
            except StoreError as error:
                yield folder, str(error)

    def partial(self) -> list[Path]:
        """Folders of unfinished trainings."""
        return sorted(self.root.glob("*.partial"))

    def find(self, identity: str) -> Entry | None:
        """The entry of an identity; None if there is none.

        Raises:
            StoreError: the record of the entry cannot be read.
        """
        folder = self.root / identity
        return self._entry(folder) if folder.is_dir() else None

    def _entry(self, folder: Path) -> Entry:
        path = folder / RECORD
        try:
            record = read_json_file(path)
            if record.pop("sha256") != record_digest(record):
                raise ValueError("it has changed since it was written")
            recipe, facts, files = (dict(record[key]) for key in ("recipe", "facts", "files"))
            numbers = [facts.get(key) for key in ("made", "seconds", "iterations")]
            if any("/" in name for name in files) or not all(one is None or math.isfinite(one) for one in numbers):
                raise ValueError("it is of another form")
            plugins = [dict(plugin) for plugin in record.get("plugins", ())]
            return Entry(folder, recipe, facts, files, plugins)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError):
            raise StoreError(f"{path} cannot be read: remove the entry with guideplug store prune --damaged") from None

    @contextlib.contextmanager
    def locked(self, identity: str, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
        """Lock the entry, after waiting for other holders. Released at the end of the block, or of the process.

        Args:
            identity: the identity of the entry.
            waiting: called repeatedly while another process holds the lock; an exception from it ends the waiting.
        """
        path = self.root / f"{identity}.lock"
        while True:
            try:
                make_folder(self.root)
                file = path.open("w")
            except OSError as error:
                raise refused(path, error) from None
            with file:
                if fcntl is not None and not _held(file):
                    waiting()
                elif fcntl is None or (path.exists() and os.path.samestat(path.stat(), os.fstat(file.fileno()))):
                    yield
                    return
                else:
                    continue  # the lock file was removed meanwhile: lock its successor
            time.sleep(ASK_EVERY)

    def tidy(self, identity: str) -> None:
        """Remove leftovers of killed processes, half written or half removed; only for the holder of the lock."""
        folder, partial = self.root / identity, self.root / f"{identity}.partial"
        for left in (folder, partial):
            shutil.rmtree(_aside(left), ignore_errors=True)
            clear_litter(left)
        with contextlib.suppress(StoreError):  # an unreadable entry has no known files
            entry = self.find(identity)
            if entry is not None:
                for file in folder.iterdir():
                    if file.name != RECORD and file.name not in entry.files:
                        file.unlink(missing_ok=True)
                shutil.rmtree(partial, ignore_errors=True)

    def workplace(self, identity: str) -> Path:
        """The folder of a training in progress, with the files of earlier attempts."""
        folder = self.root / f"{identity}.partial"
        try:
            make_folder(folder)
        except OSError as error:
            raise refused(folder, error) from None
        return folder

    def finish(
        self,
        started: str,
        identity: str,
        weights: Mapping[str, Tensor],
        recipe: Mapping[str, Any],
        facts: Mapping[str, Any],
        plugins: Sequence[Mapping[str, str]] = (),
    ) -> Entry:
        """Turn the workplace of ``started`` into the entry ``identity``, in one rename.

        Snapshots in the workplace become part of the entry; the state of the training does not. The state is removed
        after the entry exists, so that no interruption in between repeats the training.
        """
        folder, target = self.workplace(started), self.root / identity
        clear_litter(folder)
        write_tensors(folder / WEIGHTS, weights)
        kept = [WEIGHTS, *(file.name for file in sorted(folder.glob(FURTHER)))]
        files = {name: file_digest(folder / name) for name in kept}
        self._record(Entry(folder, recipe, {**facts, "made": time.time()}, files, plugins))
        with contextlib.nullcontext() if identity == started else self.locked(identity):
            try:
                if target.exists():
                    shutil.rmtree(_aside(target), ignore_errors=True)
                    target.replace(_aside(target))
                rename(folder, target)
            except OSError as error:
                raise refused(target, error) from None
            self.tidy(identity)
        return self._entry(target)

    def add(self, entry: Entry, name: str, tensors: Mapping[str, Tensor]) -> None:
        """Add a file of tensors to a finished entry; checksums of the other files are unchanged."""
        with self.locked(entry.identity):
            self.tidy(entry.identity)
            write_tensors(entry.folder / name, tensors)
            now = self._entry(entry.folder)  # another process may have added files meanwhile
            self._record(attrs.evolve(now, files={**now.files, name: file_digest(now.folder / name)}))

    def _record(self, entry: Entry) -> None:
        record: dict[str, Any] = {"recipe": entry.recipe, "facts": dict(entry.facts), "files": dict(entry.files)}
        record["plugins"] = list(entry.plugins)
        with whole_file(entry.folder / RECORD) as file:
            file.write(json.dumps({**record, "sha256": record_digest(record)}, indent=1).encode())

    def in_use(self, identity: str) -> bool:
        """Whether a process holds the lock of the entry."""
        path = self.root / f"{identity}.lock"
        if fcntl is None or not path.exists():
            return False
        with path.open("w") as file:
            return not _held(file)

    def remove(self, identity: str) -> None:
        """Remove an entry, and the files of an unfinished training of it."""
        for folder in (self.root / identity, self.root / f"{identity}.partial"):
            shutil.rmtree(_aside(folder), ignore_errors=True)
            if folder.is_dir():
                try:
                    folder.replace(_aside(folder))
                    shutil.rmtree(_aside(folder))
                except OSError as error:
                    raise refused(folder, error) from None

    def half_removed(self) -> list[str]:
        """Identities of entries whose removal was interrupted."""
        names = [path.name.removeprefix(".") for path in self.root.glob(".*.removed")]
        return sorted({name.removesuffix(".removed").removesuffix(".partial") for name in names})


def _aside(folder: Path) -> Path:
    """The path to which a folder is renamed before its removal."""
    return folder.with_name(f".{folder.name}.removed")


def _held(file: IO[str]) -> bool:
    """Whether the lock of a file was acquired, without waiting."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise StoreError(
            f"{file.name} cannot be locked ({error.strerror}): set GUIDEPLUG_STORE to a folder on a disk that has locks"
        ) from None
    return True
