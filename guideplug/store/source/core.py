"""guideplug's own code: the packages that weights and samples depend on, and their hash.

Reading them takes about .3 s, so the hash is cached in the platform's cache folder under the hash of their bytes and of
the bytes of the code that computes it.
"""

import contextlib
import functools
import hashlib
import os
import re
import sys
from pathlib import Path

from guideplug.files.opening import read_bytes
from guideplug.store.source.reach import Reach
from guideplug.store.source.scope import Scope

__all__ = ["core_digest", "core_scope", "measuring_digest"]

FOLDER = Path(__file__).parents[2]
DECIDES_NOTHING = {
    "check", "cli", "config", "executors", "experiments", "files", "metrics", "observers", "registry", "report", "run",
    "store", "testing", "__init__.py", "__main__.py", "errors.py", "image_grid.py", "observe.py", "study.py",
}  # fmt: skip
"""Packages that no weight depends on. `config` and `store` handle values, which are part of identities."""
DECIDES = {
    "config/duration.py", "config/walk.py", "files/reading.py", "files/tensors.py", "run/builder.py", "run/making.py",
}  # fmt: skip
"""Files in those packages that weights do depend on."""
MEASURES = {"metrics", "run/measure.py", "task.py"}
"""The packages that measured values depend on, besides metrics and tasks themselves."""
MOST = 1024
"""Bytes of the cache."""
KEPT = re.compile(r"[0-9a-f]{64} [0-9a-f]{16}")


def _counts(path: Path, folder: Path) -> bool:
    within = path.relative_to(folder)
    return within.parts[0] not in DECIDES_NOTHING or within.as_posix() in DECIDES


@functools.cache
def core_scope(folder: Path = FOLDER) -> Scope:
    """The files of guideplug that weights depend on, and the public interface by which plugins name them."""
    public = folder / "__init__.py"
    return Scope(folder.name, (folder.parent,), folder.name, lambda path: path == public or _counts(path, folder))


@functools.cache
def core_digest(folder: Path = FOLDER) -> str:
    """The hash of the files of guideplug that weights depend on, without methods and classes that decide nothing."""
    scope = Scope(folder.name, (folder.parent,), folder.name, lambda path: _counts(path, folder))
    digest = hashlib.sha256()
    own = {f"source/{path.name}": path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py"))}
    for name, source in (own | scope.sources).items():
        digest.update(name.encode() + b"\0" + source + b"\0")
    return _remembered(digest.hexdigest()) or _remember(digest.hexdigest(), _digest(scope))


@functools.cache
def measuring_digest(folder: Path = FOLDER) -> str:
    """The hash of the files of guideplug that measured values depend on."""

    def counts(path: Path) -> bool:
        within = path.relative_to(folder)
        return within.parts[0] in MEASURES or within.as_posix() in MEASURES

    scope = Scope(folder.name, (folder.parent,), folder.name, counts)
    reach = Reach(scope)
    for path in scope.files():
        reach.whole(scope, path)
    reach.follow()
    return reach.scopes[scope].digest


def _digest(scope: Scope) -> str:
    reach = Reach(scope)
    for path in scope.files():
        reach.open(scope, path)
        for name in scope.module(path).definitions:
            if name != "__all__" and not reach.marked(scope, path, name):
                reach.define(scope, path, name)
    reach.follow()
    return reach.scopes[scope].digest


def _file() -> Path:
    """The cache file; one per environment in which guideplug is installed."""
    from platformdirs import user_cache_path

    environment = hashlib.sha256(sys.prefix.encode()).hexdigest()[:12]
    return user_cache_path("guideplug") / f"core-{environment}.txt"


def _remembered(key: str) -> str:
    with contextlib.suppress(OSError, ValueError):
        text = read_bytes(_file(), MOST).decode()
        if KEPT.fullmatch(text) and text.startswith(key):
            return text[-16:]
    return ""


def _remember(key: str, digest: str) -> str:
    """Cache a digest, if the file can be written; the digest."""
    with contextlib.suppress(OSError):
        file = _file()
        file.parent.mkdir(parents=True, exist_ok=True)
        aside = file.with_name(f"{file.name}.{os.getpid()}")
        aside.write_text(f"{key} {digest}", encoding="utf-8")
        aside.replace(file)
    return digest
