"""Importing a plugin changes nothing: each planted change is put back, and refused where it decides."""

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import matplotlib as mpl
import pytest
import torch
from changing_plugins import PLANTED

import guideplug_tree
from guideplug.errors import PluginError, RecipeError
from guideplug.files.import_guard import ImportGuard
from guideplug.files.module_names import ModuleNames
from guideplug.files.process_state import ABSENT, SETTINGS
from guideplug.recipes import PythonRef
from guideplug.registry.registry import Registry
from guideplug.testing.imports import IMPORT, imported

assert mpl.rcParams
assert guideplug_tree.guideplug_tasks
HOOK = "import guideplug\n\n@guideplug.hook\ndef guideplug_guiders():\n    {}\n    return []\n"
NAMES = [pytest.param(name, marks=[pytest.mark.slow] * (number % 3 > 0)) for number, name in enumerate(PLANTED)]


@contextlib.contextmanager
def unchanged() -> Iterator[None]:
    """The process is the same after the block as before it."""
    names, before = ModuleNames(), [setting.value() for setting in SETTINGS]
    path = list(sys.path)
    yield
    assert [name for name, _ in names.changed()] == []
    for setting, value in zip(SETTINGS, before, strict=True):
        now = setting.value()
        harmless = setting.name in ("the path of imports", "variables of the environment")
        assert value is ABSENT or now == value or (harmless and not setting.decides(value, now)), setting.name
    assert sys.path[: len(path)] == path


def entry_points(monkeypatch: pytest.MonkeyPatch, folder: Path, sources: dict[str, str]) -> None:
    """Install plugins of one file each, alone."""
    monkeypatch.syspath_prepend(folder)
    points = []
    for name, source in sources.items():
        (folder / f"planted_{name}.py").write_text(source)
        points.append(EntryPoint(name, f"planted_{name}", "guideplug"))
    monkeypatch.setattr("importlib.metadata.entry_points", lambda **_: points)


def test_the_folder_of_temporary_files_is_looked_up_by_anybody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the import of torchvision's transforms does."""
    monkeypatch.setattr("tempfile.tempdir", None)
    (tmp_path / "looks.py").write_text("import tempfile\ntempfile.gettempdir()\n\ndef f(): ...\n")
    PythonRef(f"{tmp_path / 'looks.py'}:f").load()


def test_what_is_planted_is_of_each_setting() -> None:
    assert len(PLANTED) >= 50
    said = [text for _, text in PLANTED.values() if text is not None]
    deciding = [setting.name for setting in SETTINGS if setting.decides({}, {b"HOME": b""})]
    hard = ("CUDA", "function modes", "between operations", "cuda.matmul", "enabled", "cudnn.deterministic")
    missing = [name for name in deciding if not any(name.startswith(text) for text in said)]
    assert [name for name in missing if not any(word in name for word in hard)] == []


@pytest.mark.parametrize("name", NAMES)
def test_a_local_plugin_that_changes_one_thing(name: str, tmp_path: Path) -> None:
    statement, text = PLANTED[name]
    for number, source in enumerate((f"{statement}\n{HOOK.format('pass')}", HOOK.format(statement))):
        path = tmp_path / f"planted{number}.py"
        path.write_text(source)
        registry = Registry()
        with unchanged(), pytest.raises(PluginError) as caught:
            registry.load_file(path)
        (plugin,) = registry.plugins[1:]
        if text is None:
            assert "offers nothing" in str(caught.value)
            assert not plugin.broken
        else:
            assert plugin.broken.startswith("its import changes ")
            assert text in plugin.broken
            assert "\n" not in plugin.broken


def test_of_installed_plugins_the_one_that_changes_something_is_refused_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = {str(number): statement for number, (statement, text) in enumerate(PLANTED.values()) if text is not None}
    bad.pop(str(list(PLANTED).index("module")))
    sources = {
        **{f"bad{number}": f"{statement}\n{HOOK.format('pass')}" for number, statement in bad.items()},
        **{f"good{number}": HOOK.format("pass") for number in range(3)},
    }
    entry_points(monkeypatch, tmp_path, sources)
    with unchanged():
        registry = Registry.installed()
    broken = {plugin.name for plugin in registry.plugins if plugin.broken}
    assert broken == {name for name in sources if name.startswith("bad")}
    assert {plugin.name for plugin in Registry.installed().plugins if plugin.broken} == broken, "the second import"
    for name in sources:
        sys.modules.pop(f"planted_{name}", None)


def test_a_network_of_ones_own_goes_through_the_same_door(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "network_with_a_patch.py"
    path.write_text("import torch\ntorch.nn.functional.relu = torch.tanh\n\ndef build(domain):\n    return None\n")
    for _ in range(2):
        with unchanged(), pytest.raises(RecipeError, match=r"its import changes torch\.nn\.functional\.relu"):
            PythonRef(f"{path}:build", "python").load()
    monkeypatch.syspath_prepend(tmp_path)
    for _ in range(2):
        with unchanged(), pytest.raises(RecipeError, match=r"its import changes torch\.nn\.functional\.relu"):
            PythonRef("network_with_a_patch:build", "python").load()
    path.write_text("import os\nos.environ['A_FLAG_OF_MINE'] = '1'\n\ndef build(domain):\n    return None\n")
    assert PythonRef(f"{path}:build", "python").load()(None) is None
    del os.environ["A_FLAG_OF_MINE"]


@pytest.mark.slow
def test_the_law_finds_them_in_a_process_of_their_own(tmp_path: Path) -> None:
    chosen = ["folder", "seed of torch", "threads", "relu", "call of a layer", "numpy", "our function", "builtin"]
    places = {}
    for number, name in enumerate(chosen):
        places[name] = str(tmp_path / f"law{number}.py")
        source = HOOK.format(PLANTED[name][0]) if number % 2 else f"{PLANTED[name][0]}\n{HOOK.format('pass')}"
        Path(places[name]).write_text(source)
    for name, cost in imported(places).items():
        findings = {finding.law: finding for finding in IMPORT.findings(cost)}
        finding = findings["its import and its hooks change nothing for other code"]
        assert not finding.holds, name
        assert PLANTED[name][1] in str(finding.reason)


def test_all_installed_plugins_pass_and_it_costs_little() -> None:
    """The bound is loose, as machines are shared; tests/benchmarks measures."""
    registry = Registry.installed()
    assert [(plugin.name, plugin.broken) for plugin in registry.plugins if plugin.broken] == []
    guard, begin = ImportGuard(), time.process_time()
    for _ in range(20):
        with guard.watch(names=False):
            pass
    assert time.process_time() - begin < 0.5


def test_an_error_of_the_import_is_raised_and_what_it_changed_is_put_back() -> None:
    def fail() -> None:
        with ImportGuard().watch():
            torch.set_default_dtype(torch.float64)
            raise ZeroDivisionError

    with unchanged(), pytest.raises(ZeroDivisionError):
        fail()
