"""The one door: it opens at once, ordinary files alone, and no link leads out of a folder; and nobody goes round it."""

import ast
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from guideplug.files import opening
from guideplug.files.opening import (
    check_inside,
    is_there,
    list_folder,
    open_file,
    open_own,
    path_of,
    read_bytes,
    walk_folder,
)

ROOT = Path(__file__).parents[2]


def pipe(path: Path) -> None:
    os.mkfifo(path)


def heard(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        here = Path.cwd()
        os.chdir(path.parent)
        listener.bind(path.name)
        os.chdir(here)


def endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


NO_FILES: dict[str, tuple[Callable[[Path], None], str]] = {
    "pipe": (pipe, "no ordinary file"),
    "socket": (heard, "no ordinary file"),
    "device": (endless, "no ordinary file"),
    "folder": (Path.mkdir, "it is a folder"),
    "loop": (lambda path: path.symlink_to(path), "symbolic links"),
    "link to nowhere": (lambda path: path.symlink_to("nowhere"), "No such file"),
}


@pytest.mark.parametrize("name", NO_FILES)
def test_what_is_no_ordinary_file_is_refused_at_once(name: str, tmp_path: Path) -> None:
    make, says = NO_FILES[name]
    make(tmp_path / "file")
    assert is_there(tmp_path / "file")
    with pytest.raises((ValueError, OSError), match=says):
        open_file(tmp_path / "file")
    with pytest.raises((ValueError, OSError), match=f"{says}|leads out"):
        open_file(tmp_path / "file", tmp_path)


@pytest.mark.parametrize("name", NO_FILES)
def test_what_is_no_ordinary_file_is_not_written_to(name: str, tmp_path: Path) -> None:
    make, _ = NO_FILES[name]
    make(tmp_path / "file")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(OSError, match=r"link|pipe|socket|folder|directory"):
        open_own(tmp_path / "file", os.O_RDWR)
    assert sorted(tmp_path.iterdir()) == before


def test_what_changes_between_the_look_and_the_opening_is_seen_by_the_handle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe(tmp_path / "file")
    looks = iter([lambda status: None, opening._check_ordinary])
    monkeypatch.setattr(opening, "_check_ordinary", lambda status: next(looks)(status))
    with pytest.raises(ValueError, match="no ordinary file"):
        open_file(tmp_path / "file")


@pytest.mark.parametrize("place", ["file", "deep/file"])
def test_a_link_that_replaces_a_part_meanwhile_is_not_followed(place: str, tmp_path: Path) -> None:
    (tmp_path / "run" / "deep").mkdir(parents=True)
    (tmp_path / "out").mkdir()
    for folder in (tmp_path / "out", tmp_path / "run", tmp_path / "run" / "deep"):
        (folder / "file").write_text(folder.name)
    real = tmp_path / "run" / place
    first = tmp_path / "run" / Path(place).parts[0]
    first.rename(tmp_path / "aside")
    first.symlink_to(tmp_path / "out" / ("file" if place == "file" else "."))
    with pytest.raises(OSError, match=r"symbolic links|Not a directory"):
        opening._open_below(tmp_path / "run", real)


def test_links_of_a_folder_lead_nowhere_else(tmp_path: Path) -> None:
    run = tmp_path / "run"
    (run / "deep").mkdir(parents=True)
    (tmp_path / "secret").write_text("secret")
    (run / "deep" / "file").write_text("own")
    (run / "inside").symlink_to("deep/file")
    (run / "outside").symlink_to("../secret")
    (run / "above").symlink_to("..")
    assert read_bytes(run / "inside", 10, run) == b"own"
    for name in ("outside", "above/secret", "deep/../outside"):
        with pytest.raises(ValueError, match="leads out"):
            read_bytes(run / name, 10, run)
        with pytest.raises(ValueError, match="leads out"):
            check_inside(run / name, run)
        assert read_bytes(run / name, 10) == b"secret"  # the user names it
    (tmp_path / "link").symlink_to("run")
    assert read_bytes(tmp_path / "link" / "deep" / "file", 10, tmp_path / "link") == b"own"
    with pytest.raises(ValueError, match="leads out"):
        list_folder(run / "above", within=run)


def test_a_file_is_read_up_to_its_limit(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"1234")
    assert read_bytes(tmp_path / "file", 4) == b"1234"
    with pytest.raises(ValueError, match="larger than 3 bytes"):
        read_bytes(tmp_path / "file", 3)
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(5 * 1024**3)
    with pytest.raises(ValueError, match="larger than 3 bytes"):
        read_bytes(tmp_path / "sparse", 3)


def test_a_library_opens_the_very_file_of_a_handle(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("first")
    with open_file(tmp_path / "file") as file:
        (tmp_path / "file").rename(tmp_path / "aside")
        (tmp_path / "file").write_text("second")
        assert Path(path_of(file)).read_text() == ("first" if path_of(file).startswith("/proc") else "second")


def test_nothing_is_there_where_nothing_is(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert not is_there(tmp_path / "none")
    assert not is_there(tmp_path / "file" / "below")
    assert list_folder(tmp_path / "none") == list_folder(tmp_path / "file") == []
    with pytest.raises(FileNotFoundError):
        open_file(tmp_path / "none", tmp_path)


def test_folders_are_listed_within_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "MOST_ENTRIES", 5)
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    for number in (2, 0, 1):
        (deep / f"{number}.png").touch()
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    (tmp_path / "a" / "[").touch()
    assert [path.name for path in list_folder(deep, "*.png")] == ["0.png", "1.png", "2.png"]
    assert [path.name for path in walk_folder(tmp_path)] == ["[", "0.png", "1.png", "2.png", "loop"]
    (tmp_path / "more").touch()
    (tmp_path / "most").touch()
    with pytest.raises(ValueError, match="more than 5 files"):
        walk_folder(tmp_path)
    for number in range(3, 6):
        (deep / f"{number}.png").touch()
    with pytest.raises(ValueError, match="more than 5 files"):
        list_folder(deep)
    monkeypatch.setattr(opening, "MOST_ENTRIES", 100)
    (deep / "/".join("cdefghij")).mkdir(parents=True)
    with pytest.raises(ValueError, match="levels deep"):
        walk_folder(tmp_path)


# Nobody goes round it

READERS = {
    "read_text", "read_bytes", "rglob", "iterdir", "glob", "is_file", "exists", "scandir", "listdir", "walk",
    "fromfile", "memmap", "loadtxt", "genfromtxt",
}  # fmt: skip
"""Methods that read files, list folders, or take another thing for nothing."""
LOADERS = {"np", "numpy", "torch", "tomllib", "json", "pickle", "Image", "os", "io", "codecs", "zipfile"}
"""Modules whose ``load`` and ``open`` read files."""
MAY = {
    "guideplug/files/opening.py": "the door",
    "guideplug/files/atomic.py": "syncs the temporary file that it has written",
    "guideplug/files/checkpoints/reading.py": "torch reads a handle that the door opened",
    "guideplug/metrics/reference_statistics.py": "NumPy reads a handle that the door opened",
    "guideplug/files/process_state.py": "what the system says of this process",
    "guideplug/registry/elsewhere.py": "sources of packages that are installed",
    "guideplug/registry/registry.py": "whether code is there; the interpreter reads code",
    "guideplug/files/code.py": "whether code is there, and what installers say of it",
    "guideplug/files/durable.py": "makes and syncs what is written",
    "guideplug/files/project.py": "whether code is there; its file is read through the door",
    "guideplug/run/carried.py": "whether a text names a file; what is read comes through the door",
    "guideplug/store/source/core.py": "the sources of guideplug itself, as installed",
    "guideplug/store/source/scope.py": "sources of code that is imported already",
    "guideplug/store/data_cache.py": "locks a folder, and reads nothing",
    "guideplug/store/identity.py": "the files of packages that are imported already",
    "guideplug/report/html.py": "assets of the package",
    "guideplug/cli/scaffold/scaffold.py": "templates of the package",
    "guideplug/testing": "the kit reads what it has written",
}
"""Who reads in another way, and why."""


def rounds(source: str) -> Iterator[str]:
    """The calls of a source that read files by another way than the door."""
    tree = ast.parse(source)
    own = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("guideplug")
        for alias in node.names
    } | {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        function, text = node.func, ast.unparse(node.func)
        if isinstance(function, ast.Name):
            if function.id in {"open", *READERS} - own:
                yield text
        elif isinstance(function, ast.Attribute):
            loads = ast.unparse(function.value) in LOADERS and function.attr in ("load", "open")
            of_bytes = bool(node.args) and ast.unparse(node.args[0]).startswith("io.BytesIO(")
            opens = function.attr == "open" and bool(node.args) and isinstance(node.args[0], ast.Constant)
            if (function.attr in READERS and text != "ast.walk") or (loads and not of_bytes) or opens:
                yield text


def sources() -> list[Path]:
    return sorted([*(ROOT / "guideplug").rglob("*.py"), *(ROOT / "plugins").glob("*/src/**/*.py")])


def excused(path: Path) -> bool:
    name = path.relative_to(ROOT).as_posix()
    return any(name == other or name.startswith(f"{other}/") for other in MAY)


@pytest.mark.parametrize(
    "source",
    [
        "open('a')", "path.open('rb')", "path.read_text()", "np.load(path)", "torch.load(path)", "tomllib.load(file)",
        "json.load(file)", "path.is_file()", "sorted(folder.rglob('*'))", "os.scandir(folder)", "Image.open(path)",
    ],
)  # fmt: skip
def test_a_way_round_the_door_is_seen(source: str) -> None:
    assert len(list(rounds(source))) == 1


def test_nobody_reads_by_another_way() -> None:
    assert len(sources()) > 300
    ways = [
        f"{path.relative_to(ROOT)}: {call}(...)"
        for path in sources()
        if not excused(path)
        for call in rounds(path.read_text(encoding="utf-8"))
    ]
    assert not ways, "read through guideplug.files.opening, or list the file in MAY with its reason"


def test_no_excuse_is_left_over() -> None:
    for name in MAY:
        paths = [path for path in sources() if path.relative_to(ROOT).as_posix().startswith(name)]
        assert any(list(rounds(path.read_text(encoding="utf-8"))) for path in paths), f"{name} needs no excuse"
