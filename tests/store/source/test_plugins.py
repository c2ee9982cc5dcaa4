"""Of every installed plugin: words and layout decide nothing, figures and metrics neither, and whatever runs counts."""

import ast
import io
import shutil
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import attrs
import pytest
import torch

from guideplug.config import Strategy
from guideplug.observe import Observers
from guideplug.registry.registry import Plugin, Registry
from guideplug.rng import SampleStreams
from guideplug.run.builder import StoreBuilder
from guideplug.run.code import deciding
from guideplug.run.preflight import guided
from guideplug.run.resolve import Request, resolve
from guideplug.store import Store
from guideplug.store.source import Reach, core_scope
from guideplug.store.source.scope import Scope, scope_of
from guideplug.task import Metric, Task

REGISTRY = Registry.installed()
PLUGINS = [plugin for plugin in REGISTRY.plugins[1:] if deciding(plugin)]
TASKS = [cls for cls in REGISTRY.classes(Task) if "example" not in vars(cls)]  # type: ignore[type-abstract]
SHOWN = ("figure", "animate", "metrics", "primary", "truth")


def roots_of(plugin: Plugin) -> list[tuple[Path, str]]:
    """The files and names of the classes that a plugin offers, but for those that decide nothing."""
    return [(Path(sys.modules[cls.__module__].__file__ or ""), cls.__name__) for cls in deciding(plugin)]


def copied(plugin: Plugin, folder: Path) -> Path:
    package = Path(sys.modules[plugin.origin.partition(":")[0].partition(".")[0]].__file__ or "").parent
    return Path(shutil.copytree(package, folder / package.name, ignore=shutil.ignore_patterns("__pycache__")))


def reach(plugin: Plugin, package: Path) -> dict[tuple[str, str], str]:
    scope, found = Scope(package.name, (package.parent,), package.name), Reach(core_scope())
    for path, name in roots_of(plugin):
        found.start(scope, package / path.relative_to(next(p for p in path.parents if p.name == package.name)), name)
    return found.scopes[scope].lines


def reworded(text: str) -> str:
    """A file with other docstrings, another comment on every line that can have one, and blank lines."""
    lines = text.splitlines()
    strings = {
        number
        for token in tokenize.generate_tokens(io.StringIO(text).readline)
        for number in range(token.start[0], token.end[0])
    }
    for node in sorted(ast.walk(ast.parse(text)), key=lambda node: -getattr(node, "lineno", 0)):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.body[0].lineno > node.lineno:
            first = node.body[0]
            words = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
            at = getattr(first, "decorator_list", None)
            line = at[0].lineno if at else first.lineno
            if not words:
                lines.insert(line - 1, f'{" " * first.col_offset}"""Words."""')
            elif first.lineno not in strings:
                lines[first.lineno - 1] = f'{" " * first.col_offset}"""Other words."""'
    return '"""Other words, of all."""\n\n\n# a comment\n' + "\n".join(lines) + "\n\n\n# the end\n"


@pytest.mark.slow
@pytest.mark.parametrize("plugin", PLUGINS, ids=lambda plugin: plugin.name)
def test_words_and_layout_decide_nothing(plugin: Plugin, tmp_path: Path) -> None:
    package = copied(plugin, tmp_path)
    plain = reach(plugin, package)
    for path in package.rglob("*.py"):
        before = path.read_text()
        path.write_text(reworded(before))
        assert path.read_text() != before
    assert reach(plugin, package) == plain


@pytest.mark.slow
@pytest.mark.parametrize("plugin", PLUGINS, ids=lambda plugin: plugin.name)
def test_a_number_decides_where_it_is_reached_and_nowhere_else(plugin: Plugin, tmp_path: Path) -> None:
    """The first number of each definition, in turn."""
    package = copied(plugin, tmp_path)
    plain = reach(plugin, package)
    changed = 0
    for path in package.rglob("*.py"):
        text, label = path.read_text(), path.relative_to(package.parent).as_posix()
        for name, node in _definitions(ast.parse(text)):
            number = next(_numbers(node), None)
            if number is None:
                continue
            lines = text.splitlines(keepends=True)
            line = lines[number.lineno - 1].encode()
            lines[number.lineno - 1] = (line[: number.col_offset] + b"987654" + line[number.end_col_offset :]).decode()
            path.write_text("".join(lines))
            assert (reach(plugin, package) != plain) is ((label, name) in plain), name
            path.write_text(text)
            changed += 1
            if changed == 12:  # enough of one plugin
                return


def _numbers(node: ast.AST) -> Iterator[Any]:
    """The numbers in a piece of code, but for those in messages."""
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        yield node
    for inner in () if isinstance(node, ast.Raise | ast.Assert) else ast.iter_child_nodes(node):
        yield from _numbers(inner)


def _definitions(tree: ast.Module) -> Iterator[tuple[str, Any]]:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            yield node.name, ast.Module(node.body, [])
        elif isinstance(node, ast.ClassDef):
            for inner in node.body:
                if isinstance(inner, ast.FunctionDef):
                    yield f"{node.name}.{inner.name}", ast.Module(inner.body, [])


