"""The registry: what is offered is found, what is broken is listed and stops only who asks for it."""

import importlib
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from guideplug.config import Reader
from guideplug.errors import PluginError, UnknownName
from guideplug.guide import Guider
from guideplug.recipes import Train
from guideplug.registry.registry import Registry
from guideplug.select import Selector

SELECTOR = """
from attrs import define, frozen
import attrs
import guideplug
from guideplug import CandidateRequest, Selection, Selector, hook, option


class Parent(Selector):
    def plan(self, batch, state):
        return CandidateRequest(batch)

    def select(self, losses, state, generator):
        raise NotImplementedError


@frozen
class {cls}(Parent):
    name = "{name}"
    share: float = option(0.5, help="a share")
"""


HOOK = """
@hook
def guideplug_selectors():
    return [{cls}]
"""


def plugin(name: str = "mine", cls: str = "Mine", extra: str = "") -> str:
    return SELECTOR.format(name=name, cls=cls) + HOOK.format(cls=cls) + textwrap.dedent(extra)


TWO = plugin(extra='@frozen\nclass Other(Parent):\n    name = "other"\n').replace("[Mine]", "[Mine, Other]")


Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Installs a distribution of one module: on `sys.path`, with metadata and an entry point."""
    modules: list[str] = []
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))

    def install(
        distribution: str, source: str | None, *, point: str = "", module: str = "", version: str = "1.2"
    ) -> None:
        module = module or distribution.replace("-", "_")
        if source is not None:
            (site / f"{module}.py").write_text(source)
        info = site / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(f"[guideplug]\n{point or distribution} = {module}\n")
        modules.append(module)
        importlib.invalidate_caches()

    yield install
    for module in modules:
        sys.modules.pop(module, None)


def broken(registry: Registry, name: str) -> str:
    found = registry.plugin(name)
    assert found.broken
    assert "\n" not in found.broken
    assert not found.offers
    return found.broken


def all_else_works(registry: Registry) -> None:
    assert registry.find("guider", "cfg")
    assert not registry.plugin("cfg").broken


def test_everything_installed_works() -> None:
    registry = Registry.installed()
    assert [found.broken for found in registry.plugins if found.broken] == []
    assert registry.conflicts() == []
    assert registry.plugins[0].name == "core"
    assert registry.find("recipe", "train") is Train
    assert registry.find("selector", "early-jest") == "early(jest)"
    assert registry.find("selector", "early_jest") == "early(jest)"
    assert "early-jest" in registry.names("selector")
    assert registry.names("selector") == sorted(registry.names("selector"))
    assert all(isinstance(cls, type) for cls in registry.classes(Selector))
    assert {"cfg", "autoguidance"} <= {cls.name for cls in registry.classes(Guider)}


def test_a_fresh_registry_knows_the_core_alone() -> None:
    registry = Registry()
    assert [found.name for found in registry.plugins] == ["core"]
    assert registry.names("guider") == []
    with pytest.raises(UnknownName, match="no guider is called 'cfg'; known: none; see"):
        registry.find("guider", "cfg")


def test_an_installed_distribution_is_found(install: Install) -> None:
    install("my-dist", plugin(), point="my-point")
    registry = Registry.installed()
    found = registry.plugin("my-point")
    assert (found.broken, found.distribution, found.version) == ("", "my-dist", "1.2")
    assert str(found) == "my-dist 1.2"
    cls: Any = registry.find("selector", "mine")
    assert Reader(registry).expression("mine(share=0.25)", Selector) == cls(0.25)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import no_such_module_anywhere\n", "ModuleNotFoundError: No module named 'no_such_module_anywhere'"),
        ("\n\nraise RuntimeError('first line\\nsecond')\n", "RuntimeError: first line in bad_dist.py, line 3"),
        ("raise ValueError\n", "ValueError:  in bad_dist.py, line 1"),
        ("x = (\n", "SyntaxError: '(' was never closed (bad_dist.py, line 1)"),
        ("import sys\nsys.exit(3)\n", "SystemExit: 3 in bad_dist.py, line 2"),
        ("from guideplug import Nothing\n", "ImportError: module 'guideplug' has no attribute 'Nothing'"),
        (
            "from guideplug import hook\n@hook\ndef guideplug_guider():\n    return []\n",
            "implements an unknown hook 'guideplug_guider' (did you mean 'guideplug_guiders'?)",
        ),
        (
            "from guideplug import hook\n@hook\ndef my_guiders():\n    return []\n",
            "implements an unknown hook 'my_guiders'",
        ),
        (
            "def guideplug_guiders():\n    return []\n",
            "guideplug_guiders is not marked as a hook: put @guideplug.hook above it",
        ),
        (
            "def guideplug_gliders():\n    return []\n",
            "guideplug_gliders is not marked as a hook: put @guideplug.hook above it",
        ),
        (
            "from guideplug import hook\n@hook\ndef guideplug_guiders(task):\n    return []\n",
            "Plugin 'bad of bad-dist' for hook 'guideplug_guiders'",
        ),
        (
            "GUIDEPLUG_API = 3\n",
            "was written for plugin API 3, this guideplug has 1 and 2: update guideplug",
        ),
        (
            "GUIDEPLUG_API = 0\n",
            "was written for plugin API 0, this guideplug has 1 and 2: update bad-dist",
        ),
        ("GUIDEPLUG_API = 'new'\n", "GUIDEPLUG_API is 'new': give a whole number, 2 for this guideplug"),
        (
            "from guideplug import hook\n@hook\ndef guideplug_guiders():\n    return [1]\n",
            "guideplug_guiders returned 1: ",
        ),
        ("from guideplug import hook\n@hook\ndef guideplug_guiders():\n    return None\n", "TypeError: 'NoneType'"),
        (
            "from guideplug import hook\n@hook\ndef guideplug_guiders():\n    return [1 / 0]\n",
            "ZeroDivisionError: division by zero in bad_dist.py, line 4",
        ),
        (
            "from guideplug import hook\n@hook\ndef guideplug_presets():\n    return {'selectors': {'a': 'jest'}}\n",
            "guideplug_presets names the kind 'selectors' (did you mean 'selector'?): it is one of guider, weight,",
        ),
        (
            "from guideplug import hook\n@hook\ndef guideplug_observers():\n    return [print]\n",
            "guideplug_observers returned <built-in function print>: return subclasses of guideplug.Observer",
        ),
        (
            "from guideplug import Observer, hook\n@hook\ndef guideplug_observers():\n    return [Observer]\n",
            "guideplug_observers: Observer does not implement open",
        ),
        (
            plugin().replace("@frozen", "@define"),
            "guideplug_selectors: Mine is not frozen: decorate it with @attrs.frozen",
        ),
        (plugin().replace("@frozen\n", ""), "guideplug_selectors: Mine is not frozen"),
        (plugin().replace("def plan", "def plane"), "guideplug_selectors: Mine does not implement plan"),
        (
            plugin().replace('option(0.5, help="a share")', "0.5"),
            "guideplug_selectors: Mine does not say what its option 'share'",
        ),
        (
            plugin().replace(', help="a share"', ', help=""'),
            "guideplug_selectors: Mine does not say what its option 'share'",
        ),
        (
            plugin().replace("guideplug_selectors", "guideplug_guiders"),
            "guideplug_guiders returned <class 'bad_dist.Mine'>",
        ),
        *(
            (plugin(name), f"guideplug_selectors: Mine has the name {name!r}: give it one in lower case")
            for name in ("Mine", "my_own", "my own", "", "1st", "none", "inf", "mine(2)", "a.b", "größe")
        ),
        (plugin("zip"), "guideplug_selectors: Mine: the name 'zip' is taken, zip(...) makes ranges go side by side"),
        (
            "from guideplug import hook\n@hook\ndef guideplug_presets():\n    return {'guider': {'zip': 'cfg'}}\n",
            "guideplug_presets: the name 'zip' is taken",
        ),
        (plugin().replace('    name = "mine"\n', ""), "guideplug_selectors: Mine has the name None"),
        (plugin().replace('name = "mine"', "name = 3"), "guideplug_selectors: Mine has the name 3"),
    ],
)
def test_a_broken_plugin_is_listed_and_stops_nobody(install: Install, source: str, reason: str) -> None:
    install("bad-dist", source, point="bad")
    registry = Registry.installed()
    assert broken(registry, "bad").startswith(reason)
    all_else_works(registry)
    assert "mine" not in registry.names("selector")
    assert Reader(registry).expression("jest", Selector)
    with pytest.raises(UnknownName) as caught:
        registry.find("selector", "mine")
    assert "plugin 'bad' is broken: " + reason[:20] in str(caught.value)


def test_ctrl_c_while_a_plugin_is_imported_is_no_fault_of_it(install: Install) -> None:
    install("bad-dist", "raise KeyboardInterrupt\n")
    with pytest.raises(KeyboardInterrupt):
        Registry.installed()


def test_one_bad_class_takes_the_plugins_good_ones_along(install: Install) -> None:
    """Half a plugin would be a puzzle; and its hooks are not left behind in pluggy."""
    install("bad-dist", TWO.replace('"other"', '"Other"'))
    registry = Registry.installed()
    assert "Other has the name 'Other'" in broken(registry, "bad-dist")
    assert "mine" not in registry.names("selector")
    assert registry._pluggy.get_plugin("bad-dist of bad-dist") is None


def test_two_distributions_of_one_name(install: Install) -> None:
    install("first-dist", plugin(), point="one", version="1.0")
    install("second-dist", TWO, point="two", version="2.0")
    registry = Registry.installed()
    with pytest.raises(PluginError) as caught:
        registry.find("selector", "mine")
    assert str(caught.value) == (
        "selector 'mine' is offered by first-dist 1.0 and second-dist 2.0: uninstall one of them"
    )
    assert [[offer.plugin for offer in offers] for offers in registry.conflicts()] == [["one", "two"]]
    assert "mine" not in {cls.name for cls in registry.classes(Selector)}
    assert "mine" in registry.names("selector")
    assert registry.find("selector", "other")
    all_else_works(registry)


def test_two_equal_entry_point_names(install: Install) -> None:
    install("first-dist", plugin(), point="same")
    install("second-dist", plugin("other", "Other"), point="same")
    registry = Registry.installed()
    assert sorted(found.distribution for found in registry.plugins if found.name == "same") == [
        "first-dist",
        "second-dist",
    ]
    assert registry.find("selector", "mine")
    assert registry.find("selector", "other")


def test_two_equal_entry_points_that_offer_one_name_are_both_named(install: Install) -> None:
    install("first-dist", plugin(), point="same")
    install("second-dist", plugin(), point="same")
    with pytest.raises(PluginError, match=r"offered by first-dist 1\.2 and second-dist 1\.2: uninstall"):
        Registry.installed().find("selector", "mine")


def test_two_entry_points_to_one_module(install: Install) -> None:
    install("first-dist", plugin(), point="one")
    install("second-dist", None, point="two", module="first_dist")
    registry = Registry.installed()
    assert registry.find("selector", "mine")
    assert "already registered" in broken(registry, "two")


def test_a_preset_and_a_class_of_one_name_are_a_conflict(install: Install) -> None:
    preset = (
        "\n@hook\ndef guideplug_presets():\n    return {'selector': {'jest': 'random', 'half_random': 'random(0.5)'}}\n"
    )
    install("my-dist", "from guideplug import hook\n" + preset)
    registry = Registry.installed()
    with pytest.raises(
        PluginError, match=r"selector 'jest' is offered by .*guideplug-jest .* and my-dist 1\.2|my-dist 1\.2 and"
    ):
        registry.find("selector", "jest")
    assert Reader(registry).expression("half-random", Selector) == Reader(registry).expression("random(0.5)", Selector)


def test_unknown_names_get_the_nearest() -> None:
    registry = Registry.installed()
    with pytest.raises(UnknownName) as caught:
        registry.find("guider", "autoguidence")
    assert str(caught.value) == (
        "no guider is called 'autoguidence' (did you mean 'autoguidance'?); see guideplug plugins list, or name "
        "a file of yours with --plugin FILE.py"
    )
    with pytest.raises(UnknownName, match=r"no guider is called 'zzz'; known: .*autoguidance, .*cfg"):
        registry.find("guider", "zzz")
    with pytest.raises(UnknownName, match=r"no plugin is called 'autoguidanse' \(did you mean 'autoguidance'\?\)"):
        registry.plugin("autoguidanse")


# Local files


@pytest.fixture(autouse=True)
def _forget_local_modules() -> Iterator[None]:
    others = set(sys.modules)  # those of other tests
    yield
    for name in [name for name in sys.modules if name.startswith("guideplug_local_") and name not in others]:
        del sys.modules[name]


def test_a_local_file_is_a_plugin(tmp_path: Path) -> None:
    path = tmp_path / "my.own-plugin.py"
    path.write_text(plugin())
    registry = Registry.installed([str(path)])
    found = registry.plugins[-1]
    assert (found.version, found.broken, found.origin) == ("", "", str(path))
    assert str(found) == f"the local file {path}"
    assert len(found.digest) == 64
    assert registry.find("selector", "mine")
    path.write_text(plugin() + "# edited\n")
    assert Registry.installed([str(path)]).plugins[-1].digest != found.digest


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("x = 1\nraise OSError('no disk')\n", "OSError: no disk in mine.py, line 2"),
        ("def f():\n    return 1 / 0\n\n\nf()\n", "ZeroDivisionError: division by zero in mine.py, line 2"),
        ("import sys\nsys.exit()\n", "SystemExit:  in mine.py, line 2"),
        ("x =\n", "SyntaxError: invalid syntax (mine.py, line 1)"),
        ("def guideplug_guiders(): return []\n", "guideplug_guiders is not marked as a hook"),
        ("GUIDEPLUG_API = 9\n", "was written for plugin API 9"),
    ],
)
@pytest.mark.parametrize("folder", ["plain", "guideplug"])
def test_a_local_file_that_is_broken_is_an_error(tmp_path: Path, source: str, reason: str, folder: str) -> None:
    path = tmp_path / folder / "mine.py"
    path.parent.mkdir()
    path.write_text(source)
    with pytest.raises(PluginError) as caught:
        Registry().load_file(path)
    assert str(caught.value).startswith(f"--plugin {path}: {reason}")
    assert "\n" not in str(caught.value)


def test_local_files_that_cannot_be_plugins(tmp_path: Path) -> None:
    empty, text = tmp_path / "empty.py", tmp_path / "mine.txt"
    empty.write_text("x = 1\n")
    text.write_text(plugin())
    for path, reason in [
        (tmp_path / "none.py", f"--plugin {tmp_path / 'none.py'}: no such file"),
        (tmp_path, f"--plugin {tmp_path}: no such file"),
        (empty, f"--plugin {empty} offers nothing: mark a hook with @guideplug.hook"),
        (text, f"--plugin {text} is no Python file: its name must end in .py"),
    ]:
        with pytest.raises(PluginError) as caught:
            Registry().load_file(path)
        assert str(caught.value).startswith(reason)


def test_a_local_file_that_offers_an_installed_name_is_a_conflict(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(plugin("jest"))
    registry = Registry.installed([str(path)])
    with pytest.raises(PluginError, match=r"guideplug-jest \S+ and the local file .*mine\.py: uninstall one"):
        registry.find("selector", "jest")
