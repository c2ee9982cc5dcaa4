"""Files that appear whole or not at all, and folders that one process works in and that know their checksums.

    checksums.sha256    "SHA-256  path", a line for each file, as sha256sum writes and checks them

While a process is at work in a folder, the checksum of a file is noted before the file appears, so that one that was
killed between the two leaves nothing that contradicts itself: a file may have any of the checksums noted for it. When
the work ends, however it ends, the list is written anew; what is not what was written stays refused. Logs (``.jsonl``)
grow, and are noted then only.
"""

import contextlib
import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from guideplug.errors import DamagedFile, UsageError, WriteError
from guideplug.files.reading import file_digest

try:
    import fcntl
except ImportError:  # pragma: no cover - where there is no flock, two runs into one folder are not kept apart
    fcntl = None  # type: ignore[assignment]

__all__ = [
    "CHECKSUMS",
    "LITTER",
    "adding_to",
    "at_work_in",
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
MOST_NOTED = 64 * 1024**2
DEPTH = 3
"""How many folders up the list is looked for."""


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write that appears under ``path`` complete or not at all: written aside, synced, renamed.

    Raises:
        WriteError: the system refuses to write it; says why.
    """
    try:
        handle, aside = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    except OSError as error:
        raise refused(path, error) from None
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        Path(aside).chmod(0o644)
        _note(Path(aside), path)
        Path(aside).replace(path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            Path(aside).unlink()
        if isinstance(error, OSError):
            raise refused(path, error) from None
        raise


def refused(path: Path, error: OSError) -> WriteError:
    """What the system's refusal to write a file is told as."""
    return WriteError(f"{path} cannot be written ({error.strerror or error}); what was written before is whole")


@contextlib.contextmanager
def drawn_whole(path: Path) -> Iterator[Path]:
    """Where to draw what appears under ``path`` when the block ends, and not at all if it raises or draws nothing.

    Raises:
        WriteError: the system refuses to write it; says why.
    """
    aside = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        yield aside
        if aside.is_file():
            with aside.open("rb") as file:
                os.fsync(file.fileno())
            _note(aside, path)
            aside.replace(path)
    except OSError as error:
        raise refused(path, error) from None
    finally:
        aside.unlink(missing_ok=True)


LITTER = re.compile(r"\.\d+\..+|\..+\.\w{8}\.tmp")
"""Names of what is written or drawn aside, by `whole_file` or a figure's writer."""


def clear_litter(folder: Path) -> None:
    """Remove what writers that were killed left in a folder; only for who alone writes there."""
    for path in folder.iterdir() if folder.is_dir() else ():
        if LITTER.fullmatch(path.name) and path.is_file():
            path.unlink(missing_ok=True)


def cleared(folder: Path, parts: Sequence[str] = ()) -> None:
    """Make a folder ready to be worked in again: with its parts, without what killed writers left in them.

    Raises:
        WriteError: the system refuses.
    """
    try:
        clear_litter(folder)
        for part in parts:
            (folder / part).mkdir(parents=True, exist_ok=True)
            clear_litter(folder / part)
    except OSError as error:
        raise refused(folder, error) from None


# One at a time


@contextlib.contextmanager
def at_work_in(folder: Path) -> Iterator[None]:
    """Hold a folder, and know the checksums of what is written in it.

    Raises:
        UsageError: another process holds it.
    """
    with _held(folder):
        note_checksums(folder)
        try:
            yield
        finally:
            with contextlib.suppress(OSError, WriteError):  # the list that is there stays true
                noted = _noted(folder)
                files = {_name(folder, file): file for file in _files(folder)}
                _write(folder, {name: _settled(file, noted.get(name)) for name, file in files.items()})


@contextlib.contextmanager
def adding_to(folder: Path) -> Iterator[None]:
    """Write further files into a folder with a list; it is written anew, by whoever is at work there if somebody is."""
    with contextlib.ExitStack() as stack:
        if (folder / CHECKSUMS).is_file():
            with contextlib.suppress(UsageError, WriteError, OSError):
                stack.enter_context(at_work_in(folder))
                clear_litter(folder)
        yield


@contextlib.contextmanager
def _held(folder: Path) -> Iterator[None]:
    """The lock on the folder itself, which leaves no file, and which the system frees when its holder ends."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        if fcntl is not None:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UsageError(
                    f"{folder} is in use: another process is at work in it; wait for it, or give another folder"
                ) from None
            except OSError:
                pass  # some network file systems lock no folders; docs/durability.md says so
        yield
    finally:
        os.close(handle)


# Checksums


def note_checksums(folder: Path) -> None:
    """Note the checksum of whatever is written in a folder from now on; what is noted already stays."""
    noted = {name: sums for name, sums in _noted(folder).items() if not name.endswith(GROWS)}
    _write(folder, noted)


def check_unchanged(path: Path, advice: str = "restore it, or make it anew in another folder") -> None:
    """Compare a file with the checksum that the folder it lies in has of it; one that is in no list is not judged.

    Args:
        path: the file.
        advice: what to do, for the message.

    Raises:
        DamagedFile: it is not what was written.
    """
    root = _root(path)
    if root is None or not path.is_file():
        return
    sums = _noted(root).get(_name(root, path), [])
    if sums and file_digest(path) not in sums:
        raise DamagedFile(f"{path} is damaged: it is not what was written, going by {CHECKSUMS}; {advice}")


def _note(aside: Path, path: Path) -> None:
    """Note what is about to appear under a path."""
    root = _root(path)
    if root is None or path.name == CHECKSUMS or path.suffix == GROWS:
        return
    line = f"\n{file_digest(aside)}  {_name(root, path)}\n"  # a line that was torn before stays a line of its own
    with (root / CHECKSUMS).open("ab", buffering=0) as file:
        file.write(line.encode())


def _root(path: Path) -> Path | None:
    """The nearest folder above a file that has a list."""
    above = path.absolute().parents[:DEPTH]
    return next((folder for folder in above if (folder / CHECKSUMS).is_file()), None)


def _name(root: Path, path: Path) -> str:
    return path.absolute().relative_to(root.absolute()).as_posix()


def _noted(folder: Path) -> dict[str, list[str]]:
    names_of: dict[str, list[str]] = {}
    with contextlib.suppress(FileNotFoundError):
        if (folder / CHECKSUMS).stat().st_size > MOST_NOTED:
            raise DamagedFile(f"{folder / CHECKSUMS} is larger than any list of ours: remove it, or use another folder")
        for line in (folder / CHECKSUMS).read_text(errors="replace").splitlines():
            digest, _, name = line.partition("  ")
            if len(digest) == 64 and name:
                names_of.setdefault(name, []).append(digest)
    return names_of


def _settled(file: Path, noted: list[str] | None) -> list[str]:
    """The checksum of a file, or those noted for it where it is not what was written: a damaged file stays one."""
    digest = file_digest(file)
    return [digest] if noted is None or digest in noted or file.suffix == GROWS else noted


def _write(folder: Path, noted: dict[str, list[str]]) -> None:
    lines = [f"{digest}  {name}\n" for name, digests in sorted(noted.items()) for digest in digests]
    with whole_file(folder / CHECKSUMS) as file:
        file.write("".join(lines).encode())


def _files(folder: Path) -> list[Path]:
    """The files of a folder but for the list itself and hidden ones."""
    return [
        file
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file.name != CHECKSUMS and not file.name.startswith(".")
    ]
