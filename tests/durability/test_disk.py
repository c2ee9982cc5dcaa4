"""A disk that is full, a file that may not grow, a folder that is read-only: one line, and what was there is whole."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import COMMANDS, Moments, Nursery, Place, check_whole, outcome, same

pytestmark = pytest.mark.slow


def line_of(output: str) -> str:
    """The error, which must be one line, the last; a warning before it is of the same reason."""
    assert "Traceback" not in output
    warnings = [line for line in output.splitlines() if line.startswith("warning: ")]
    assert all("(No space left on device)" in line for line in warnings)
    (error,) = [line for line in output.splitlines() if line.startswith("error: ")]
    assert output.splitlines()[-1] == error
    return error


def check_earlier(place: Place) -> None:
    """Whatever is there is whole; nothing is half written."""
    for path in (*place.out.rglob("*.json"), *place.store.rglob("*.json")):
        json.loads(path.read_text())
    assert not list(place.root.rglob("*.tmp"))


@pytest.mark.parametrize("share", [0, 0.1, 0.35, 0.6, 0.9, 0.96, 0.98, 0.995])
def test_a_full_disk(place: Place, run: Moments, share: float) -> None:
    """From a certain write on, lines of the log included, until there is room again."""
    writes = sum(name in ("before sync", "before line") for name in run.names)
    child = place.go_on(COMMANDS["run"], often=True, refuse=int(share * writes))
    if child.wait() == 0:  # all that had no room is the page, or the list written anew: neither spoils a run
        assert "Traceback" not in child.said
        assert "error: " not in child.said
        check_earlier(place)
        assert place.start("report", "out").wait() == 0
    else:
        line = line_of(child.said)
        assert "(No space left on device)" in line
        check_earlier(place)
        if "guideplug report" in line:  # all but the page had room, and the list of failures had none
            assert place.start("report", "out").wait() == 0
        else:
            assert "guideplug run --resume out" in line or not (place.out / "config.toml").is_file()
            place.finish(COMMANDS["run"])
    same(outcome(place), run.expected)
    check_whole(place)


def test_a_file_that_may_not_grow(place: Place, run: Moments) -> None:
    child = place.go_on(COMMANDS["run"], limit=1500)
    assert child.wait() == 1, child.said
    assert "cannot be written (File too large)" in line_of(child.said)
    check_earlier(place)
    place.finish(COMMANDS["run"])
    same(outcome(place), run.expected)
    check_whole(place)


@pytest.fixture
def small(nursery: Nursery, tmp_path: Path) -> Iterator[Place]:
    """A place on a disk of its own, of 64 KiB."""
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(tmp_path)], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip("no disk of its own can be mounted here: that takes root")
    yield Place(nursery, tmp_path, store=tmp_path / "store")
    subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_small_disk(small: Place, run: Moments) -> None:
    assert small.go_on(COMMANDS["run"]).wait() == 1  # what it says has no room either
    assert not list(small.root.rglob("*.tmp"))
    subprocess.run(["mount", "-o", "remount,size=8m", str(small.root)], check=True)
    small.finish(COMMANDS["run"])
    same(outcome(small), run.expected)
    check_whole(small)


@pytest.mark.parametrize("name", ["out", "store"])
def test_a_folder_that_became_read_only(place: Place, run: Moments, name: str) -> None:
    assert place.go_on(COMMANDS["run"], often=True, die=run.names.index("before event sample") + 1).wait() == -9
    folder = place.root / name
    bound = subprocess.run(["mount", "--bind", folder, folder], capture_output=True, check=False)
    if bound.returncode:
        pytest.skip("no folder can be made read-only here: that takes root, to whom permissions mean nothing")
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", folder], check=True)
        before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        child = place.go_on(COMMANDS["run"])
        assert child.wait() in (1, 2)
        line = line_of(child.said)
        assert "Read-only file system" in line or "not writable" in line
        assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    finally:
        subprocess.run(["umount", folder], check=True)
    place.finish(COMMANDS["run"])
    same(outcome(place), run.expected)


def test_a_command_that_has_no_room_for_its_folder(place: Place) -> None:
    (place.root / "out").write_text("a file")
    child = place.start(*COMMANDS["run"], "--out", "out/below")
    assert child.wait() == 2
    assert "cannot be made" in line_of(child.said)
