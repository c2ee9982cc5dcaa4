"""The code reached from a strategy by name: the parts of files that its hash covers.

A definition includes the definitions that its text names in its file, and through imports those named in other modules
of the same package. Other statements are included as soon as a definition of their file is, and so are modules imported
for their side effects. A name is followed even if it is a local variable of the same name: the hash may cover too much,
never too little. If names do not determine what runs (a star import, a computed import, ``eval``), the whole package is
included.

Methods marked `guideplug.decides_nothing`, by the class or by a base class, are excluded unless included code names
them; so are private methods beside them.
"""

import hashlib
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

import attrs

from guideplug.store.source.module import Module
from guideplug.store.source.piece import Bound, Piece
from guideplug.store.source.scope import Scope, scope_of

__all__ = ["Reach", "Reached", "reached"]

Place = tuple[Scope, Path, str]


@attrs.define
class Reached:
    """The reached code of one scope.

    Args:
        lines: texts by position.
        opaque: the reason for including all of it; empty if only a part is.
    """

    lines: dict[tuple[str, str], str] = attrs.field(factory=dict)
    opaque: list[str] = attrs.field(factory=list)

    @property
    def digest(self) -> str:
        """The hash of the reached code; 16 hexadecimal digits."""
        digest = hashlib.sha256()
        for key in sorted(self.lines):
            digest.update("\0".join((*key, self.lines[key], "")).encode())
        return digest.hexdigest()[:16]


