"""A part of a file as text, and what it names; what imports bind."""

import ast

import attrs

__all__ = ["Bound", "Habits", "Piece", "bound_by", "dotted"]


@attrs.frozen
class Habits:
    """What a file does that its text depends on.

    Args:
        docstrings: whether it looks at docstrings, so that they count.
        annotations: whether it looks at annotations, so that all count.
        options: the names that `guideplug.option` has in it.
    """

    docstrings: bool = False
    annotations: bool = False
    options: frozenset[str] = frozenset()


@attrs.frozen
class Bound:
    """A name that an import binds.

    Args:
        name: the name.
        module: what is imported, as written; empty for ``from . import name``.
        attribute: what comes ``from`` it, or None where the module itself is bound.
        level: the number of dots of a relative import.
        types: whether it is there for annotations alone.
        top: whether the name is that of the package on top, as ``import a.b`` binds ``a``.
    """

    name: str
    module: str
    attribute: str | None = None
    level: int = 0
    types: bool = False
    top: bool = False

    def __str__(self) -> str:
        return f"{self.name} = {'.' * self.level}{self.module}{'' if self.attribute is None else f':{self.attribute}'}"


@attrs.frozen
class Piece:
    """A part of a file: its text, and what that names.

    Args:
        text: without what decides nothing.
        chains: dotted names, each as it is written, such as ``("np", "linalg", "norm")``.
        attributes: names that follow a dot; ``*`` for one that is computed.
        imports: what is imported within.
        opaque: what cannot be followed, with its line.
    """

    text: str
    chains: frozenset[tuple[str, ...]]
    attributes: frozenset[str]
    imports: tuple[Bound, ...]
    opaque: tuple[str, ...]


def dotted(node: ast.AST) -> tuple[str, ...]:
    """A dotted name as its parts; empty for anything else."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return (node.id, *reversed(parts)) if isinstance(node, ast.Name) else ()


def bound_by(node: ast.Import | ast.ImportFrom, *, types: bool = False) -> list[Bound]:
    """What an import binds; a star is bound under ``*``."""
    if isinstance(node, ast.ImportFrom):
        module = node.module or ""
        return [Bound(alias.asname or alias.name, module, alias.name, node.level, types) for alias in node.names]
    return [
        Bound(alias.asname or alias.name.partition(".")[0], alias.name, types=types, top=alias.asname is None)
        for alias in node.names
    ]
