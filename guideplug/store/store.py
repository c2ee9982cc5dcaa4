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
import stat
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
from platformdirs import user_cache_path
from torch import Tensor

from guideplug.config import command_line
from guideplug.errors import StoreError
from guideplug.files.atomic import clear_litter, refused, whole_file
from guideplug.files.digest import record_digest
from guideplug.files.durable import make_folder, rename
from guideplug.files.opening import check_inside, is_there, list_folder, open_own, walk_folder
from guideplug.files.reading import file_digest, read_json_file
from guideplug.files.tensors import read_tensors, write_tensors

try:
    import fcntl
except ImportError:  # pragma: no cover - without flock, two trainings of one network are not excluded
    fcntl = None  # type: ignore[assignment]

__all__ = ["FURTHER", "SHOWN", "Entry", "Store"]

WEIGHTS = "weights.safetensors"
RECORD = "entry.json"
FURTHER = "snapshot-*.safetensors"
"""Further files of an entry beside the weights."""
SHOWN = 12
"""How many characters of an identity are shown, and name it in commands."""
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
        return sum(file.lstat().st_size for file in list_folder(self.folder))

    def damage(self) -> str:
        """A short description of damage to its files; empty without damage."""
        for name, digest in self.files.items():
            try:
                if file_digest(self.folder / name, self.folder) != digest:
                    return f"{name} has changed since it was written"
            except FileNotFoundError:
                return f"{name} is missing"
            except (OSError, ValueError) as error:
                return f"{name} cannot be read ({error})"
        return ""

    def tensors(self, name: str = WEIGHTS) -> dict[str, Tensor]:
        """The tensors of one of its files.

        Raises:
            StoreError: the file is missing or damaged.
        """
        path = self.folder / name
        try:
            whole = name in self.files and file_digest(path, self.folder) == self.files[name]
        except (OSError, ValueError):
            whole = False
        if not whole:
            removal = Store(self.folder.parent).pruning(self.identity)
            raise StoreError(f"{path} is damaged or missing: remove it with {removal}")
        return read_tensors(path, self.folder)[0]


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
        root = _default_root()
        try:
            make_folder(root)
        except OSError as error:
            raise StoreError(f"the store {root} cannot be made ({error.strerror}): set GUIDEPLUG_STORE") from None
        if not os.access(root, os.W_OK):
            raise StoreError(f"the store {root} is not writable: set GUIDEPLUG_STORE to a folder of yours")
        return cls(root)

    def entries(self) -> Iterator[Entry | tuple[Path, str]]:
        """All entries by name; an entry with an unreadable record as its folder and the reason."""
        for folder in self._listed("[0-9a-f]" * 64):
            try:
                yield self._entry(folder)
            except StoreError as error:
                yield folder, str(error)

    def partial(self) -> list[Path]:
        """Folders of unfinished trainings."""
        return self._listed("*.partial")

    def find(self, identity: str) -> Entry | None:
        """The entry of an identity; None if there is none.

        Raises:
            StoreError: the record of the entry cannot be read.
        """
        folder = self.root / identity
        return self._entry(folder) if is_there(folder) else None

    def _entry(self, folder: Path) -> Entry:
        path = folder / RECORD
        try:
            record = read_json_file(path, self.root)
            if record.pop("sha256") != record_digest(record):
                raise ValueError("it has changed since it was written")
            recipe, facts, files = (dict(record[key]) for key in ("recipe", "facts", "files"))
            numbers = [facts.get(key) for key in ("made", "seconds", "iterations")]
            if any("/" in name for name in files) or not all(one is None or math.isfinite(one) for one in numbers):
                raise ValueError("it is of another form")
            plugins = [dict(plugin) for plugin in record.get("plugins", ())]
            return Entry(folder, recipe, facts, files, plugins)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError):
            raise StoreError(f"{path} cannot be read: remove the entry with {self.pruning(folder.name)}") from None

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
                handle = open_own(path, os.O_RDWR)
            except OSError as error:
                raise refused(path, error) from None
            with os.fdopen(handle):
                if fcntl is not None and not _held(handle, path):
                    waiting()
                elif fcntl is None or (is_there(path) and os.path.samestat(path.lstat(), os.fstat(handle))):
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
            with contextlib.suppress(ValueError):  # a link that leads out has no litter of ours
                check_inside(left, self.root)
                clear_litter(left)
        with contextlib.suppress(StoreError):  # an unreadable entry has no known files
            entry = self._entry(folder) if is_there(folder) else None
            if entry is not None:
                for file in list_folder(folder):
                    if file.name != RECORD and file.name not in entry.files:
                        file.unlink(missing_ok=True)
                shutil.rmtree(partial, ignore_errors=True)

    def workplace(self, identity: str) -> Path:
        """The folder of a training in progress, with the files of earlier attempts."""
        folder = self.root / f"{identity}.partial"
        try:
            check_inside(folder, self.root)
            make_folder(folder)
        except ValueError as error:
            raise StoreError(f"{folder} cannot be used: {error}") from None
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
        kept = [WEIGHTS, *(file.name for file in list_folder(folder, FURTHER))]
        files = {name: file_digest(folder / name) for name in kept}
        self._record(Entry(folder, recipe, {**facts, "made": time.time()}, files, plugins))
        with contextlib.nullcontext() if identity == started else self.locked(identity):
            try:
                if is_there(target):
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

    def size(self, identity: str) -> int:
        """Bytes on disk of an entry, and of an unfinished training of it."""
        folders = (self.root / identity, self.root / f"{identity}.partial")
        try:
            return sum(file.lstat().st_size for folder in folders for file in walk_folder(folder))
        except (OSError, ValueError) as error:
            raise StoreError(f"the entry {identity} of the store {self.root} cannot be listed ({error})") from None

    def in_use(self, identity: str) -> bool:
        """Whether a process holds the lock of the entry."""
        path = self.root / f"{identity}.lock"
        if fcntl is None or not is_there(path):
            return False
        try:
            handle = open_own(path, os.O_RDWR)
        except OSError as error:
            raise refused(path, error) from None
        with os.fdopen(handle):
            return not _held(handle, path)

    def remove(self, identity: str) -> None:
        """Remove an entry, and the files of an unfinished training of it."""
        _remove(self.root / identity)
        self.remove_unfinished(identity)

    def remove_unfinished(self, identity: str) -> None:
        """Remove the files of an unfinished training."""
        _remove(self.root / f"{identity}.partial")

    def pruning(self, identity: str) -> str:
        """The command that removes an entry, or an unfinished training of it."""
        return command_line("store", "prune", identity[:SHOWN], store=self.elsewhere)

    @property
    def elsewhere(self) -> Path | None:
        """The folder, where commands use another one by themselves."""
        return None if self.root.absolute() == _default_root().absolute() else self.root

    def _listed(self, pattern: str) -> list[Path]:
        try:
            return list_folder(self.root, pattern)
        except (OSError, ValueError) as error:
            raise StoreError(f"the store {self.root} cannot be listed ({error}): set GUIDEPLUG_STORE") from None

    def half_removed(self) -> list[str]:
        """Identities of entries whose removal was interrupted."""
        names = [path.name.removeprefix(".") for path in self._listed(".*.removed")]
        return sorted({name.removesuffix(".removed").removesuffix(".partial") for name in names})


def _default_root() -> Path:
    """The folder of ``GUIDEPLUG_STORE``, else one in the platform's cache."""
    chosen = os.environ.get("GUIDEPLUG_STORE")
    return Path(chosen) if chosen else user_cache_path("guideplug") / "store"


def _remove(folder: Path) -> None:
    shutil.rmtree(_aside(folder), ignore_errors=True)
    if is_there(folder):
        try:
            if not stat.S_ISDIR(folder.lstat().st_mode):  # not ours, nor what a link leads to
                folder.unlink()
                return
            folder.replace(_aside(folder))
            shutil.rmtree(_aside(folder))
        except OSError as error:
            raise refused(folder, error) from None


def _aside(folder: Path) -> Path:
    """The path to which a folder is renamed before its removal."""
    return folder.with_name(f".{folder.name}.removed")


def _held(handle: int, path: Path) -> bool:
    """Whether the lock of a file was acquired, without waiting."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise StoreError(
            f"{path} cannot be locked ({error.strerror}): set GUIDEPLUG_STORE to a folder on a disk that has locks"
        ) from None
    return True