class Reach:
    """Follows names from some definitions.

    Args:
        core: the scope of guideplug's own classes, which mark methods that decide nothing.
        named: names of methods that are included though they decide nothing.
    """

    def __init__(self, core: Scope, named: Iterable[str] = ()) -> None:
        self._core = core
        self.scopes: dict[Scope, Reached] = {}
        self._named = set(named)
        self._anything: set[Scope] = set()
        """Scopes that access attributes by computed names."""
        self._seen: set[tuple[object, ...]] = set()
        self._left: dict[tuple[Scope, Path, str, str], None] = {}
        self._waiting: list[tuple[Scope, Path, Piece]] = []

    def start(self, scope: Scope, path: Path, name: str) -> None:
        """Begin at a definition, or with the whole file if it has none of that name."""
        self.scopes.setdefault(scope, Reached())
        if name in scope.module(path).definitions:
            self.define(scope, path, name)
        else:
            self.whole(scope, path)
        self.follow()

    def follow(self) -> None:
        """Follow names until nothing new is reached."""
        while self._waiting or self._called():
            while self._waiting:
                scope, path, piece = self._waiting.pop()
                for chain in piece.chains:
                    self._resolve(scope, path, chain, piece.imports)
                for bound in piece.imports:
                    self._only_imported(scope, path, bound)

    def _called(self) -> bool:
        """Include excluded methods that included code names."""
        for scope, path, name, method in list(self._left):
            if method in self._named or scope in self._anything:
                del self._left[scope, path, name, method]
                self._take(scope, path, f"{name}.{method}", scope.module(path).method(name, method))
        return bool(self._waiting)

    # Including

    def _new(self, *key: object) -> bool:
        new = key not in self._seen
        self._seen.add(key)
        return new

    def _take(self, scope: Scope, path: Path, where: str, piece: Piece) -> None:
        """Include a piece, and everything that it names."""
        self.scopes.setdefault(scope, Reached()).lines[scope.label(path), where] = piece.text
        self._named |= piece.attributes - {"*"}
        self._waiting.append((scope, path, piece))
        if scope is self._core:  # whole packages of it are included, whether named or not
            return
        if "*" in piece.attributes:
            self._anything.add(scope)
        for reason in piece.opaque:
            self._everything(scope, path, reason)

    def define(self, scope: Scope, path: Path, name: str) -> None:
        """Include a definition without methods that decide nothing."""
        if not self._new(scope, path, "definition", name):
            return
        self.open(scope, path)
        module = scope.module(path)
        self._take(scope, path, name, module.core(name))
        left = self.left_out(scope, path, name)
        for method in module.methods(name):
            if method in left:
                self._left[scope, path, name, method] = None
            else:
                self._take(scope, path, f"{name}.{method}", module.method(name, method))

    def open(self, scope: Scope, path: Path) -> None:
        """Include a file: its statements other than definitions, and its unused imports."""
        if not self._new(scope, path, "file"):
            return
        for init in scope.above(path):
            self.open(scope, init)
        module = scope.module(path)
        for number in range(len(module.statements)):
            self._take(scope, path, f"statement {number:04}", module.statement(number))
        for name in module.registering:
            self.define(scope, path, name)
        for name in module.definitions:
            if name == "__getattr__":
                self._everything(scope, path, "its __getattr__")
        for bound in module.imports.get("*", ()):
            if scope.imported(bound, path) is not None:
                self._everything(scope, path, f"from {bound.module} import *")
        for bound in module.unused:
            if scope.imported(bound, path) is not None or self._submodule(scope, None, bound) is not None:
                self._only_imported(scope, path, bound)
            elif bound.top and bound.module not in sys.stdlib_module_names:  # it may patch used code
                self._noted(scope, path, bound)

    def whole(self, scope: Scope, path: Path) -> None:
        """Include all definitions of a file."""
        self.open(scope, path)
        for name in scope.module(path).definitions:
            self.define(scope, path, name)

    def _everything(self, scope: Scope, path: Path, reason: str) -> None:
        """Include the whole package, with code that decides nothing."""
        self.scopes.setdefault(scope, Reached()).opaque.append(f"{scope.label(path)}, {reason}")
        self._anything.add(scope)
        for file in scope.files() or [path]:
            if self._new(scope, file, "everything"):
                self.whole(scope, file)
                for bounds in scope.module(file).imports.values():
                    for bound in bounds:
                        self._noted(scope, file, bound)

    # Names

    def _resolve(self, scope: Scope, path: Path, chain: tuple[str, ...], within: Iterable[Bound]) -> None:
        """Include the target of a dotted name in a file."""
        module = scope.module(path)
        if chain[0] in module.definitions:
            self.define(scope, path, chain[0])
        for bound in (*module.imports.get(chain[0], ()), *(one for one in within if one.name == chain[0])):
            self._import(scope, path, bound, chain[1:])

    def _noted(self, scope: Scope, path: Path, bound: Bound) -> None:
        self.scopes.setdefault(scope, Reached()).lines[scope.label(path), f"import {bound}"] = ""

    def _only_imported(self, scope: Scope, path: Path, bound: Bound) -> None:
        """Include the side effects of importing a module."""
        file = scope.file(bound.module) if bound.top else scope.imported(bound, path)
        for one in (file, self._submodule(scope, file, bound)):
            if one is not None:
                self.open(scope, one)

    def _import(self, scope: Scope, path: Path, bound: Bound, rest: tuple[str, ...]) -> None:
        """Include the names used of an import."""
        self._noted(scope, path, bound)
        file = scope.imported(bound, path)
        if bound.top and bound.module.count(".") and (deep := scope.file(bound.module)) is not None:
            self.open(scope, deep)
        if bound.attribute is None:
            if file is not None:
                self._within(scope, file, rest)
            elif bound.top and rest:  # a package without an __init__.py
                self._namespace(scope, bound.name, rest)
        elif file is not None:
            self._within(scope, file, (bound.attribute, *rest))
        elif (beneath := self._submodule(scope, None, bound)) is not None:
            self._within(scope, beneath, rest)

    def _submodule(self, scope: Scope, file: Path | None, bound: Bound) -> Path | None:
        """The module imported ``from`` a package, if it is a module."""
        if bound.attribute is None:
            return None
        if file is not None:
            return None if bound.attribute in scope.module(file).definitions else scope.beneath(file, bound.attribute)
        return None if bound.level else scope.file(f"{bound.module}.{bound.attribute}")

    def _namespace(self, scope: Scope, name: str, rest: tuple[str, ...]) -> None:
        for count in range(1, len(rest) + 1):
            if (file := scope.file(".".join((name, *rest[:count])))) is not None:
                self._within(scope, file, rest[count:])
                return

    def _within(self, scope: Scope, path: Path, chain: tuple[str, ...]) -> None:
        """Include the target of a dotted name in another module; the whole module if it is used as a value."""
        if not self._new(scope, path, "within", chain):
            return
        self.open(scope, path)
        module = scope.module(path)
        if chain and chain[0] in module.definitions:
            self.define(scope, path, chain[0])
        elif chain and chain[0] in module.imports:
            for bound in module.imports[chain[0]]:
                self._import(scope, path, bound, chain[1:])
        elif chain and (beneath := scope.beneath(path, chain[0])) is not None:
            self._within(scope, beneath, chain[1:])
        elif not chain or not chain[0].startswith("__"):
            self.whole(scope, path)

    # Code that decides nothing

    def left_out(self, scope: Scope, path: Path, name: str) -> set[str]:
        """The methods of a class that decide nothing, and then its private methods."""
        module = scope.module(path)
        marked = {one for of, owner in self._ancestry(scope, path, name, set()) for one in of.marked(owner)}
        methods = module.methods(name)
        if not marked & set(methods):
            return set()
        private = {one for one in methods if one.startswith("_") and not one.endswith("__")}
        return {one for one in marked | private if one in module.methods(name) and module.simple(name, one)}

    def marked(self, scope: Scope, path: Path, name: str) -> bool:
        """Whether a class or a base class decides nothing as a whole."""
        return any(owner in of.marked(owner) for of, owner in self._ancestry(scope, path, name, set()))

    def _ancestry(
        self, scope: Scope, path: Path, name: str, seen: set[tuple[Path, str]]
    ) -> "Iterable[tuple[Module, str]]":
        """A class and its base classes in the package or in guideplug."""
        module = scope.module(path)
        if name not in module.classes or (path, name) in seen:
            return
        seen.add((path, name))
        yield module, name
        for base in module.bases(name):
            for place in self._located(scope, path, base) if base else ():
                yield from self._ancestry(*place, seen)

    def _located(self, scope: Scope, path: Path, chain: tuple[str, ...]) -> "Iterable[Place]":
        """The places at which the class of a dotted name is defined."""
        module = scope.module(path)
        if chain[0] in module.definitions:
            yield scope, path, chain[0]
        for bound in module.imports.get(chain[0], ()):
            for of in dict.fromkeys((scope, self._core)):
                rest = chain[1:] if bound.attribute is None else (bound.attribute, *chain[1:])
                file = of.imported(bound, path)
                while file is not None and rest and rest[0] not in of.module(file).definitions:
                    beneath = of.beneath(file, rest[0])
                    if rest[0] in of.module(file).imports or beneath is None:
                        break
                    file, rest = beneath, rest[1:]
                if file is not None and rest and file != path:
                    yield from self._located(of, file, rest)


def reached(
    roots: Iterable[tuple[ModuleType | None, str]], core: Scope, named: Iterable[str] = ()
) -> dict[str, Reached]:
    """The code reached from some classes by top-level package, without guideplug's own.

    Args:
        roots: modules and the names of classes in them.
        core: guideplug's own scope.
        named: names of methods that are included though they decide nothing.
    """
    reach = Reach(core, named)
    names: dict[str, Reached] = {}
    for module, name in roots:
        at = None if module is None else scope_of(module)
        if at is not None and at[0].name != core.name:
            reach.start(*at, name)
    for scope, files in reach.scopes.items():
        known = names.setdefault(scope.name, Reached())
        known.lines |= files.lines
        known.opaque += files.opaque
    return names
