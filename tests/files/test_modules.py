"""Modules of local code: what imports mean in them, whatever else is imported, and what is refused."""

import importlib.machinery
import inspect
import py_compile
import sys
import traceback
from pathlib import Path
from types import ModuleType

import pytest

from guideplug.files.code import Code
from guideplug.files.modules import Modules, code_of


def written(folder: Path, **files: str) -> Path:
    """Files of a folder, by name: ``__`` for a slash, ``pkg__`` for the ``__init__.py`` of a package."""
    for name, text in files.items():
        parts = name.split("__")
        path = folder / f"{'/'.join(part or '__init__' for part in parts)}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def loaded(path: Path, name: str = "guideplug_local_test", *others: Path) -> ModuleType:
    return Modules(Code.of_file(path, *others), name).main()


FORMS = {
    "import beside": "beside.VALUE",
    "import beside as b": "b.VALUE",
    "from beside import VALUE": "VALUE",
    "from .beside import VALUE": "VALUE",
    "from . import beside": "beside.VALUE",
    "from beside import *": "VALUE",
    "import pkg.inner": "pkg.inner.VALUE",
    "import pkg.inner as i": "i.VALUE",
    "from pkg import inner": "inner.VALUE",
    "from pkg.inner import VALUE": "VALUE",
    "from pkg import up": "up.VALUE",
    "from pkg import again": "again.VALUE",
    "import space.inner": "space.inner.VALUE",
    "from space import inner": "inner.VALUE",
    "from pkg.deep.below import VALUE": "VALUE",
}


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_imports_mean_the_files_beside(form: str, late: bool, tmp_path: Path) -> None:
    value = FORMS[form]
    if late and "*" not in form:
        text = f"def value():\n    {form}\n    return {value}\n"
    else:
        text = f"{form}\ndef value(): return {value}\n"
    written(
        tmp_path, main=text, beside="VALUE = 1", pkg__="", pkg__inner="VALUE = 1", space__inner="VALUE = 1",
        pkg__up="from . import inner\nVALUE = inner.VALUE", pkg__again="from pkg.inner import VALUE",
        pkg__deep__="", pkg__deep__below="from ..inner import VALUE",
    )  # fmt: skip
    before = set(sys.modules)
    assert loaded(tmp_path / "main.py").value() == 1
    assert all(name.startswith("guideplug_local_test") for name in set(sys.modules) - before)
    assert not list(tmp_path.rglob("__pycache__"))


def test_two_folders_do_not_meet_even_in_late_imports(tmp_path: Path) -> None:
    text = "def value():\n    import beside\n    return beside.VALUE\n"
    one = loaded(written(tmp_path / "one", main=text, beside="VALUE = 1") / "main.py")
    two = loaded(written(tmp_path / "two", main=text, beside="VALUE = 2") / "main.py")
    assert (one.value(), two.value(), one.value()) == (1, 2, 1)
    assert "beside" not in sys.modules


def test_late_imports_see_what_was_read_with_their_file(tmp_path: Path) -> None:
    text = "def value():\n    import beside\n    return beside.VALUE\n"
    module = loaded(written(tmp_path, main=text, beside="VALUE = 1") / "main.py")
    written(tmp_path, beside="VALUE = 2")
    assert module.value() == 1


def test_the_standard_library_and_guideplug_are_never_beside(tmp_path: Path) -> None:
    files = dict.fromkeys(("random", "json__decoder", "guideplug__errors", "torch"), "raise SystemExit('beside')")
    main = "import random, json.decoder, guideplug.errors\nfrom . import statistics\n"
    module = loaded(written(tmp_path, **files, main=main, statistics="OWN = 1") / "main.py")
    assert module.random is sys.modules["random"]
    assert module.statistics.OWN == 1


def test_further_folders_come_after_the_own_one(tmp_path: Path) -> None:
    written(tmp_path / "own", main="from one import A\nfrom two import B", one="A = 1")
    written(tmp_path / "other", one="A = 2", two="B = 2")
    module = loaded(tmp_path / "own" / "main.py", "guideplug_local_test", tmp_path / "other")
    assert (module.A, module.B) == (1, 2)


@pytest.mark.parametrize(
    ("main", "message"),
    [
        ("import fast", r"fast\.pyc is compiled"),
        ("from . import fast", r"fast\.pyc is compiled"),
        ("from pkg import fast", r"pkg/fast\..*so is compiled"),
        ("from space import fast", r"space/fast\..*so is compiled"),
        ("import space.fast", r"space/fast\..*so is compiled"),
        ("import importlib\nimportlib.import_module('beside')", "by a computed name"),
        ("__import__('besi' + 'de')", "by a computed name"),
        ("import beside\nimport importlib\nimportlib.import_module('beside')", "by a computed name"),
        ("from .. import above", "imports from above the folder"),
        ("from .nowhere import f", "No module named 'nowhere' beside main.py"),
        ("import nowhere_at_all", "No module named 'nowhere_at_all'"),
    ],
)
def test_what_cannot_be_read_is_refused(
    main: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path, main=main, beside="", pkg__="", hidden="raise SystemExit('it ran')")
    py_compile.compile(str(tmp_path / "hidden.py"), str(tmp_path / "fast.pyc"), doraise=True)
    for folder in ("pkg", "space"):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / f"fast{importlib.machinery.EXTENSION_SUFFIXES[0]}").write_bytes(b"")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ImportError, match=message):
        loaded(tmp_path / "main.py")
    assert "guideplug_local_test" not in sys.modules


def test_the_text_of_what_ran_is_shown_after_the_file_has_changed(tmp_path: Path) -> None:
    module = loaded(written(tmp_path, main="def fails():\n    raise ValueError('here')\n") / "main.py")
    written(tmp_path, main="\n\n# another\n")
    assert inspect.getsource(module.fails) == "def fails():\n    raise ValueError('here')\n"
    with pytest.raises(ValueError, match="here") as caught:
        module.fails()
    assert "raise ValueError('here')" in "".join(traceback.format_exception(caught.value))
    code = code_of(module)
    assert code is not None
    assert code.source.content.startswith(b"def fails")


def test_code_is_what_is_imported_wherever_the_statement_stands(tmp_path: Path) -> None:
    main = "if False:\n    import one\ndef f():\n    from pkg import two\n"
    written(tmp_path, main=main, one="import three", three="", pkg__="", pkg__two="", unused="")
    code = Code.of_file(tmp_path / "main.py")
    assert {code.label(name) for name in code.sources} == {
        "main.py", "one.py", "three.py", "pkg/__init__.py", "pkg/two.py",
    }  # fmt: skip
    alone = Code.of_file(tmp_path / "three.py")
    assert alone.digest == alone.source.digest != code.digest


def test_files_that_do_not_parse_fail_where_they_are_executed(tmp_path: Path) -> None:
    written(tmp_path, main="try:\n    import broken\nexcept SyntaxError:\n    CAUGHT = True\n", broken="def :\n")
    assert loaded(tmp_path / "main.py").CAUGHT
