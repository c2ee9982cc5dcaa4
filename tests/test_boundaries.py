"""Which room imports which, what plugins may import, and what the public surface costs: read from the sources."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from importlib import import_module
from importlib.metadata import packages_distributions
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import pytest

import guideplug
from guideplug import metrics
from guideplug.registry.registry import Registry

ROOT = Path(__file__).parents[1]
CORE = ROOT / "guideplug"
WINGS = sorted(path.parent for path in CORE.glob("*/__init__.py"))
PLUGINS = sorted(path for path in (ROOT / "plugins").iterdir() if not path.name.startswith((".", "__")))

DISTRIBUTIONS = packages_distributions()
"""The distributions that bring each module, of those installed."""

ROOMS = [
    "errors", "rng", "config", "executors", "files", "observe", "observers", "denoise", "recipe", "noise", "adapters",
    "sample", "solver", "sigma_sampler", "reward", "features", "image_grid", "task", "objective", "guide", "select",
    "metrics", "study", "check", "store", "train", "recipes", "registry", "run", "experiments", "report", "testing",
    "cli", "__main__",
]  # fmt: skip
"""A room imports only from those before it."""

ONLY_FOR_TYPES = {
    # Hook specifications name every kind in annotations; a registry is there before torch is imported.
    "registry": {
        "denoise",
        "executors",
        "features",
        "guide",
        "objective",
        "observe",
        "recipe",
        "reward",
        "sample",
        "select",
        "study",
        "task",
    },
    # A moment of a training names its networks and what is drawn from them; observers are there before torch is.
    "observe": {"denoise", "task"},
}
"""What a room names in annotations alone, each with its reason; four rooms at most."""


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """Every absolute module (or module.name) that a file imports, and whether for types only."""
    tree = ast.parse(path.read_text(), str(path))
    typed = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")
        for statement in node.body
        for inner in ast.walk(statement)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, id(node) in typed) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively: the room it means should be readable"
            yield from ((f"{node.module}.{alias.name}", id(node) in typed) for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in (
            "import_module",
            "importlib.import_module",
            "__import__",
        ):
            lazy = [CORE / "__init__.py", CORE / "metrics" / "__init__.py", CORE / "testing" / "__init__.py"]
            known = (*lazy, CORE / "recipes" / "python_ref.py")
            assert path in known, f"{path} imports by a computed name"


def room_of(path: Path) -> str:
    return path.relative_to(CORE).parts[0].removesuffix(".py")


def edges(*, types: bool) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for path in CORE.rglob("*.py"):
        for name, typed in imports(path):
            parts = name.split(".")
            if parts[0] == "guideplug" and len(parts) > 1 and typed is types and parts[1] != room_of(path):
                found.setdefault(room_of(path), set()).add(parts[1])
    return found


def module_of(path: Path) -> str:
    parts = path.relative_to(CORE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def file_edges(folder: Path = CORE) -> dict[str, set[str]]:
    """Which file of a folder imports which other one of it, for annotations alone too; an ``__init__`` is a file."""
    files = {module_of(path): path for path in folder.rglob("*.py")}
    used: dict[str, set[str]] = {}
    for module, path in files.items():
        names = [name for name, _ in imports(path)]
        targets = {name if name in files else name.rpartition(".")[0] for name in names}
        used[module] = (targets & files.keys()) - {module}
    return used


def circle_in(edges: dict[str, set[str]]) -> str:
    """A circle of imports, as a line; empty where there is none."""
    try:
        TopologicalSorter(edges).prepare()
    except CycleError as error:
        return " imported by ".join(error.args[1])
    return ""


def test_a_circle_is_seen() -> None:
    edges = {"one": {"two"}, "two": {"three"}, "three": {"one"}, "four": {"one"}}
    assert sorted(circle_in(edges).split(" imported by ")[1:]) == ["one", "three", "two"]
    assert circle_in({**edges, "three": set()}) == ""


@pytest.mark.slow
@pytest.mark.parametrize("wing", WINGS, ids=lambda path: path.name)
def test_the_files_of_a_wing_import_in_no_circle(wing: Path) -> None:
    assert len(file_edges(wing)) > 1
    assert not (circle := circle_in(file_edges(wing))), f"a circle of imports: {circle}"


@pytest.mark.slow
def test_the_files_of_the_package_import_in_no_circle() -> None:
    assert not (circle := circle_in(file_edges())), f"a circle of imports: {circle}"


def test_every_room_has_its_place() -> None:
    there = {room_of(path) for path in CORE.rglob("*.py")} - {"__init__"}
    assert there == set(ROOMS)


def test_rooms_import_only_from_rooms_before_them() -> None:
    for room, used in edges(types=False).items():
        assert room != "__init__", "the public surface imports when a name is used"
        for other in used:
            assert other in ROOMS, f"{room} imports guideplug.{other}: the core uses rooms, not the public surface"
            assert ROOMS.index(other) < ROOMS.index(room), f"{room} imports {other}, a room after it"


@pytest.mark.slow
def test_imports_for_types_are_those_listed() -> None:
    found = {room: used for room, used in edges(types=True).items() if room != "__init__"}
    assert found == ONLY_FOR_TYPES
    assert len(ONLY_FOR_TYPES) <= 4


def test_the_core_imports_no_plugin() -> None:
    names = {path.name for path in PLUGINS}
    assert len(names) >= 7
    for path in CORE.rglob("*.py"):
        for name, _ in imports(path):
            assert not name.startswith("guideplug_"), f"{path} imports {name}"


def _modules(plugin: Path) -> set[str]:
    return {path.name.removesuffix(".py") for path in (plugin / "src").iterdir() if path.suffix in (".py", "")} - {
        "__pycache__"
    }


@pytest.mark.parametrize("plugin", PLUGINS, ids=lambda path: path.name)
def test_plugins_use_public_names_and_no_other_plugin(plugin: Path) -> None:
    own, public = _modules(plugin), set(guideplug.__all__)
    for path in sorted((plugin / "src").rglob("*.py")):
        named = [name.split(".") for name, _ in imports(path)]
        others = {root for root, *_ in named if root.startswith("guideplug_")} - own
        assert not others, f"{path} imports another plugin: {others}"
        used = {".".join(rest) for root, *rest in named if root == "guideplug" and rest}
        if ["guideplug"] in named:
            used |= {
                node.attr
                for node in ast.walk(ast.parse(path.read_text()))
                if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "guideplug"
            }
        assert used <= public, f"{path} imports what is not public: {sorted(used - public)}"


def _project(distribution: Path) -> dict[str, Any]:
    project: dict[str, Any] = tomllib.loads((distribution / "pyproject.toml").read_text())["project"]
    return project


def _named(requirements: list[str]) -> set[str]:
    return {re.split(r"[^\w.-]", text)[0].lower().replace("_", "-") for text in requirements}


@pytest.mark.parametrize("distribution", [ROOT, *PLUGINS], ids=lambda path: path.name if path != ROOT else "guideplug")
def test_what_is_imported_is_declared(distribution: Path) -> None:
    """Not left to what other distributions depend on: the core had scipy from scikit-learn once."""
    project = _project(distribution)
    extras = project.get("optional-dependencies", {}).values() if distribution != ROOT else ()
    declared = _named([project["name"], *project["dependencies"], *(text for extra in extras for text in extra)])
    for path in sorted((distribution / "src").rglob("*.py")):
        modules = {name.partition(".")[0] for name, typed in imports(path) if not typed}
        for module in modules - sys.stdlib_module_names - (_modules(distribution) if distribution != ROOT else set()):
            brought = _named(DISTRIBUTIONS.get(module, [module]))
            assert brought & declared, f"{path} imports {module}: {project['name']} does not declare {sorted(brought)}"


@pytest.mark.parametrize("plugin", PLUGINS, ids=lambda path: path.name)
def test_extras_are_what_its_classes_say_and_what_tests_need(plugin: Path) -> None:
    project, registry = _project(plugin), Registry.installed()
    extras: dict[str, list[str]] = project.get("optional-dependencies", {})
    offers = [offer for other in registry.plugins if other.distribution == project["name"] for offer in other.offers]
    classes = [(offer.kind, offer.what) for offer in offers if isinstance(offer.what, type)]
    extras_of = [getattr(cls, "extras" if kind in ("guider", "observer") else "libraries", {}) for kind, cls in classes]
    said = {key: value for some in extras_of for key, value in some.items()}
    assert said == {library: f"{project['name']}[{library}]" for library in extras}
    for library, requirements in extras.items():
        assert any(re.match(rf"{library}\b", requirement) for requirement in requirements)
        assert set(requirements) <= set(_project(ROOT)["optional-dependencies"]["test"])


def test_all_is_every_plugin() -> None:
    every = {_project(plugin)["name"] for plugin in PLUGINS}
    assert _named(_project(ROOT)["optional-dependencies"]["all"]) == every


@pytest.mark.parametrize("plugin", PLUGINS, ids=lambda path: path.name)
def test_a_plugin_says_its_status(plugin: Path) -> None:
    said = [text for text in _project(plugin)["classifiers"] if text.startswith("Development Status :: ")]
    assert said in (["Development Status :: 3 - Alpha"], ["Development Status :: 4 - Beta"])


@pytest.mark.parametrize("plugin", PLUGINS, ids=lambda path: path.name)
def test_a_plugin_is_an_installable_distribution(plugin: Path) -> None:
    there = {path.name for path in plugin.iterdir()}
    assert {"pyproject.toml", "README.md", "src", "tests"} <= there, f"plugins/{plugin.name} has {sorted(there)}"
    project = _project(plugin)
    points = project["entry-points"]["guideplug"]
    assert len(points) >= 1
    assert {module.partition(".")[0] for module in points.values()} <= _modules(plugin)
    assert project["name"].startswith("guideplug-")
    assert any(requirement.startswith("guideplug") for requirement in project["dependencies"])
    assert project["license"] == "Apache-2.0"
    assert (plugin / "README.md").read_text().startswith(f"# {project['name']}\n")
    assert list((plugin / "tests").glob("test_*.py")), f"plugins/{plugin.name} has no tests"
    assert not list((plugin / "tests").rglob("__init__.py"))


# The public surface


@pytest.mark.parametrize(
    "statement",
    [
        "import guideplug",
        "import guideplug; dir(guideplug); guideplug.__all__",
        "from guideplug import GuideplugError, hook, option",
        "import guideplug; guideplug.run",
        "import guideplug.metrics; dir(guideplug.metrics); guideplug.metrics.confidence_interval",
        "import guideplug.cli",
        "import guideplug.cli.main",
        "from guideplug.cli import main; main(['--help'], standalone_mode=False)",
        "from guideplug.cli import main; main(['--version'], standalone_mode=False)",
        "from guideplug.cli import main; main(['run', '--help'], standalone_mode=False)",
    ],
)
def test_what_is_quick_imports_nothing_heavy(statement: str) -> None:
    check = (
        f"{statement}\nimport sys\n"
        "heavy = ('torch', 'numpy', 'matplotlib', 'rich', 'safetensors')\n"
        "print('heavy:', [name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "heavy: []"


@pytest.mark.parametrize(
    ("package", "table"), [(guideplug, guideplug._ROOMS), (metrics, metrics._FILES)], ids=["guideplug", "metrics"]
)
def test_the_lazy_table_agrees_with_what_type_checkers_see(package: ModuleType, table: dict[str, list[str]]) -> None:
    tree = ast.parse(Path(cast(str, package.__file__)).read_text())
    (guard,) = [node for node in tree.body if isinstance(node, ast.If)]
    seen: dict[str, set[str]] = {}
    for node in guard.body:
        assert isinstance(node, ast.ImportFrom)
        assert node.module is not None
        for alias in node.names:
            assert alias.asname == alias.name, f"{alias.name} is not re-exported"
            seen.setdefault(node.module.removeprefix(f"{package.__name__}."), set()).add(alias.name)
    assert seen == {room: set(names) for room, names in table.items()}
    assert sum(map(len, table.values())) == len(set(package.__all__))
    assert package.__all__ == sorted(package.__all__)


@pytest.mark.parametrize("name", guideplug.__all__)
def test_every_public_name_resolves(name: str) -> None:
    room = import_module(f"guideplug.{guideplug._WHERE[name]}")
    found = getattr(guideplug, name)
    if name == "run":  # the package of that name, which can be called: tests/run/test_call.py
        assert found is import_module("guideplug.run")
        assert callable(found)
    else:
        assert found is getattr(room, name)
    assert name in room.__all__
    assert name in dir(guideplug)


def test_what_is_not_public_is_not_there() -> None:
    with pytest.raises(AttributeError, match="module 'guideplug' has no attribute 'Nothing'"):
        _ = guideplug.Nothing
    with pytest.raises(ImportError, match="module 'guideplug' has no attribute 'Nothing'"):
        exec("from guideplug import Nothing")
    with pytest.raises(ImportError, match=r"cannot import name 'Nothing' from 'guideplug\.metrics'"):
        exec("from guideplug.metrics import Nothing")
