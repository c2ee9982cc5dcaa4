"""The code of a file: its bytes and those of what it imports from beside it, each read once.

What is hashed is what runs: `Code` holds the bytes, and `guideplug.files.modules` compiles these and reads nothing
more. Compiled files (``.pyc``, ``.so``) beside the sources are never read; one in the place of a source is refused.

A file imports from its own folder, and from further ones that its user chooses. The names of the standard library and
of guideplug are never those of files beside it. What is imported is read off the import statements, wherever they
stand, so all of it is known before any of it runs.
"""

import ast
import contextlib
import functools
import hashlib
import importlib.machinery
import importlib.metadata
import importlib.util
import json
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from attrs import define, field, frozen

from guideplug.files.opening import open_file

__all__ = ["MOST", "Code", "Source", "is_installed", "read_source"]

MOST = 8 * 1024**2
"""The largest file of code, in bytes."""
COMPILED = (*importlib.machinery.EXTENSION_SUFFIXES, *importlib.machinery.BYTECODE_SUFFIXES)


@frozen
class Source:
    """A file of code as it was read."""

    path: Path
    content: bytes = field(repr=False)

    @functools.cached_property
    def digest(self) -> str:
        """The SHA-256 of the bytes."""
        return hashlib.sha256(self.content).hexdigest()


def read_source(path: Path) -> Source:
    """A regular file of at most ``MOST`` bytes.

    Raises:
        OSError: the system refuses.
        ValueError: another kind of file, or too large.
    """
    with open_file(path) as file:
        content = file.read(MOST + 1)
    if len(content) > MOST:
        raise ValueError(f"it is larger than {MOST:,} bytes")
    return Source(path, content)


