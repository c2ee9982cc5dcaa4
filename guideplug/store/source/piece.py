"""A part of a file as text with the names in it, and the names bound by imports."""

import ast

import attrs

__all__ = ["Bound", "Habits", "Piece", "bound_by", "dotted"]


@attrs.frozen
class Habits:
    """Properties of a file that determine its hashed text.

    Args:
        docstrings: whether it reads docstrings, so that they are included.
        annotations: whether it reads annotations, so that all are included.
        options: the names of `guideplug.option` in it.
    """

    docstrings: bool = False
    annotations: bool = False
    options: frozenset[str] = frozenset()


@attrs.frozen
class Bound:
    """A name bound by an import.

    Args:
        name: the name.
        module: the imported module, as written; empty for ``from . import name``.
        attribute: the name imported ``from`` it; None if the module itself is bound.
        level: the number of dots of a relative import.
        types: whether it is imported for annotations alone.
        top: whether the name is the top-level package, as ``import a.b`` binds ``a``.
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
    """A part of a file: its text, and the names in it.

    Args:
        text: the text without parts that decide nothing.
        chains: dotted names as written, such as ``("np", "linalg", "norm")``.
        attributes: names after a dot; ``*`` for a computed one.
        imports: the imports inside.
        opaque: constructs that cannot be followed, with their lines.
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
    """The names bound by an import; a star import binds ``*``."""
    if isinstance(node, ast.ImportFrom):
        module = node.module or ""
        return [Bound(alias.asname or alias.name, module, alias.name, node.level, types) for alias in node.names]
    return [
        Bound(alias.asname or alias.name.partition(".")[0], alias.name, types=types, top=alias.asname is None)
        for alias in node.names
    ]
