"""A Python file as definitions, imports and other statements."""

import ast
import functools
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from guideplug.store.source.piece import Bound, Habits, Piece, bound_by, dotted
from guideplug.store.source.syntax import PLAIN, decides, piece_of, types_only

__all__ = ["Module"]

DOCSTRINGS = re.compile(rb"__doc__|getdoc")
ANNOTATIONS = re.compile(rb"__annotations__|get_type_hints|get_annotations")
MARK = "decides_nothing"


class Module:
    """A file: its top-level definitions by name, methods separate; imports; other statements.

    Args:
        path: the path of the file.
        source: its bytes.

    Raises:
        SyntaxError: the source is not valid Python.
    """

    def __init__(self, path: Path, source: bytes) -> None:
        self.path = path
        self.imports: dict[str, list[Bound]] = {}
        self.definitions: dict[str, list[ast.stmt]] = {}
        self.classes: dict[str, ast.ClassDef] = {}
        self.statements: list[ast.stmt] = []
        self.registering: set[str] = set()
        """Definitions with decorators that may have side effects."""
        self._pieces: dict[tuple[str, str], Piece] = {}
        self._tree = ast.parse(source, str(path))
        for node in self._tree.body:
            self._sort(node)
        options = [
            *(bound.name for bound in self._bound() if bound.attribute == "option" and _ours(bound)),
            *(f"{bound.name}.option" for bound in self._bound() if bound.attribute is None and _ours(bound)),
        ]
        self._habits = Habits(
            DOCSTRINGS.search(source) is not None, ANNOTATIONS.search(source) is not None, frozenset(options)
        )
        self.statements = [node for node in self.statements if decides(node, self._habits)]

    def _bound(self) -> Iterator[Bound]:
        for several in self.imports.values():
            yield from several

    def _sort(self, node: ast.stmt) -> None:
        """Sort a top-level statement into definitions, imports or other statements."""
        if isinstance(node, ast.Import | ast.ImportFrom):
            self._bind(node)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            self.definitions.setdefault(node.name, []).append(node)
            if isinstance(node, ast.ClassDef):
                self.classes[node.name] = node
            if not all(map(self._decorates_only, node.decorator_list)):
                self.registering.add(node.name)
            for inner in ast.walk(node):
                for name in inner.names if isinstance(inner, ast.Global) else ():
                    self.definitions.setdefault(name, []).append(node)  # a call of it rebinds the name
        elif names := _assigned(node):
            for name in names:
                self.definitions.setdefault(name, []).append(node)
        elif types_only(node):
            assert isinstance(node, ast.If)
            self._bind_within(node.body, types=True)
            for inner in node.orelse:
                self._sort(inner)
        else:
            self._bind_within([node])
            self.statements.append(node)

    def _bind_within(self, nodes: list[ast.stmt], *, types: bool = False) -> None:
        for node in nodes:
            for inner in ast.walk(node):
                if isinstance(inner, ast.Import | ast.ImportFrom):
                    self._bind(inner, types=types)

    def _bind(self, node: ast.Import | ast.ImportFrom, *, types: bool = False) -> None:
        for bound in bound_by(node, types=types):
            if bound.module != "__future__":
                self.imports.setdefault(bound.name, []).append(bound)

    def _decorates_only(self, decorator: ast.expr) -> bool:
        name = dotted(decorator.func if isinstance(decorator, ast.Call) else decorator)
        return name[-1:] != () and name[-1] in PLAIN and name[0] not in self.definitions

    @functools.cached_property
    def unused(self) -> list[Bound]:
        """Imports whose names the file does not use: imported for their side effects."""
        used = {node.id for node in ast.walk(self._tree) if isinstance(node, ast.Name)}
        for node in self.definitions.get("__all__", ()):
            used |= {
                one.value for one in ast.walk(node) if isinstance(one, ast.Constant) and isinstance(one.value, str)
            }
        return [bound for bound in self._bound() if not bound.types and bound.name not in used]

    # Pieces

    def core(self, name: str) -> Piece:
        """A definition; a class without its methods."""
        return self._piece(name, "", lambda: list(map(self._without_methods, self.definitions[name])))

    def method(self, name: str, method: str) -> Piece:
        """A method of a class, with its redefinitions, such as a property's setter."""
        return self._piece(name, method, lambda: [node for node in self._methods(name) if node.name == method])

    def statement(self, number: int) -> Piece:
        """One of the statements that are always included."""
        return self._piece(f"{number}", "statement", lambda: [self.statements[number]])

    def _piece(self, name: str, part: str, nodes: Callable[[], Sequence[ast.stmt]]) -> Piece:
        if (name, part) not in self._pieces:
            self._pieces[name, part] = piece_of(nodes(), self._habits)
        return self._pieces[name, part]

    def _without_methods(self, node: ast.stmt) -> ast.stmt:
        if not isinstance(node, ast.ClassDef):
            return node
        body = [inner for inner in node.body if not isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef)]
        return ast.ClassDef(node.name, node.bases, node.keywords, body, node.decorator_list, lineno=node.lineno)

    def _methods(self, name: str) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
        for node in self.definitions.get(name, ()):
            if isinstance(node, ast.ClassDef):
                yield from (one for one in node.body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef))

    def methods(self, name: str) -> list[str]:
        """The names of a class's methods, each once; empty for other definitions."""
        return list(dict.fromkeys(node.name for node in self._methods(name)))

    def simple(self, name: str, method: str) -> bool:
        """Whether a method's decorators have no side effects."""
        nodes = [node for node in self._methods(name) if node.name == method]
        return all(self._decorates_only(one) for node in nodes for one in node.decorator_list)

    def bases(self, name: str) -> list[tuple[str, ...]]:
        """The bases of a class, as dotted names."""
        of = self.classes.get(name)
        bases = [] if of is None else of.bases
        return [dotted(base.value if isinstance(base, ast.Subscript) else base) for base in bases]

    def marked(self, name: str) -> set[str]:
        """The methods of a class that are marked as deciding nothing; its own name if the whole class is."""
        of = self.classes.get(name)
        nodes = [] if of is None else [of, *self._methods(name)]
        return {node.name for node in nodes if any(dotted(one)[-1:] == (MARK,) for one in node.decorator_list)}


def _ours(bound: Bound) -> bool:
    return not bound.level and bound.module.partition(".")[0] == "guideplug"


def _assigned(node: ast.stmt) -> list[str]:
    """The names that a plain assignment defines; none for other statements."""
    if isinstance(node, ast.AnnAssign):
        targets: list[ast.expr] = [node.target]
    elif isinstance(node, ast.Assign):
        targets = node.targets
    else:
        return [node.name.id] if type(node).__name__ == "TypeAlias" else []  # type: ignore[attr-defined]
    parts = [part for one in targets for part in (one.elts if isinstance(one, ast.Tuple | ast.List) else [one])]
    names = [part.id for part in parts if isinstance(part, ast.Name)]
    return names if len(names) == len(parts) and "_" not in names else []
