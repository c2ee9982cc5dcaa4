"""Atomic files, and folders with checksums in which one process works at a time.

    checksums.sha256    "SHA-256  path", a line per file, in the format of sha256sum

While a process works in a folder, the checksum of a file is recorded before the file appears, so that the list stays
consistent if the process is killed in between: a file may have any of the checksums recorded for it. When the work
ends, also by an error, the list is rewritten; damaged files stay refused. Logs (``.jsonl``) grow, and are
recorded only then.
"""

import contextlib
import os
import re
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from guideplug.errors import DamagedFile, UsageError, WriteError
from guideplug.files.display import display_path
from guideplug.files.durable import append_line, make_folder, new_file_beside, rename
from guideplug.files.opening import MOST_EVENTS, is_there, list_folder, read_bytes, walk_folder
from guideplug.files.reading import file_digest

try:
    import fcntl
except ImportError:  # pragma: no cover - without flock, two runs in one folder are not excluded
    fcntl = None  # type: ignore[assignment]

__all__ = [
    "CHECKSUMS",
    "LITTER",
    "adding_to",
    "at_work_in",
    "changed_files",
    "check_unchanged",
    "clear_litter",
    "cleared",
    "drawn_whole",
    "note_checksums",
    "refused",
    "whole_file",
]

CHECKSUMS = "checksums.sha256"
GROWS = ".jsonl"
TEXTS = {GROWS, ".json", ".toml"}
MOST_NOTED = 64 * 1024**2
DEPTH = 8
"""The number of parent folders in which the list is searched."""


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write that appears under ``path`` complete or not at all: a temporary file, synced and renamed to last.

    Raises:
        WriteError: the system refuses to write it; the message has the reason.
    """
    try:
        handle, aside = new_file_beside(path)
    except OSError as error:
        raise refused(path, error) from None
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        _note(aside, path)
        rename(aside, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            aside.unlink()
        if isinstance(error, OSError):
            raise refused(path, error) from None
        raise


def refused(path: Path, error: OSError) -> WriteError:
    """The error for a file that the system refuses to write."""
    return WriteError(f"{path} cannot be written ({error.strerror or error}); what was written before is whole")


@contextlib.contextmanager
def drawn_whole(path: Path) -> Iterator[Path]:
    """A temporary path to draw to, renamed to ``path`` when the block ends, unless it raises or draws nothing.

    Raises:
        WriteError: the system refuses to write it; the message has the reason.
    """
    aside = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        yield aside
        if aside.is_file():
            with aside.open("rb") as file:
                os.fsync(file.fileno())
            _note(aside, path)
            rename(aside, path)
    except OSError as error:
        raise refused(path, error) from None
    finally:
        with contextlib.suppress(OSError):
            aside.unlink()


LITTER = re.compile(r"\.\d+\..+|\..+\.\w{8}\.tmp")
"""Names of temporary files of `whole_file` and of figures' writers."""


def clear_litter(folder: Path) -> None:
    """Remove temporary files of killed writers in a folder; only for its exclusive writer."""
    for path in list_folder(folder):
        if LITTER.fullmatch(path.name) and stat.S_ISREG(path.lstat().st_mode):
            path.unlink(missing_ok=True)


def cleared(folder: Path, parts: Sequence[str] = ()) -> None:
    """Prepare a folder for further work: create its subfolders, and remove temporary files of killed writers.

    Raises:
        WriteError: the system refuses the change.
    """
    try:
        clear_litter(folder)
        for part in parts:
            make_folder(folder / part)
            clear_litter(folder / part)
    except OSError as error:
        raise refused(folder, error) from None
    except ValueError as error:
        raise WriteError(f"{folder} cannot be worked in: {error}") from None


# One at a time


@contextlib.contextmanager
def at_work_in(folder: Path) -> Iterator[None]:
    """Lock a folder, and record the checksums of files written in it.

    Raises:
        UsageError: another process holds the lock.
    """
    with _held(folder):
        note_checksums(folder)
        try:
            yield
        finally:
            with contextlib.suppress(OSError, ValueError, WriteError):  # the existing list stays valid
                noted = _noted(folder)
                files = {_name(folder, file): file for file in _files(folder)}
                listed = {name: file for name, file in files.items() if name in noted or _is_small(file)}
                _write(folder, {name: _settled(file, noted.get(name)) for name, file in listed.items()})


