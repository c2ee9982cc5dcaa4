"""The identity of a recipe: a hash over everything that decides the weights.

That is the recipe's every option, down through its strategies and the recipes it refers to, but for those that say that
they decide nothing (`option(decides=False)`); what their `content` says beyond that (data fingerprints, bytes of
files); the version of each distribution involved; and a hash of its source, so that an edited file never finds an old
network. Device, number of threads and seconds are not part of it.
"""

import functools
import hashlib
import importlib.metadata
import inspect
import json
import math
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs

import guideplug
from guideplug.config import Duration, Strategy
from guideplug.digest import files_digest, module_digest
from guideplug.guide import Guider
from guideplug.recipe import Recipe
from guideplug.reward import Reward
from guideplug.task import Network

__all__ = ["code_behind", "describe", "identity", "source_digest"]

NOT_TRAINED_WITH = {
    "check", "cli", "compare", "demo", "laboratory", "metrics", "report", "run", "scaffold", "testing", "watch",
    "__main__.py", "data_check.py", "files.py", "held_out.py", "hooks.py", "names.py", "observe.py", "paired.py",
    "registry.py", "study.py", "trust.py",
}  # fmt: skip
"""Rooms of the core that no weight depends on: editing them does not disown trained networks."""
TRAINED_WITH = {"run/workshop.py"}
"""Files in those rooms that weights depend on all the same."""


def identity(recipe: Recipe) -> str:
    """The recipe's address in the store: 64 hexadecimal digits."""
    text = json.dumps(describe(recipe), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def describe(recipe: Recipe) -> dict[str, Any]:
    """What `identity` hashes: the recipe as plain data, and the code it was followed with."""
    return {"recipe": _plain(recipe), "code": code_behind(recipe)}


def code_behind(recipe: Recipe) -> dict[str, str]:
    """Version and hash of each top-level module that a recipe is followed with; its data are not looked at."""
    modules = sorted({type(strategy).__module__ for strategy in _strategies(recipe)})
    return {"guideplug": _core(), **dict(map(_code, modules))}


def _plain(value: Any) -> Any:
    if isinstance(value, Duration):
        return str(value)
    if attrs.has(type(value)):
        fields = {
            a.name: _plain(getattr(value, a.name))
            for a in attrs.fields(type(value))
            if a.init and a.metadata.get("decides", True)
        }
        if isinstance(value, Strategy):
            fields["name"] = value.name
        if isinstance(value, Recipe | Network | Reward):
            fields["content"] = value.content()
            if value.name == "load":
                del fields["path"]  # the bytes count, not where they lie
        if isinstance(value, Guider) and (content := value.content()):
            fields["content"] = content
        return fields
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):  # equal numbers have one text, and JSON has none for infinity
        return int(value) if value.is_integer() else value if math.isfinite(value) else str(value)
    return value


def _strategies(value: Any) -> Iterator[Strategy]:
    if isinstance(value, Strategy):
        yield value
    if attrs.has(type(value)):
        for attribute in attrs.fields(type(value)):
            yield from _strategies(getattr(value, attribute.name))
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _strategies(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _strategies(item)


def _code(module: str) -> tuple[str, str]:
    root = module.partition(".")[0]
    if root == "guideplug":
        return "guideplug", _core()
    return root, f"{_version(root)} {source_digest(root)}"


@functools.cache
def _version(root: str) -> str:
    distributions = importlib.metadata.packages_distributions().get(root, [])
    return ", ".join(sorted(f"{name} {importlib.metadata.version(name)}" for name in set(distributions)))


@functools.cache
def _core() -> str:
    folder = Path(inspect.getfile(guideplug)).parent
    files = [
        file
        for file in folder.rglob("*.py")
        if file.relative_to(folder).parts[0] not in NOT_TRAINED_WITH
        or file.relative_to(folder).as_posix() in TRAINED_WITH
    ]
    return f"{_version('guideplug')} {files_digest(folder, files)}"


def source_digest(root: str) -> str:
    """The hash of a top-level module's source: of its file, or of every Python file of the package."""
    return module_digest(sys.modules[root])