@pytest.mark.parametrize("cls", REGISTRY.classes(Task), ids=lambda cls: cls.name)  # type: ignore[type-abstract]
def test_what_a_task_shows_decides_nothing(cls: type[Task], tmp_path: Path) -> None:
    plugin = next(one for one in PLUGINS if cls in deciding(one))
    package = copied(plugin, tmp_path)
    plain = reach(plugin, package)
    source = Path(sys.modules[cls.__module__].__file__ or "")
    path = package / source.relative_to(next(one for one in source.parents if one.name == package.name))
    text = path.read_text()
    (of,) = (node for node in ast.parse(text).body if isinstance(node, ast.ClassDef) and node.name == cls.__name__)
    lines = text.splitlines(keepends=True)
    shown = [node for node in of.body if isinstance(node, ast.FunctionDef) and node.name in SHOWN]
    assert {"figure", "metrics", "truth"} <= {node.name for node in shown}
    for node in reversed(shown):
        first, last = node.body[0].lineno, node.end_lineno
        lines[first - 1 : last] = ["        return [path_to_nothing, 17]\n"]
    path.write_text("".join(lines))
    assert reach(plugin, package) == plain


@pytest.mark.slow
def test_editing_a_metric_decides_nothing(tmp_path: Path) -> None:
    """Every metric that is offered, and those of tasks."""
    metrics = {type(one) for cls in TASKS for one in cls().metrics()} | set(REGISTRY.classes(Metric))  # type: ignore[type-abstract]
    packages: dict[str, tuple[Plugin, Path, Any]] = {}
    for plugin in PLUGINS:
        package = copied(plugin, tmp_path)
        packages[package.name] = plugin, package, reach(plugin, package)
    seen = 0
    for metric in metrics:
        root = metric.__module__.partition(".")[0]
        if root not in packages:
            continue
        seen += 1
        plugin, package, plain = packages[root]
        source = Path(sys.modules[metric.__module__].__file__ or "")
        path = package / source.relative_to(next(one for one in source.parents if one.name == package.name))
        text = path.read_text()
        path.write_text(text.replace(f"class {metric.__name__}(", f"class {metric.__name__}(int, ", 1))
        assert path.read_text() != text
        assert reach(plugin, package) == plain, metric
        path.write_text(text)
    assert seen > 10


# What runs counts


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "guider", "selector"),
    [
        ("tree", "autoguidance", "early-jest"),
        ("digits", "cfg", "jest"),
        ("mixture", "interval(guider=cfg, high=1)", "loss"),
        ("gaussian", "autoguidance", "random"),
    ],
)
def test_whatever_runs_in_a_training_and_in_sampling_counts(
    task: str, guider: str, selector: str, tmp_path: Path
) -> None:
    """The oracle of what is reached: functions of plugins that run while networks are trained and samples drawn."""
    values = {
        "task": task, "guider": guider, "selector": selector, "duration": "2it", "batch": 256, "samples": 8,
        "device": "cpu", "threads": 1,
    }  # fmt: skip
    config = resolve(Request(values), REGISTRY)
    ran: set[tuple[str, int]] = set()

    def notice(frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            ran.add((frame.f_code.co_filename, frame.f_code.co_firstlineno))

    sys.setprofile(notice)
    try:
        shop = StoreBuilder(Store(tmp_path), torch.device("cpu"), Observers())
        models: Any = {role: shop.obtain(recipe) for role, recipe in config.recipes.items()}
        assert config.guider is not None
        point = guided(config.guider, models)
        streams = SampleStreams(0, range(8))
        start = config.task.start(streams, config.sampler.sigmas(point)[0])
        config.sampler.sample(point, start.x, start.condition, streams)
    finally:
        sys.setprofile(None)
    found = Reach(core_scope())
    for cls in {
        type(one) for one in _strategies([*config.recipes.values(), config.task, config.guider, config.sampler])
    }:
        at = scope_of(sys.modules[cls.__module__])
        assert at is not None
        found.start(*at, cls.__name__)
    lines = {key for scope in found.scopes.values() for key in scope.lines}
    roots = {Path(str(sys.modules[p.origin.partition(":")[0].partition(".")[0]].__file__)).parent for p in PLUGINS}
    missing, there = [], 0
    for file, line in sorted(ran):
        root = next((one for one in roots if Path(file).is_relative_to(one)), None)
        if root is None:
            continue
        name = _around(Path(file), line)
        if name is not None:
            there += 1
            if (Path(file).relative_to(root.parent).as_posix(), name) not in lines:
                missing.append((file, name))
    assert there > 10
    assert not missing


def _strategies(value: Any) -> Iterator[Strategy]:
    if isinstance(value, Strategy):
        yield value
        for attribute in attrs.fields(type(value)):
            yield from _strategies(getattr(value, attribute.name))
    elif attrs.has(type(value)):
        for attribute in attrs.fields(type(value)):
            yield from _strategies(getattr(value, attribute.name))
    elif isinstance(value, dict):
        for item in value.values():
            yield from _strategies(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _strategies(item)


def _around(path: Path, line: int) -> str | None:
    """The definition at top level, or the method, that a line is of."""
    for node in ast.parse(path.read_text()).body:
        first = min([node.lineno, *(one.lineno for one in getattr(node, "decorator_list", ()))])
        if not first <= line <= (node.end_lineno or first):
            continue
        if isinstance(node, ast.FunctionDef):
            return node.name
        if isinstance(node, ast.ClassDef):
            for inner in node.body:
                if isinstance(inner, ast.FunctionDef):
                    begin = min([inner.lineno, *(one.lineno for one in inner.decorator_list)])
                    if begin <= line <= (inner.end_lineno or begin):
                        return f"{node.name}.{inner.name}"
            return node.name
    return None
