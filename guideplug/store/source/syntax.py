"""The text of a syntax tree, for hashes of code: without parts that decide nothing, equal from Python 3.11 on.

Excluded are layout, comments and docstrings; annotations outside of class bodies; ``help`` and ``unit`` of a
`guideplug.option`; the text of the exception in a ``raise``, and of an ``assert``; ``if TYPE_CHECKING`` blocks;
``pass``. The names in the text are collected with it, to follow them.

``ast.dump`` is unsuitable: Python versions differ in its text of empty fields, and in empty parts of f-strings.
"""

import ast
from collections.abc import Iterable, Sequence
from typing import Any

from guideplug.store.source.piece import Bound, Habits, Piece, bound_by, dotted

__all__ = ["PLAIN", "decides", "piece_of", "types_only"]

PLAIN = {
    "abstractmethod", "cache", "cached_property", "classmethod", "contextmanager", "dataclass", "decides_nothing",
    "define", "final", "frozen", "hook", "inference_mode", "lru_cache", "mutable", "no_grad", "override", "overload",
    "property", "runtime_checkable", "s", "staticmethod", "total_ordering", "wraps",
}  # fmt: skip
"""Decorators that register nothing and do not read the annotations of functions."""
OPAQUE_CALLS = {"__import__", "eval", "exec", "globals"}
OPAQUE = {
    "__globals__",
    "__init_subclass__",
    "__subclasses__",
    "exec_module",
    "import_module",
    "spec_from_file_location",
}
BY_NAME = {"attrgetter", "getattr", "methodcaller"}


def piece_of(nodes: Iterable[ast.AST], habits: Habits, *, in_class: bool = False) -> Piece:
    """The piece of some nodes."""
    writer = _Writer(habits)
    for node in nodes:
        writer.write(node, in_class)
    return Piece(
        " ".join(writer.out),
        frozenset(writer.chains),
        frozenset(writer.attributes),
        tuple(writer.imports),
        tuple(writer.opaque),
    )


