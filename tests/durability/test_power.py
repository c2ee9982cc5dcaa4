"""A power failure: of every file that commands write, bytes, name and folder reach the disk in this order."""

import os
from collections.abc import Callable, Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from harness import COMMANDS

from guideplug.cli.main import main
from guideplug.files.atomic import at_work_in, cleared, drawn_whole
from guideplug.files.durable import append_line, make_folder
from guideplug.files.reading import file_digest
from guideplug.files.tensors import write_tensors
from guideplug.files.trust import allow, guarded
from guideplug.run.folder import EventLog, RunFolder
from guideplug.store import Store

KEY = "a" * 64

NEED_NOT = {
    "*.lock": "it holds nothing: the lock is the system's, and ends with its process",
    ".*.removed": "what is half removed is removed by whoever next needs the network",
    "events.jsonl": "it grows; lines that are lost are those since the log was last closed, and were for watching",
    "cache/*": "names for shells, hashes, fonts: what is lost or cannot be read is made anew",
}
"""Files whose names or bytes need not last, by pattern, with the reason."""


@attrs.define
class Trace:
    """The calls that decide what lasts, in their order: (what, path) or (what, source, target)."""

    calls: list[tuple[str, ...]] = attrs.field(factory=list)

    def renamed(self) -> Iterator[tuple[int, str, str]]:
        for place, call in enumerate(self.calls):
            if call[0] == "rename":
                yield place, call[1], call[2]

    def faults(self) -> Iterator[str]:
        """What would not last, or only its name would."""
        for place, source, target in self.renamed():
            if needed(target) and Path(target).is_file() and ("sync", source) not in self.calls[:place]:
                yield f"{target} has its name before its bytes"
            if needed(target) and ("sync", above(target)) not in self.calls[place : place + 2]:
                yield f"{target}: its folder is not synced after it is renamed"
        for place, call in enumerate(self.calls):
            if call[0] == "make" and needed(call[1]) and ("sync", above(call[1])) not in self.calls[place:]:
                yield f"{call[1]}: the folder above is not synced after it is made"

    def lasts(self, path: Path) -> bool:
        """Whether a file was renamed to its name, or is in a folder that was."""
        targets = {target for _, _, target in self.renamed()}
        return bool(targets & {str(path), *map(str, path.parents)})


def needed(path: str) -> bool:
    return not any(fnmatch(path, f"*/{pattern}") for pattern in NEED_NOT)


def above(path: str) -> str:
    return str(Path(path).parent)


@pytest.fixture
def trace(monkeypatch: pytest.MonkeyPatch) -> Trace:
    if not Path("/proc/self/fd").is_dir():
        pytest.skip("paths of descriptors are read from /proc")
    trace = Trace()

    def noting(name: str, function: Callable[..., Any], paths: Callable[..., tuple[str, ...]]) -> Callable[..., Any]:
        def called(*args: Any, **options: Any) -> Any:
            noted = (name, *map(os.path.abspath, paths(*args)))
            result = function(*args, **options)
            trace.calls.append(noted)
            return result

        return called

    monkeypatch.setattr(
        os, "fsync", noting("sync", os.fsync, lambda handle: (Path(f"/proc/self/fd/{handle}").readlink(),))
    )
    for name in ("replace", "rename"):
        monkeypatch.setattr(os, name, noting("rename", getattr(os, name), lambda source, target: (source, target)))
    monkeypatch.setattr(os, "mkdir", noting("make", os.mkdir, lambda path, *_: (path,)))
    return trace


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name, path in {"STORE": "deep/store", "TRUSTED": "state/trusted"}.items():
        monkeypatch.setenv(f"GUIDEPLUG_{name}", str(tmp_path / path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def done(*words: object) -> None:
    result = CliRunner().invoke(main, list(map(str, words)), prog_name="guideplug")
    assert result.exit_code == 0, result.output


def check(place: Path, trace: Trace) -> None:
    """All that was written in a place lasts."""
    assert list(trace.faults()) == []
    trusted = place / "state" / "trusted"
    files = [path for path in place.rglob("*") if path.is_file() and needed(str(path)) and path != trusted]
    assert [str(path) for path in files if not trace.lasts(path)] == []
    assert {("sync", str(trusted)), ("sync", str(trusted.parent))} <= set(trace.calls)
    made = {call[1] for call in trace.calls if call[0] == "make"}
    assert {str(place / part) for part in ("above", "above/out", "deep", "deep/store", "state")} <= made


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_every_file_of_a_command_lasts(name: str, place: Path, trace: Trace) -> None:
    done(*COMMANDS[name], "--out", "above/out")
    if name == "run":
        done("report", "above/out")
    check(place, trace)


def write_every_way() -> RunFolder:
    """Files of each kind, as commands write them, under the current folder."""
    folder = RunFolder.create(Path("above/out"), "one")
    with at_work_in(folder.path):
        folder.write_json("run.json", {})
        folder.write_arrays({"samples": np.zeros(3)})
        log = EventLog(folder.events)
        log.on_event("run", {})
        log.close()
        with drawn_whole(folder.figure("one")) as aside:
            aside.write_bytes(b"PNG")
        cleared(folder.path, ("cells",))
    store = Store.default()
    with store.locked(KEY):
        write_tensors(store.workplace(KEY) / "state.safetensors", {"weight": torch.zeros(3)})
        entry = store.finish(KEY, KEY, {"weight": torch.zeros(3)}, {"name": "one"}, {})
    store.add(entry, "snapshot-1.safetensors", {"weight": torch.ones(3)})
    with guarded([], [__file__]):
        allow(__file__, file_digest(Path(__file__)), "plugins")
    return folder


def test_every_way_to_write_a_file_lasts(place: Path, trace: Trace) -> None:
    folder = write_every_way()
    assert ("sync", str(folder.events)) in trace.calls
    check(place, trace)
    Store.default().remove(KEY)
    assert list(trace.faults()) == []


@pytest.mark.parametrize("umask", [0o077, 0o002, 0o022, 0o027], ids=oct)
def test_files_and_folders_have_the_mode_that_the_umask_leaves(umask: int, place: Path) -> None:
    before = os.umask(umask)
    try:
        write_every_way()
    finally:
        os.umask(before)
    for path in place.rglob("*"):
        bits = 0o777 if path.is_dir() else 0o666
        assert path.stat().st_mode & 0o777 == bits & ~umask, path


def test_the_trace_sees_what_does_not_last(tmp_path: Path, trace: Trace) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "aside").write_text("x")
    (tmp_path / "aside").replace(tmp_path / "file")
    assert len(list(trace.faults())) == 3
    assert not trace.lasts(tmp_path / "other")


def test_folders_are_made_with_those_above_and_a_list_begins_with_its_name(tmp_path: Path, trace: Trace) -> None:
    make_folder(tmp_path / "one" / "two" / "three")
    assert {call for call in trace.calls if call[0] == "sync"} == {
        ("sync", str(path)) for path in (tmp_path, tmp_path / "one", tmp_path / "one" / "two")
    }
    trace.calls.clear()
    make_folder(tmp_path / "one")
    assert trace.calls == []
    append_line(tmp_path / "list", "first\n")
    append_line(tmp_path / "list", "second\n")
    assert trace.calls == [("sync", str(tmp_path / "list")), ("sync", str(tmp_path)), ("sync", str(tmp_path / "list"))]
    assert (tmp_path / "list").read_text() == "first\nsecond\n"
