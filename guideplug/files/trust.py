"""Code that a file names runs only with the user's consent.

A configuration, a run folder, or the sheet beside a checkpoint may name code: ``plugins = [...]``,
``python("FILE.py:function")``, a classifier, an operator, a reward. Such files may have any origin. In a
command, code therefore runs only if the command line names its file, or has ``--trust``, or if this user has run the
file before: same path, same bytes. Named and trusted files are recorded in a file of the user, ``$GUIDEPLUG_TRUSTED``
or one in the platform's folder for state; each line is a SHA-256 and a path.

Outside a command, as from Python, everything may run: the caller is code already.
"""

import contextlib
import importlib.machinery
import importlib.util
import os
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import attrs
from platformdirs import user_state_path

from guideplug.config import parse
from guideplug.config.tree import Call, ListValue, Literal, Value, Word
from guideplug.errors import ExpressionError, TrustError
from guideplug.files.durable import append_line, make_folder
from guideplug.files.reading import file_digest, read_text

__all__ = ["FUNCTION", "allow", "guarded", "module_file"]

FUNCTION = re.compile(r"(.+\.py|[^\W\d]\w*(\.[^\W\d]\w*)*):[^\W\d]\w*")
"""The name of a function: ``module:function`` or ``FILE.py:function``."""
MOST = 8 * 1024**2


@attrs.define
class _Guard:
    """The consent in a command: the files and modules that its line names, and whether others are trusted."""

    said: set[str]
    trusting: bool
    told: set[str] = attrs.field(factory=set)


_guards: list[_Guard] = []


@contextlib.contextmanager
def guarded(texts: Iterable[str], files: Iterable[str] = (), *, trusting: bool = False) -> Iterator[None]:
    """Restrict the block to code that the user has named or trusts.

    Args:
        texts: expressions or values of options from the command line.
        files: plugin files from the command line.
        trusting: whether all named code may run, and is recorded.
    """
    places = [place for text in texts for place in _places(text)]
    _guards.append(
        _Guard({*map(_known_as, places), *(_known_as(str(Path(file).absolute())) for file in files)}, trusting)
    )
    try:
        yield
    finally:
        _guards.pop()


def allow(place: str, what: str) -> None:
    """Refuse code that the user has neither named nor trusted.

    Args:
        place: the path of a file, or the dotted name of a module.
        what: the origin of the name, for the message.

    Raises:
        TrustError: the code may not run; the message names the file and how to allow it.
    """
    if not _guards:
        return
    guard, known = _guards[-1], _known_as(place)
    if known in guard.told:
        return
    file = Path(known) if known.endswith(".py") else None
    digest = None if file is None or not file.is_file() else file_digest(file)
    remembered = _remembered()
    if known not in guard.said and not guard.trusting and (digest is None or digest not in remembered.get(known, ())):
        changed = "has changed since you ran it" if known in remembered else "this command line does not name"
        raise TrustError(
            f"{what} runs code from {known}, which {changed}: look at it, and if you trust it give --trust, or name it "
            "on the command line"
        )
    if known not in guard.said and guard.trusting:
        sys.stderr.write(f"trusted: {known!a} runs as code\n".replace("'", ""))
    guard.told.add(known)
    if digest is not None and digest not in remembered.get(known, ()):
        _remember(known, digest)


def module_file(name: str) -> Path | None:
    """The file of a module by its dotted name, without importing anything: installed, or in the current folder."""
    path: Iterable[str] | None = [str(Path.cwd()), *sys.path]
    origin = None
    parts = name.split(".")
    for number in range(1, len(parts) + 1):
        part = ".".join(parts[:number])
        spec = None if path is None else importlib.machinery.PathFinder.find_spec(part, list(path))
        if spec is None and number == 1:
            with contextlib.suppress(ImportError, ValueError):
                spec = importlib.util.find_spec(part)  # a package installed by a link to its sources
        if spec is None:
            return None
        path, origin = spec.submodule_search_locations, spec.origin
    return Path(origin) if origin is not None and origin.endswith(".py") else None


def _known_as(place: str) -> str:
    """The real path of the file of a place, or the place itself without a file."""
    file = Path(place) if place.endswith(".py") else module_file(place)
    return place if file is None else os.path.realpath(file)


def _places(text: str) -> Iterator[str]:
    """The files and modules of the functions that a text names, in nested texts too."""
    if FUNCTION.fullmatch(text):
        place = text.rpartition(":")[0]
        yield str(Path(place).absolute()) if place.endswith(".py") else place
        return
    with contextlib.suppress(ExpressionError):
        for inner in _texts(parse(text)):
            if inner != text:
                yield from _places(inner)


def _texts(value: Value) -> Iterator[str]:
    match value:
        case Word(text) | Literal(str(text)):
            yield text
        case Call(_, args, kwargs):
            for inner in (*args, *(keyword.value for keyword in kwargs)):
                yield from _texts(inner)
        case ListValue(items):
            for inner in items:
                yield from _texts(inner)


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
            append_line(_list(), f"{digest} {known}\n")
