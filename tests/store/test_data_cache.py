"""Prepared data are there whole or not at all, and are prepared once."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from guideplug.errors import StoreError, WriteError
from guideplug.store.data_cache import DataCache, prepared_data

KEY = "a" * 64


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GUIDEPLUG_STORE", str(tmp_path))
    return tmp_path / "data"


def write(folder: Path) -> None:
    assert not list(folder.iterdir())
    (folder / "file").write_text("whole")


def test_data_are_prepared_once(store: Path) -> None:
    assert prepared_data(KEY, write) == store / KEY
    assert (prepared_data(KEY, lambda folder: pytest.fail("prepared again")) / "file").read_text() == "whole"


@pytest.mark.parametrize("error", [ValueError("broken"), KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_what_fails_leaves_nothing(error: BaseException, store: Path) -> None:
    def fail(folder: Path) -> None:
        write(folder)
        raise error

    with pytest.raises(WriteError if isinstance(error, OSError) else type(error)):
        prepared_data(KEY, fail)
    assert [path.name for path in store.iterdir() if path.is_dir()] == []
    prepared_data(KEY, write)


def test_what_a_killed_process_left_is_removed(store: Path) -> None:
    (store / f"{KEY}.partial").mkdir(parents=True)
    (store / f"{KEY}.partial" / "torn").touch()
    assert [path.name for path in prepared_data(KEY, write).iterdir()] == ["file"]


def test_what_is_used_is_not_removed_and_what_was_removed_is_prepared_again(store: Path) -> None:
    prepared_data(KEY, write)
    cache = DataCache(store)
    assert cache.in_use(KEY)
    with pytest.raises(StoreError, match="is in use"):
        cache.remove(KEY)
    shutil.rmtree(store / KEY)  # by hand
    assert not cache.in_use(KEY)
    assert (prepared_data(KEY, write) / "file").read_text() == "whole"
    assert cache.in_use(KEY)


PREPARE = """
import time
from guideplug import prepared_data

def slowly(folder):
    (folder / "file").write_text("whole")
    with (folder.parent / "count").open("a") as file:
        file.write("1")
    time.sleep(0.5)

print((prepared_data("a" * 64, slowly) / "file").read_text())
"""


@pytest.mark.slow
def test_one_process_prepares_while_others_wait(store: Path) -> None:
    both = [subprocess.Popen([sys.executable, "-c", PREPARE], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [process.communicate(timeout=120)[0] for process in both] == ["whole\n", "whole\n"]
    assert (store / "count").read_text() == "1"