@define(eq=False)
class Code:
    """A file of code, and the files that it imports from beside it; none of them has run.

    Args:
        main: the name of the module that is loaded, in the folders.
        folders: where modules are searched, in this order.
        sources: the files by the dotted names of their modules.
    """

    main: str
    folders: tuple[Path, ...]
    sources: dict[str, Source] = field(repr=False)

    @classmethod
    def of_file(cls, path: Path, *others: Path) -> "Code":
        """The code of a file, which imports from its own folder, and then from others.

        Raises:
            OSError: the file, or one that it imports, cannot be read.
            ValueError: it is no ordinary file, or too large.
        """
        main = path.stem if path.stem.isidentifier() else "<file>"
        code = cls(main, tuple(dict.fromkeys((path.parent, *others))), {main: read_source(path)})
        code._follow([main])
        return code

    @classmethod
    def of_module(cls, name: str, folder: Path) -> "Code":
        """The code of a module by its dotted name in a folder.

        Raises:
            OSError: there is none, or a file cannot be read.
            ValueError: a file is no ordinary one, or too large.
        """
        code = cls(name, (folder,), {})
        code._follow(code._read(name))
        if name not in code.sources:
            raise FileNotFoundError(f"no module {name!r} in {folder}")
        return code

    @property
    def source(self) -> Source:
        """The file that is loaded."""
        return self.sources[self.main]

    @property
    def digest(self) -> str:
        """The SHA-256 of the file, or of the list of all files with theirs where it imports some from beside it."""
        if len(self.sources) == 1:
            return self.source.digest
        lines = sorted(f"{self.label(name)} {source.digest}\n" for name, source in self.sources.items())
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    def label(self, name: str) -> str:
        """The path of a module's file, relative to the folder that it is searched in."""
        path = self.sources[name].path
        if name == self.main and name in ("<file>", path.stem):
            return path.name
        parts = name.split(".")
        return "/".join([*parts, path.name] if path.name == "__init__.py" else [*parts[:-1], path.name])

    # Names

    def is_package(self, name: str) -> bool:
        """Whether a module is a package, as is a folder without ``__init__.py``."""
        return name not in self.sources or (self.sources[name].path.name == "__init__.py" and name != "__init__")

    def beside(self, name: str) -> bool:
        """Whether an absolute import of a dotted name is of a file beside this one."""
        top = name.partition(".")[0]
        return self.importable(top) and any(one.partition(".")[0] == top for one in self.sources)

    def has(self, name: str) -> bool:
        """Whether there is a module of a dotted name: a file, or a folder with some."""
        return any(f"{one}.".startswith(f"{name}.") for one in self.sources)

    @staticmethod
    def importable(top: str) -> bool:
        """Whether an absolute import of a name may be of a file beside: not of the standard library, or guideplug."""
        return top not in sys.stdlib_module_names and top not in ("guideplug", "__main__")

    def relative(self, importer: str, level: int, name: str) -> str:
        """The dotted name that a relative import means; empty for the folders themselves.

        Raises:
            ImportError: it leads out of the folders.
        """
        package = importer if self.is_package(importer) else importer.rpartition(".")[0]
        for _ in range(level - 1):
            if not package:
                raise ImportError(f"{self.sources[importer].path} imports from above the folder {self.folders[0]}")
            package = package.rpartition(".")[0]
        return ".".join(part for part in (package, name) if part)

    def compiled(self, name: str) -> Path | None:
        """The compiled file that Python would import under a dotted name from these folders."""
        places = [folder.joinpath(*name.split(".")) for folder in self.folders]
        paths = [path for place in places for path in (place.with_name(place.name), place / "__init__")]
        files = (Path(f"{path}{suffix}") for path in paths for suffix in COMPILED)
        return next((file for file in files if file.is_file()), None)

    # Reading

    def _follow(self, importers: list[str]) -> None:
        while importers:
            for name in self._imported(importers.pop()):
                importers += self._read(name)

    def _read(self, name: str) -> list[str]:
        """Read the file of a dotted name and of the packages that it lies in; the names of those that are new."""
        parts, new = name.split("."), []
        for count in range(1, len(parts) + 1):
            inner = ".".join(parts[:count])
            if inner not in self.sources and (path := self.file(inner)) is not None:
                self.sources[inner] = read_source(path)
                new.append(inner)
        return new

    def file(self, name: str) -> Path | None:
        """The file of a dotted name beside, whether it was read or not."""
        package, _, last = name.rpartition(".")
        places = [folder.joinpath(*name.split(".")) for folder in self.folders]
        if package in self.sources:
            places = [self.sources[package].path.parent / last] if self.is_package(package) else []
        paths = (path for place in places for path in (place / "__init__.py", place.with_name(f"{last}.py")))
        path = next((path for path in paths if path.is_file()), None)
        if path is None or (package not in self.sources and not self._is_ours(name, path)):
            return None
        return path

    def _is_ours(self, name: str, path: Path) -> bool:
        """Whether a file is imported from beside, and not from an installed package of its name."""
        top = name.partition(".")[0]
        if top != name:  # a folder without __init__.py: Python prefers whatever package has the name
            spec = importlib.machinery.PathFinder.find_spec(top)
            return top not in sys.modules and (spec is None or spec.loader is None)
        return top not in sys.modules or not is_installed(top, path.parents[path.name == "__init__.py"])

    def _imported(self, importer: str) -> Iterator[str]:
        """The dotted names that a file may import from beside it."""
        try:
            tree = ast.parse(self.sources[importer].content)
        except (SyntaxError, ValueError, RecursionError, MemoryError):  # said where it is compiled
            return
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names if self.importable(alias.name.partition(".")[0]))
            elif isinstance(node, ast.ImportFrom):
                module = node.module or ""
                if node.level:
                    with contextlib.suppress(ImportError):  # raised where it runs
                        module = self.relative(importer, node.level, module)
                elif not self.importable(module.partition(".")[0]):
                    continue
                names = [f"{module}.{alias.name}" if module else alias.name for alias in node.names]
                yield from ([module] if module else []) + names


def is_installed(top: str, folder: Path) -> bool:
    """Whether a top-level module in a folder is that of an installed distribution, perhaps by a link to its sources."""
    if folder.name in ("site-packages", "dist-packages") or str(folder) == sysconfig.get_path("stdlib"):
        return True
    spec = None
    with contextlib.suppress(ImportError, ValueError):
        spec = importlib.util.find_spec(top)
    if spec is None or spec.origin is None or folder not in Path(spec.origin).parents[:2]:
        return False
    return any(folder.is_relative_to(root) for root in _linked())


@functools.cache
def _linked() -> frozenset[Path]:
    """The folders of distributions that are installed by a link to their sources."""
    roots = set()
    for distribution in importlib.metadata.distributions():
        with contextlib.suppress(OSError, ValueError, AttributeError):
            origin = json.loads(distribution.read_text("direct_url.json") or "{}")
            if origin.get("dir_info", {}).get("editable"):
                roots.add(Path(url2pathname(urlsplit(origin["url"]).path)))
    return frozenset(roots)
