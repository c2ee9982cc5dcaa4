"""Code that a file names runs only with the user's consent.

A configuration, a run folder, or the sheet beside a checkpoint may name code: ``plugins = [...]``,
``python("FILE.py:function")``, a classifier, an operator, a reward. Such files may have any origin. In a
command, code therefore runs only if the command line names its file, or has ``--trust``, or if this user has run the
same bytes before, under whatever path. What a file imports from beside it is asked for with it. Named and trusted files
are recorded in a file of the user, ``$GUIDEPLUG_TRUSTED`` or one in the platform's folder for state; each line is a
SHA-256 and a path, which is there for the reader.

Outside a command, as from Python, everything may run: the caller is code already.
"""

import contextlib
import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import attrs
from platformdirs import user_state_path

from guideplug.config.texts import texts_in
from guideplug.errors import TrustError
from guideplug.files.durable import append_line, make_folder
from guideplug.files.function_name import FUNCTION, absolute
from guideplug.files.reading import read_text

__all__ = ["allow", "guarded", "module_file"]

MOST = 8 * 1024**2


@attrs.define
class _Guard:
    """The consent in a command: the files and modules that its line names, and whether others are trusted."""

    said: set[str]
    trusting: bool | None
    told: set[tuple[str, str | None]] = attrs.field(factory=set)


_guards: list[_Guard] = []


@contextlib.contextmanager
def guarded(texts: Iterable[str], files: Iterable[str] = (), *, trusting: bool | None = False) -> Iterator[None]:
    """Restrict the block to code that the user has named or trusts.

    Args:
        texts: expressions or values of options from the command line.
        files: plugin files from the command line.
        trusting: whether all named code may run, and is recorded; None where the command has no such option.
    """
    places = [place for text in texts for place in _places(text)]
    _guards.append(
        _Guard({*map(_known_as, places), *(_known_as(str(Path(file).absolute())) for file in files)}, trusting)
    )
    try:
        yield
    finally:
        _guards.pop()


def allow(place: str, digest: str | None, what: str, main: str | None = None) -> None:
    """Refuse code that the user has neither named nor trusted.

    Args:
        place: the path of a file, or the dotted name of a module without one.
        digest: the SHA-256 of the bytes that are to run; None without a file.
        what: the origin of the name, for the message.
        main: the path of the file that imports this one from beside it, and that was named.

    Raises:
        TrustError: the code may not run; the message names the file and how to allow it.
    """
    if not _guards:
        return
    guard, known = _guards[-1], os.path.realpath(place) if place.endswith(".py") else place
    if (known, digest) in guard.told:
        return
    named = known in guard.said or (main is not None and os.path.realpath(main) in guard.said)
    remembered = _remembered()
    trusted = digest is not None and any(digest in digests for digests in remembered.values())
    if not (named or trusted or guard.trusting):
        changed = "has changed since you ran it" if known in remembered else "this command line does not name"
        advice = "" if guard.trusting is None else "give --trust, or "
        raise TrustError(
            f"{what} runs code from {known}, which {changed}: look at it, and if you trust it {advice}name it on the "
            "command line"
        )
    if not named and not trusted:
        sys.stderr.write(f"trusted: {known!a} runs as code\n".replace("'", ""))
    guard.told.add((known, digest))
    if digest is not None and not (trusted and not named) and digest not in remembered.get(known, ()):
        _remember(known, digest)


def module_file(name: str) -> Path | None:
    """The file of a module by its dotted name, without importing anything: in the current folder, or installed."""
    return _file_in([str(Path.cwd()), *sys.path], name)


def _file_in(folders: list[str], name: str) -> Path | None:
    path: Iterable[str] | None = folders
    origin = None
    parts = name.split(".")
    for number in range(1, len(parts) + 1):
        part = ".".join(parts[:number])
        spec = None if path is None else importlib.machinery.PathFinder.find_spec(part, list(path))
        if spec is None and number == 1 and len(folders) > 1:
            with contextlib.suppress(ImportError, ValueError):
                spec = importlib.util.find_spec(part)  # a package installed by a link to its sources
        if spec is None:
            return None
        path, origin = spec.submodule_search_locations, spec.origin
    return Path(origin) if origin is not None and origin.endswith(".py") else None


def _known_as(place: str) -> str:
    """The real path of the file of a place, or the place itself without a file."""
    folder, slash, name = place.rpartition("/")
    if place.endswith(".py"):
        file: Path | None = Path(place)
    else:
        file = _file_in([folder], name) if slash else module_file(place)
    return place if file is None else os.path.realpath(file)


def _places(text: str) -> Iterator[str]:
    """The files and modules of the functions that a text names, in nested texts too."""
    for inner in texts_in(text):
        if FUNCTION.fullmatch(inner):
            yield absolute(inner).rpartition(":")[0]


def _list() -> Path:
    chosen = os.environ.get("GUIDEPLUG_TRUSTED")
    return Path(chosen) if chosen else user_state_path("guideplug") / "trusted"


def _remembered() -> dict[str, set[str]]:
    """The digests of previously run versions per file."""
    digests: dict[str, set[str]] = {}
    with contextlib.suppress(OSError, ValueError):  # an unreadable list is an empty one
        for line in read_text(_list(), MOST).splitlines():
            digest, _, path = line.partition(" ")
            digests.setdefault(path, set()).add(digest)
    return digests


def _remember(known: str, digest: str) -> None:
    if known.isprintable():
        with contextlib.suppress(OSError):  # the folder is not writable: consent is needed again
            make_folder(_list().parent)
            place = Path(os.path.realpath(_list()))  # the user's own, which may be a link of the user's
            append_line(place, f"{digest} {known}\n")
