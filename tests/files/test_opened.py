"""The bytes that are hashed are the bytes that run, however a file of code is named and whatever lies beside.

The law: whatever runs is what the disk held when it was read, what is recorded is its hash, and what is refused has not
run. Each version of a file reports itself into a list when it is executed.
"""

import builtins
import itertools
import os
import py_compile
import shutil
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest

from guideplug.errors import RunError, TrustError
from guideplug.files import opened
from guideplug.files.opened import expect, reading_once, versions
from guideplug.files.trust import guarded
from guideplug.recipes.python_ref import PythonRef
from guideplug.registry.registry import Registry

HOOK = 'import guideplug\n@guideplug.hook\ndef guideplug_presets(): return {"guider": {"own": "cfg"}}\n'


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """The versions that have been executed, in order."""
    versions_run: list[str] = []
    monkeypatch.setattr(builtins, "ran", versions_run, raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GUIDEPLUG_TRUSTED", str(tmp_path / "trusted"))
    return versions_run


def source(version: str, imports: str = "") -> str:
    return f"{imports}\nran.append({version!r})\nVERSION = {version!r}\ndef build(domain=None): return VERSION\n{HOOK}"


def by_plugin(file: Path) -> str:
    registry = Registry()
    registry.load_file(file)
    return next(plugin.digest for plugin in registry.plugins if plugin.digest)


def by_function(name: Callable[[Path], str]) -> Callable[[Path], str]:
    def load(file: Path) -> str:
        reference = PythonRef(f"{name(file)}:build", "python")
        reference.load()()
        code = reference.code()
        assert code is not None
        return code.digest

    return load


WAYS: dict[str, Callable[[Path], str]] = {
    "plugin": by_plugin,
    "file": by_function(str),
    "relative file": by_function(lambda file: os.path.relpath(file)),
    "module": by_function(lambda file: file.stem),
    "module of a folder": by_function(lambda file: f"{file.parent}/{file.stem}"),
    "module of a package": by_function(lambda file: f"{file.parent.parent}/{file.parent.name}.{file.stem}"),
}


def replace(file: Path, text: str) -> None:
    """Other content of the same size and time."""
    before = file.stat()
    assert len(text) == before.st_size
    file.write_text(text)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def stale(file: Path, text: str) -> None:
    py_compile.compile(str(file), doraise=True)
    replace(file, text)


def unchecked(file: Path, text: str) -> None:
    py_compile.compile(str(file), doraise=True, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
    file.write_text(text)


def linked(file: Path, text: str) -> None:
    file.unlink()
    elsewhere = file.parent / "elsewhere.txt"
    elsewhere.write_text(text)
    file.symlink_to(elsewhere)


CHANGES: dict[str, Callable[[Path, str], object]] = {
    "stale pyc": stale,
    "unchecked pyc": unchecked,
    "same size and time": replace,
    "changed": Path.write_text,
    "link": linked,
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("way", WAYS)
def test_what_runs_is_what_was_read_and_recorded(
    way: str, change: str, ran: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for neighbour, loaded_before in itertools.product((False, True), repeat=2):
        folder = tmp_path / f"{neighbour}_{loaded_before}"
        folder.mkdir()
        monkeypatch.chdir(folder)
        file, beside = folder / "mine_one.py", folder / "beside_one.py"
        dot = "." if "package" in way else ""
        file.write_text(source("old", f"from {dot}beside_one import VERSION as OTHER" if neighbour else ""))
        beside.write_text(source("OLD"))
        before = WAYS[way](file) if loaded_before else ""
        ran.clear()
        changed = beside if neighbour else file
        CHANGES[change](changed, changed.read_text().replace("'old'", "'new'").replace("'OLD'", "'NEW'"))
        digest = WAYS[way](file)
        assert ran == (["NEW", "old"] if neighbour else ["new"])
        assert digest != before
        own = {sha256(path.read_bytes()).hexdigest() for path in (file, beside)}
        assert (digest in own) is not neighbour
        assert not (folder / "__pycache__").exists() or "pyc" in change


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("way", WAYS)
def test_changed_neighbours_are_asked_for_before_anything_runs(
    way: str, change: str, ran: list[str], tmp_path: Path
) -> None:
    file, beside = tmp_path / "mine_two.py", tmp_path / "beside_two.py"
    dot = "." if "package" in way else ""
    file.write_text(source("old", f"def late():\n    from {dot}beside_two import VERSION"))
    beside.write_text(source("OLD"))
    with guarded([f"{file}:build"]):
        WAYS[way](file)
    with guarded([]):
        WAYS[way](file)  # remembered, with its neighbour
    ran.clear()
    CHANGES[change](beside, source("NEW"))
    with guarded([]), pytest.raises(TrustError, match=r"beside_two\.py|elsewhere\.txt"):
        WAYS[way](file)
    assert not ran


def test_a_copy_of_trusted_bytes_is_trusted(ran: list[str], tmp_path: Path) -> None:
    file = tmp_path / "mine_three.py"
    file.write_text(source("old"))
    with guarded([], [str(file)]):
        by_plugin(file)
    (tmp_path / "copy").mkdir()
    copy = Path(shutil.copy(file, tmp_path / "copy" / "other_name.py"))
    with guarded([]):
        by_plugin(copy)
        copy.write_text(source("new"))
        with pytest.raises(TrustError, match=r"other_name\.py"):
            by_plugin(copy)
    assert ran == ["old", "old"]


def test_a_command_reads_each_file_once_and_the_next_one_anew(ran: list[str], tmp_path: Path) -> None:
    file = tmp_path / "mine_four.py"
    file.write_text(source("old"))
    with reading_once():
        first = WAYS["file"](file)
        file.write_text(source("new"))
        with reading_once():
            assert WAYS["file"](file) == WAYS["file"](file) == first
    assert WAYS["file"](file) != first
    assert ran == ["old", "new"]


def test_a_worker_takes_the_versions_of_its_driver_or_none(
    ran: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, beside = tmp_path / "mine_five.py", tmp_path / "beside_five.py"
    file.write_text(source("old", "import beside_five"))
    beside.write_text(source("OLD"))
    WAYS["file"](file)
    monkeypatch.setattr(opened, "_expected", {})
    monkeypatch.setattr(opened, "_scopes", [])
    expect(versions())
    WAYS["file"](file)
    monkeypatch.setattr(opened, "_scopes", [])
    beside.write_text(source("NEW"))
    with pytest.raises(RunError, match=r"beside_five\.py has changed since this began"):
        WAYS["file"](file)
    assert ran == ["OLD", "old"]