def decides(node: ast.AST, habits: Habits) -> bool:
    """Whether a statement is included."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return habits.docstrings and isinstance(node.value.value, str)
    if isinstance(node, ast.AnnAssign) and node.value is None:
        return habits.annotations
    return not isinstance(node, ast.Pass) and not (types_only(node) and not node.orelse)  # type: ignore[attr-defined]


def types_only(node: ast.AST) -> bool:
    """Whether a statement is an ``if TYPE_CHECKING``."""
    return isinstance(node, ast.If) and dotted(node.test)[-1:] == ("TYPE_CHECKING",)


class _Writer:
    def __init__(self, habits: Habits) -> None:
        self.habits = habits
        self.out: list[str] = []
        self.chains: set[tuple[str, ...]] = set()
        self.attributes: set[str] = set()
        self.imports: list[Bound] = []
        self.opaque: list[str] = []

    def write(self, node: Any, in_class: bool = False) -> None:
        """Write a node, a list of nodes, or the value of a field."""
        if isinstance(node, ast.AST):
            kind = type(node).__name__
            special = getattr(self, f"_{kind.lower()}", None)
            if special is not None:
                special(node, in_class)
            else:
                self._fields(kind, node)
        elif isinstance(node, list):
            self.out.append("[")
            for item in node:
                if (
                    not isinstance(item, ast.stmt)
                    or decides(item, self.habits)
                    or (in_class and isinstance(item, ast.AnnAssign))
                ):
                    self.write(item, in_class)
            self.out.append("]")
        else:
            self.out.append(repr(node))

    def _fields(self, kind: str, node: ast.AST, without: Sequence[str] = ()) -> None:
        self.out.append(f"{kind}(")
        for name in node._fields:
            value = getattr(node, name, None)
            if value is None or value == [] or name in without or name in ("ctx", "type_comment"):
                continue
            self.out.append(name)
            self.write(value)
        self.out.append(")")

    # Names

    def _name(self, node: ast.Name, _: bool) -> None:
        self.chains.add((node.id,))
        self.out.append(node.id)

    def _attribute(self, node: ast.Attribute, _: bool) -> None:
        parts, base = [node.attr], node.value
        while isinstance(base, ast.Attribute):
            parts.append(base.attr)
            base = base.value
        parts.reverse()
        self.attributes.update(parts)
        self._look(parts[-1], node, OPAQUE)
        if isinstance(base, ast.Name):
            self.chains.add((base.id, *parts))
            if (base.id, parts[0]) == ("sys", "modules"):
                self.opaque.append(f"line {node.lineno}: sys.modules")
            self.out.append(".".join((base.id, *parts)))
        else:
            self.write(base)
            self.out.append("".join(f".{part}" for part in parts))

    def _look(self, name: str, node: Any, opaque: set[str]) -> None:
        if name in opaque:
            self.opaque.append(f"line {node.lineno}: {name}")

    def _import(self, node: ast.Import | ast.ImportFrom, _: bool) -> None:
        """An import without its names, which are followed separately."""
        self.imports += bound_by(node)
        self.out.append("; ".join(str(bound) for bound in bound_by(node)))

    _importfrom = _import

    # Parts that decide nothing

    def _constant(self, node: ast.Constant, _: bool) -> None:
        self.out.append(repr(node.value))

    def _joinedstr(self, node: ast.JoinedStr, _: bool) -> None:
        self.out.append("f(")
        for value in node.values:
            if not (isinstance(value, ast.Constant) and value.value == ""):
                self.write(value)
        self.out.append(")")

    def _formattedvalue(self, node: ast.FormattedValue, _: bool) -> None:
        empty = isinstance(node.format_spec, ast.JoinedStr) and not node.format_spec.values
        self._fields("FormattedValue", node, ("format_spec",) if empty else ())

    def _functiondef(self, node: ast.FunctionDef | ast.AsyncFunctionDef, _: bool) -> None:
        self._look(node.name, node, OPAQUE)
        looked_at = self.habits.annotations or not all(map(_plain, node.decorator_list))
        self.out.append(f"{type(node).__name__} {node.name}(")
        arguments = node.args
        for kind in ("posonlyargs", "args", "vararg", "kwonlyargs", "kwarg"):
            value = getattr(arguments, kind)
            if not value:
                continue
            self.out.append(kind)
            for one in value if isinstance(value, list) else [value]:
                self.out.append(one.arg)
                if looked_at and one.annotation is not None:
                    self.write(one.annotation)
        self.write([*arguments.defaults])
        self.write([one if one is not None else ast.Constant(...) for one in arguments.kw_defaults])
        if looked_at and node.returns is not None:
            self.write(node.returns)
        self.write(node.decorator_list)
        self.write(node.body)
        self.out.append(")")

    _asyncfunctiondef = _functiondef

    def _classdef(self, node: ast.ClassDef, _: bool) -> None:
        for keyword in node.keywords:
            if keyword.arg == "metaclass" and dotted(keyword.value)[-1:] != ("ABCMeta",):
                self.opaque.append(f"line {node.lineno}: a metaclass")
        self.out.append(f"ClassDef {node.name}(")
        for part in (node.bases, node.keywords, node.decorator_list):
            self.write(part)
        self.write(node.body, in_class=True)
        self.out.append(")")

    def _annassign(self, node: ast.AnnAssign, in_class: bool) -> None:
        if in_class or self.habits.annotations:
            self._fields("AnnAssign", node)
        elif node.value is not None:
            self._fields("Assign", ast.Assign([node.target], node.value))

    def _if(self, node: ast.If, _: bool) -> None:
        if types_only(node):
            self.write(node.orelse)
        else:
            self._fields("If", node)

    def _raise(self, node: ast.Raise, _: bool) -> None:
        if isinstance(node.exc, ast.Call):
            call = node.exc
            spoken = [one for one in call.args if not _is_text(one)]
            keywords = [one for one in call.keywords if not _is_text(one.value)]
            node = ast.Raise(ast.Call(call.func, spoken, keywords), node.cause)
        self._fields("Raise", node)

    def _assert(self, node: ast.Assert, _: bool) -> None:
        self._fields("Assert", node, ("msg",))

    def _call(self, node: ast.Call, _: bool) -> None:
        name = dotted(node.func)
        if len(name) == 1:
            self._look(name[0], node, OPAQUE_CALLS | OPAQUE)
        if name[-1:] and name[-1] in BY_NAME:
            named = node.args[1:2] if name[-1] == "getattr" else node.args
            for one in named:
                self.attributes.add(one.value if isinstance(one, ast.Constant) and isinstance(one.value, str) else "*")
        if ".".join(name) in self.habits.options:
            node = ast.Call(node.func, node.args, [one for one in node.keywords if one.arg not in ("help", "unit")])
        self._fields("Call", node)


def _plain(decorator: ast.expr) -> bool:
    name = dotted(decorator.func if isinstance(decorator, ast.Call) else decorator)
    return name[-1:] != () and name[-1] in PLAIN


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))
