"""The files that code may consist of: a package with its modules, or a file and the files beside it."""

import functools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

from guideplug.files.code import Code
from guideplug.files.modules import code_of
from guideplug.store.source.module import Module
from guideplug.store.source.piece import Bound

__all__ = ["Scope", "scope_of", "scope_of_code"]


class Scope:
    """A set of files with their content at the first read.

    Args:
        name: the key of its hashes.
        folders: the folders in which modules are searched.
        package: the top-level package of the files; None for all files in the folders.
        follows: whether a file is included; others are skipped like foreign code.
    """

    def __init__(
        self,
        name: str,
        folders: tuple[Path, ...],
        package: str | None,
        follows: Callable[[Path], bool] = lambda path: True,
    ) -> None:
        self.name, self._folders, self._package, self._follows = name, folders, package, follows
        self._modules: dict[Path, Module] = {}
        self._sources = {path: path.read_bytes() for path in self.files()}

    def files(self) -> list[Path]:
        """All files of the package; empty if there is no package."""
        if self._package is None:
            return []
        place = self._folders[0] / self._package
        several = sorted(place.rglob("*.py")) if place.is_dir() else [place.with_suffix(".py")]
        return [path for path in several if path.is_file() and self._follows(path)]

    def read(self) -> list[Path]:
        """The files read so far."""
        return sorted(self._modules)

    @property
    def sources(self) -> dict[str, bytes]:
        """The bytes of the package's files by relative path."""
        return {self.label(path): source for path, source in self._sources.items()}

    def label(self, path: Path) -> str:
        """A file's path relative to the folder of the scope."""
        return path.relative_to(next(one for one in self._folders if path.is_relative_to(one))).as_posix()

    def module(self, path: Path) -> Module:
        """A file, parsed.

        Raises:
            SyntaxError: the file is not valid Python.
        """
        if path not in self._modules:
            self._modules[path] = Module(path, self._sources[path] if path in self._sources else path.read_bytes())
        return self._modules[path]

    def file(self, name: str) -> Path | None:
        """The file of a module; None if it is not in the scope."""
        if self._package is not None and name.partition(".")[0] != self._package:
            return None
        return next((path for folder in self._folders if (path := self._in(folder, name)) is not None), None)

    def _in(self, folder: Path, name: str) -> Path | None:
        place = folder.joinpath(*name.split("."))
        for path in (place / "__init__.py", place.with_name(f"{place.name}.py")):
            if self._has(path):
                return path
        return None

    def _has(self, path: Path) -> bool:
        return path in self._sources if self._package is not None else path.is_file()

    def imported(self, bound: Bound, path: Path) -> Path | None:
        """The file of the module named by an import in a file; None for foreign modules."""
        if not bound.level:
            return self.file(bound.module.partition(".")[0] if bound.top else bound.module)
        folder = path.parents[bound.level - 1]
        if bound.module:
            return self._in(folder, bound.module)
        init = folder / "__init__.py"
        return init if self._has(init) else None

    def beneath(self, path: Path, name: str) -> Path | None:
        """A module of the package with the ``__init__.py`` at a path."""
        return self._in(path.parent, name) if path.name == "__init__.py" else None

    def above(self, path: Path) -> Iterator[Path]:
        """The ``__init__.py`` of the packages around a file, which run before it."""
        for folder in path.parents:
            init = folder / "__init__.py"
            if init == path:
                continue
            if folder in self._folders or not self._has(init):
                return
            yield init


@functools.cache
def scope_of(module: ModuleType) -> tuple[Scope, Path] | None:
    """The scope of an imported module, and its file; None without a source."""
    file = getattr(module, "__file__", None)
    if file is None or not file.endswith(".py"):
        return None
    path = Path(file)
    name: str = module.__name__
    if (code := code_of(module)) is not None:
        return scope_of_code(code, name.partition(".")[0]), path
    depth = name.count(".") + (path.name == "__init__.py")
    root = path.parents[depth] if depth < len(path.parents) else path.parent
    top = name.partition(".")[0]
    if (depth == 0 and path.stem != name) or name == "__main__":
        return Scope(top, (path.parent,), None), path
    on_top = sys.modules.get(top)
    if on_top is not None and on_top is not module:
        known = scope_of(on_top)
        if known is not None:
            return known[0], path
    return Scope(top, (root,), top), path


class _CodeScope(Scope):
    """The files of local code, with the bytes that were read to be executed."""

    def __init__(self, name: str, code: Code) -> None:
        super().__init__(name, code.folders, None)
        self._sources = {source.path: source.content for source in code.sources.values()}
        self._labels = {source.path: code.label(name) for name, source in code.sources.items()}

    def label(self, path: Path) -> str:
        return self._labels[path]

    def _has(self, path: Path) -> bool:
        return path in self._sources


@functools.lru_cache(maxsize=64)
def scope_of_code(code: Code, name: str) -> Scope:
    """The scope of a local file and of what it imports from beside it."""
    return _CodeScope(name, code)
