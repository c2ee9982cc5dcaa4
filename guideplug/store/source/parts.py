"""The deciding files of a package, and their deciding definitions if only a part decides."""

from collections.abc import Iterable
from types import ModuleType

import attrs

from guideplug.store.source.module import Module
from guideplug.store.source.reach import Reach
from guideplug.store.source.scope import Scope, scope_of

__all__ = ["Part", "parts"]


@attrs.frozen
class Part:
    """A file, and the definitions in it that networks or samples depend on.

    Args:
        file: its path, relative to the folder of the package.
        counts: the included definitions; methods separate from their class as ``Class.method``.
        left: the excluded definitions.
    """

    file: str
    counts: tuple[str, ...]
    left: tuple[str, ...]


def parts(roots: Iterable[tuple[ModuleType, str]], core: Scope) -> tuple[list[Part], list[str]]:
    """The files of the packages of some classes, and the reasons for including whole packages."""
    reach, scopes = Reach(core), dict[Scope, None]()
    for module, name in roots:
        at = scope_of(module)
        if at is not None:
            reach.start(*at, name)
            scopes[at[0]] = None
    collected, opaque = list[Part](), list[str]()
    for scope in scopes:
        lines = reach.scopes[scope].lines
        opaque += reach.scopes[scope].opaque
        files = scope.files() or scope.read()
        for path in files:
            label = scope.label(path)
            there = _definitions(scope.module(path))
            counts = tuple(name for name in there if (label, name) in lines)
            left = tuple(name for name in there if name not in counts and name.partition(".")[0] in (name, *counts))
            if there or any(file == label for file, _ in lines):
                collected.append(Part(label, counts, left))
    return collected, list(dict.fromkeys(opaque))


def _definitions(module: Module) -> list[str]:
    """The definitions of a file and the methods of its classes, except hooks and ``__all__``."""
    names = [name for name in module.definitions if name != "__all__" and not name.startswith("guideplug_")]
    return [one for name in names for one in (name, *(f"{name}.{method}" for method in module.methods(name)))]