@contextlib.contextmanager
def adding_to(folder: Path) -> Iterator[None]:
    """Add files to a folder with a list, which is rewritten, by the process that works there if there is one."""
    with contextlib.ExitStack() as stack:
        if is_there(folder / CHECKSUMS):
            with contextlib.suppress(UsageError, WriteError, OSError, ValueError):
                stack.enter_context(at_work_in(folder))
                clear_litter(folder)
        yield


@contextlib.contextmanager
def _held(folder: Path) -> Iterator[None]:
    """The lock on the folder itself: without a lock file, released by the system when its process ends."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        if fcntl is not None:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UsageError(
                    f"{display_path(folder)} is in use: another process is at work in it; wait for it, or give "
                    "another folder"
                ) from None
            except OSError:
                pass  # some network file systems lock no folders; docs/durability.md says so
        yield
    finally:
        os.close(handle)


# Checksums


def note_checksums(folder: Path) -> None:
    """Record the checksums of files written in a folder from now on, in addition to those recorded."""
    noted = {name: sums for name, sums in _noted(folder).items() if not name.endswith(GROWS)}
    _write(folder, noted)


def check_unchanged(
    path: Path, advice: str = "restore it, or make it anew in another folder", digest: str | None = None
) -> None:
    """Compare a file with its checksum in the list of its folder; a file without a checksum passes.

    Args:
        path: the file.
        advice: the advice in the message.
        digest: the SHA-256 of its bytes, if they have been read.

    Raises:
        DamagedFile: the checksum differs.
    """
    root = _root(path)
    sums = [] if root is None else _noted(root).get(_name(root, path), [])
    try:
        if not sums or (path.suffix in TEXTS and path.stat().st_size > MOST_EVENTS):
            return  # who reads a text refuses such a large one
        if (digest or file_digest(path)) in sums:
            return
    except (OSError, ValueError):
        return  # who reads it learns why it cannot be read
    raise DamagedFile(f"{path} is damaged: it is not what was written, going by {CHECKSUMS}; {advice}")


def changed_files(folder: Path) -> list[str]:
    """The names of files in a folder's list that are missing, or are not what was written."""
    return [
        name
        for name, sums in _noted(folder).items()
        if not (folder / name).is_file() or file_digest(folder / name) not in sums
    ]


def _note(aside: Path, path: Path) -> None:
    """Record the checksum of a temporary file before it is renamed to ``path``."""
    root = _root(path)
    if root is None or path.name == CHECKSUMS or path.suffix == GROWS:
        return
    append_line(root / CHECKSUMS, f"\n{file_digest(aside)}  {_name(root, path)}\n")  # a torn line before it stays one


def _root(path: Path) -> Path | None:
    """The nearest parent folder with a list."""
    above = path.absolute().parents[:DEPTH]
    return next((folder for folder in above if is_there(folder / CHECKSUMS)), None)


def _name(root: Path, path: Path) -> str:
    return path.absolute().relative_to(root.absolute()).as_posix()


def _noted(folder: Path) -> dict[str, list[str]]:
    names_of: dict[str, list[str]] = {}
    try:
        text = read_bytes(folder / CHECKSUMS, MOST_NOTED, folder).decode(errors="surrogateescape")
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise DamagedFile(f"{folder / CHECKSUMS} cannot be read ({reason}): remove it, or use another folder") from None
    for line in text.split("\n"):
        digest, _, name = line.partition("  ")
        if len(digest) == 64 and name:
            names_of.setdefault(name, []).append(digest)
    return names_of


def _is_small(file: Path) -> bool:
    """Whether a file is recorded that was not written as a whole, such as a log or one of an observer."""
    return file.lstat().st_size <= MOST_EVENTS


def _settled(file: Path, noted: list[str] | None) -> list[str]:
    """The checksum of a file, or those recorded for it if it differs from them: a damaged file stays refused."""
    if noted is not None and len(noted) == 1 and file.suffix != GROWS:
        return noted  # in either case
    digest = file_digest(file)
    return [digest] if noted is None or digest in noted or file.suffix == GROWS else noted


def _write(folder: Path, noted: dict[str, list[str]]) -> None:
    lines = [f"{digest}  {name}\n" for name, digests in sorted(noted.items()) for digest in digests]
    with whole_file(folder / CHECKSUMS) as file:
        file.write(os.fsencode("".join(lines)))


def _files(folder: Path) -> list[Path]:
    """The files of a folder, except the list itself, hidden files, and those whose names do not fit into a line."""
    return [
        file
        for file in walk_folder(folder)
        if stat.S_ISREG(file.lstat().st_mode)
        and file.name != CHECKSUMS
        and not file.name.startswith(".")
        and "\n" not in _name(folder, file)
    ]
