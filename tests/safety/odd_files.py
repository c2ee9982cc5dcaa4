"""Kinds of things in the place of a file or folder, each as a function that puts it there."""

import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

MARK = "the-secret-of-another-file"
"""A text in the files outside that links lead to: it must never be printed, nor reach a page."""
SPARSE = 5 * 1024**3


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # the name of a socket has at most 107 characters
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path.name)
    finally:
        os.chdir(here)


def _folder(path: Path) -> None:
    path.mkdir()
    (path / "inside").write_text("inside")


def _dangling(path: Path) -> None:
    path.symlink_to("nowhere")


def _loop(path: Path) -> None:
    path.symlink_to(path.name)


def _sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(SPARSE)


def _empty(path: Path) -> None:
    path.touch()


def _garbage(path: Path) -> None:
    path.write_bytes(bytes(range(256)) * 40)


def _latin(path: Path) -> None:
    path.write_bytes(b'{"task": "tr\xe9\xff", "a": 1}\n')


KINDS: dict[str, Callable[[Path], None]] = {
    "fifo": _fifo,
    "endless": _endless,
    "socket": _socket,
    "folder": _folder,
    "dangling": _dangling,
    "loop": _loop,
    "sparse": _sparse,
    "empty": _empty,
    "garbage": _garbage,
    "latin": _latin,
}
"""Kinds that take nothing of the file that was there."""
KEEPING = ("outside", "unreadable")
"""Kinds made of the file that was there: a link to a marked copy of it outside, and one without permissions."""


def put(kind: str, path: Path, outside: Path) -> None:
    """Replace a file or folder by a thing of a kind.

    Args:
        kind: of `KINDS` or `KEEPING`.
        path: the place, whatever is there.
        outside: a folder for the target of links, beside what a command is to read.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "unreadable":
        if not path.exists():
            path.touch()
        path.chmod(0)
        return
    if kind == "outside":
        target = outside / path.name
        if path.exists():
            path.replace(target)
        for file in (target, *target.rglob("*")) if target.exists() else ():
            _mark(file)
        if not target.exists():
            target.write_text(MARK)
        path.symlink_to(target)
        return
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    KINDS[kind](path)


MARKED = {
    ".toml": ("task = ", f"# {MARK}\ntask = "),
    ".json": ("{", f'{{"command": "{MARK}", "status": "{MARK}", "denoiser": "{MARK}", '),
    ".jsonl": ("{", f'{{"event": "warning", "time": 0, "text": "{MARK}"}}\n{{'),
    ".csv": (",", f",{MARK},"),
}


def _mark(file: Path) -> None:
    """Let the text of a file say where it is from; binary files stay."""
    if file.suffix in MARKED and file.is_file():
        before, after = MARKED[file.suffix]
        file.write_text(file.read_text().replace(before, after, 1))
