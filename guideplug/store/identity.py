"""The identity of a recipe: a hash of everything that decides the weights.

It covers every option of the recipe, its strategies and the recipes that it refers to, except those that decide nothing
(`option(identity=False)`); their `content` (data fingerprints, bytes of files); and hashes of the deciding part of the
code (`guideplug.store.source`), so that an edited network never matches the weights of the old one. Device, number of
threads and seconds are excluded.
"""

import functools
import hashlib
import importlib.metadata
import json
import math
import sys
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import attrs

from guideplug.config import Duration, Strategy, breach, described, walk
from guideplug.files.function_name import FUNCTION, without_folder
from guideplug.guide import Guider
from guideplug.recipe import Recipe
from guideplug.reward import Reward
from guideplug.store.source import core_digest, core_scope, reached
from guideplug.task import Network

__all__ = ["code_behind", "code_of_classes", "describe", "identity"]


def identity(recipe: Recipe) -> str:
    """The recipe's identity in the store: 64 hexadecimal digits."""
    text = json.dumps(describe(recipe), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def describe(recipe: Recipe) -> dict[str, Any]:
    """The hashed content of `identity`: the recipe as plain data, and hashes of its code."""
    return {"recipe": _plain(recipe), "code": code_behind((recipe,))}


def code_behind(values: Iterable[Any], named: Collection[str] = ()) -> dict[str, str]:
    """The hash of the deciding code per top-level module of strategies; their data are not read.

    Args:
        values: strategies, with those in their options.
        named: methods whose code is included though it decides no network, such as a task's ``truth``; given some,
            strategies that decide nothing are included too.
    """
    strategies = (strategy for value in values for strategy in walk(value, Strategy))
    classes = {type(strategy) for strategy in strategies if named or strategy.decides}
    return code_of_classes(classes, named)


def code_of_classes(classes: Iterable[type[Strategy]], named: Iterable[str] = ()) -> dict[str, str]:
    """`code_behind` for classes."""
    return dict(_code(frozenset(classes), frozenset(named)))


def _plain(value: Any) -> Any:
    if isinstance(value, Duration):
        return str(value)
    if attrs.has(type(value)):
        fields = {
            a.name: _plain(getattr(value, a.name))
            for a in attrs.fields(type(value))
            if a.init and _decides(a, getattr(value, a.name))
        }
        if isinstance(value, Strategy):
            fields["name"] = value.name
        if isinstance(value, Recipe | Network | Reward):
            fields["content"] = _content(value)
            if value.name == "load":
                del fields["path"]  # the bytes are hashed, not the path
        if isinstance(value, Guider) and (content := _content(value)):
            fields["content"] = content
        if fields.get("content"):  # the code of a function is hashed, not where it lies
            fields = {key: _without_folder(item) for key, item in fields.items()}
        return fields
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):  # one text per number; JSON has no infinity
        return int(value) if value.is_integer() else value if math.isfinite(value) else str(value)
    return value


def _without_folder(value: Any) -> Any:
    return without_folder(value) if isinstance(value, str) and FUNCTION.fullmatch(value) else value


def _decides(attribute: "attrs.Attribute[Any]", value: object) -> bool:
    """Whether a field's value is part of the identity."""
    decides = attribute.metadata.get("identity", True)
    if decides != "unless default":
        return bool(decides)
    default: Any = attribute.default
    return bool(value != (default.factory() if hasattr(default, "factory") else default))


def _content(strategy: Any) -> str:
    """What a strategy says besides its options.

    Raises:
        ContractError: it is no text.
    """
    content = strategy.content()
    if not isinstance(content, str):
        raise breach(strategy, f"gave {described(content)} for its content: return a text, such as a hash")
    return content


@functools.cache
def _code(classes: frozenset[type[Strategy]], named: frozenset[str]) -> Mapping[str, str]:
    names = sorted((cls.__module__, cls.__qualname__.partition(".")[0]) for cls in classes)
    packages = reached([(sys.modules.get(module), name) for module, name in names], core_scope(), named)
    code = {"guideplug": core_digest()}
    for root in sorted({module.partition(".")[0] for module, _ in names} - {"guideplug"}):
        code[root] = f"{_beyond_python(root)}{packages[root].digest if root in packages else 'no source'}"
    return code


@functools.cache
def _beyond_python(root: str) -> str:
    """The version of a package's distribution, if it holds more than Python: it represents the other files."""
    file = getattr(sys.modules.get(root), "__file__", None)
    folder = None if file is None else Path(file).parent
    if folder is not None and Path(file).name == "__init__.py":  # type: ignore[arg-type]
        there = (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
        if all(path.suffix in (".py", ".pyi") or path.name == "py.typed" for path in there):
            return ""
    elif file is not None and file.endswith(".py"):
        return ""
    distributions = importlib.metadata.packages_distributions().get(root, [])
    return "".join(f"{name} {importlib.metadata.version(name)}, " for name in sorted(set(distributions)))
