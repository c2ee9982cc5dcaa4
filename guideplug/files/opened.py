"""The one way to code that a file or a command names: read once, with what it imports from beside it, consented to.

Within `reading_once`, a command or a run, each file is read once, and everything sees that version; the next command or
run reads anew. A worker in another process takes over the versions of its driver (`versions`, `expect`), or fails.
"""

import contextlib
import hashlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from guideplug.errors import RunError
from guideplug.files.atomic import check_unchanged
from guideplug.files.code import Code
from guideplug.files.modules import Modules
from guideplug.files.trust import allow

__all__ = ["code_of_file", "code_of_module", "expect", "modules_at", "reading_once", "versions"]

_scopes: list[dict[tuple[str, ...], Code]] = []
_made: dict[tuple[str, ...], Modules] = {}
"""The last version of each named place."""
_versions: dict[str, str] = {}
"""The SHA-256 of every file of code that this process has read, by path."""
_expected: dict[str, str] = {}


@contextlib.contextmanager
def reading_once() -> Iterator[None]:
    """A block in which each file of code is read once; blocks within it share what it has read."""
    _scopes.append(_scopes[-1] if _scopes else {})
    try:
        yield
    finally:
        _scopes.pop()


def versions() -> dict[str, str]:
    """The files of code that this process has read, and their SHA-256, for `expect` in another process."""
    return dict(_versions)


def expect(digests: Mapping[str, str]) -> None:
    """Refuse, from here on in this process, other versions of some files, and read each file once."""
    _expected.update(digests)
    _scopes.append({})


def code_of_file(path: Path, what: str, *others: Path) -> Code:
    """The code of a file, which the user has consented to.

    Args:
        path: an absolute path.
        what: the origin of the name, for messages.
        others: folders that it may import from, after its own.

    Raises:
        OSError: it, or what it imports from beside it, cannot be read.
        ValueError: a file is no ordinary one, or too large.
        TrustError: in a command, the user has neither named nor trusted it.
        DamagedFile: a copy in the folder of a run is not what was written.
        RunError: it is another version than this process was started for.
    """
    return _opened((str(path), *map(str, others)), lambda: Code.of_file(path, *others), what)


def code_of_module(name: str, folder: Path, what: str) -> Code:
    """The code of a module by its dotted name in a folder, as `code_of_file`."""
    return _opened((name, str(folder)), lambda: Code.of_module(name, folder), what)


def modules_at(code: Code, prefix: str) -> Modules:
    """The modules of some code; the same ones for as long as its bytes are the same."""
    key = (prefix, str(code.source.path), *map(str, code.folders))
    before = _made.get(key)
    if before is None or (before.code is not code and before.code.digest != code.digest):
        named = hashlib.sha256("\0".join(key).encode()).hexdigest()[:12]
        before = _made[key] = Modules(code, f"{prefix}_{named}")
    return before


def _opened(key: tuple[str, ...], read: Callable[[], Code], what: str) -> Code:
    scope = _scopes[-1] if _scopes else {}
    if key not in scope:
        scope[key] = read()
    code = scope[key]
    for source in code.sources.values():
        path = str(source.path)
        if _expected.get(path, source.digest) != source.digest:
            raise RunError(
                f"{path} has changed since this began (its SHA-256 was {_expected[path][:12]}, and is "
                f"{source.digest[:12]} now): put it back, or start anew"
            )
        check_unchanged(source.path, digest=source.digest)
    for source in code.sources.values():
        allow(str(source.path), source.digest, what, str(code.source.path))
        _versions[str(source.path)] = source.digest
    return code
