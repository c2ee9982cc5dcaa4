"""Worker processes give the images that one process gives, end with it, and are named when they die."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from guideplug_images import ImageError, Images, workers
from guideplug_images.place import read_collection
from guideplug_images.workers import ready_images

MINE = "guideplug_images.workers"


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Two workers from the first image on, three images per request."""
    monkeypatch.setattr(workers, "PATIENCE", 0.0)
    monkeypatch.setattr(workers, "CHUNK", 3)
    monkeypatch.setattr(workers, "_cores", lambda: 2)
    yield
    assert not children()


def children() -> list[int]:
    """The processes of workers that this process has."""
    return [
        int(entry.name)
        for entry in Path("/proc").iterdir()
        if entry.name.isdigit() and _is_child(entry)
    ]  # fmt: skip


def _is_child(entry: Path, of: int | None = None) -> bool:
    with contextlib.suppress(OSError, ValueError):
        parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
        return parent == (of or os.getpid()) and MINE in (entry / "cmdline").read_text()
    return False


@pytest.mark.slow
@pytest.mark.parametrize("name", ["zip", "unpacked", "classes"])
def test_the_images_are_those_of_one_process(
    name: str, writers: Any, pixels: Any, labels: Any, tmp_path: Path, at_once: None
) -> None:
    path = str(writers[name](tmp_path, pixels, labels))
    with read_collection(path, "auto") as collection:
        alone = [collection.image(index).transpose(2, 0, 1) for index in range(40)]
        by_workers = list(ready_images(collection, None, None))
        halves = list(ready_images(collection, 4, 3))
    assert np.array_equal(alone, by_workers)
    assert np.array(halves).shape == (40, 3, 4, 4)
    assert Images(path).data.prepared.labels is not None


def test_workers_begin_where_one_process_takes_long(
    writers: Any, pixels: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "_cores", lambda: 2)
    monkeypatch.setattr(workers._Workers, "_started", lambda self: pytest.fail("started"))
    path = str(writers["zip"](tmp_path, pixels, None))
    fingerprint = Images(path).fingerprint()
    clock = iter(range(100))
    monkeypatch.setattr(workers.time, "monotonic", lambda: next(clock))  # type: ignore[attr-defined]
    with pytest.raises(pytest.fail.Exception, match="started"):
        Images(path, size=8, channels=1).fingerprint()
    assert fingerprint


@pytest.mark.parametrize("name", ["npz", "python"])
def test_what_is_in_memory_and_the_users_own_code_stay_in_the_process(
    name: str, writers: Any, pixels: Any, tmp_path: Path, at_once: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers._Workers, "_started", lambda self: pytest.fail("started"))
    assert Images(str(writers[name](tmp_path, pixels, None)), size=4).data.size == 36


@pytest.mark.slow
def test_latents_and_a_colour_image_among_grey_ones(tmp_path: Path, at_once: None) -> None:
    (tmp_path / "latents").mkdir()
    for number in range(20):
        np.save(tmp_path / "latents" / f"{number}.npy", np.full((4, 2, 2), number, np.float32))
        Image.new("RGB" if number == 13 else "L", (4, 4), number).save(tmp_path / f"{number}.png")
    with read_collection(str(tmp_path / "latents"), None) as collection:
        assert [image[0, 0, 0] for image in ready_images(collection, None, None)] == list(range(20))
    for number in range(20):
        (tmp_path / "latents" / f"{number}.npy").unlink()
    (tmp_path / "latents").rmdir()
    assert Images(str(tmp_path)).data.prepared.pixels[7].tolist() == [[[7] * 4] * 4] * 3


@pytest.mark.slow
def test_the_first_broken_image_is_named(
    edm2_files: Any, zipped: Any, pixels: Any, tmp_path: Path, store: Path, at_once: None
) -> None:
    files = edm2_files(pixels, None)
    for number in (11, 20, 39):
        files[f"00000/img{number:08d}.png"] = b""
    with pytest.raises(ImageError, match=r"00000/img00000011\.png: it is no image"):
        _ = Images(str(zipped(tmp_path / "a.zip", files))).data
    assert not [path for path in (store / "data").iterdir() if path.suffix != ".lock"]


@pytest.mark.slow
def test_a_zip_that_is_replaced_meanwhile_is_refused(
    edm2_files: Any, zipped: Any, pixels: Any, tmp_path: Path, at_once: None
) -> None:
    path = zipped(tmp_path / "a.zip", edm2_files(pixels, None))
    with read_collection(str(path), None) as collection:
        os.utime(path, (1, 1))
        with pytest.raises(ImageError, match=r"a\.zip: it changed while it was read"):
            list(ready_images(collection, None, None))


def test_a_worker_that_dies_is_named_and_nothing_is_kept(
    writers: Any, pixels: Any, tmp_path: Path, store: Path, at_once: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = workers._Workers._started

    def killed(self: Any) -> Any:
        worker = started(self)
        worker.process.send_signal(signal.SIGKILL)
        worker.process.wait()
        return worker

    monkeypatch.setattr(workers._Workers, "_started", killed)
    path = str(writers["zip"](tmp_path, pixels, None))
    with pytest.raises(ImageError) as caught:
        _ = Images(path).data
    message = str(caught.value)
    assert "\n" not in message
    assert "SIGKILL) while it decoded 00000/img00000000.png to 00000/img00000002.png; nothing is kept" in message
    assert not [file for file in (store / "data").iterdir() if file.suffix != ".lock"]


SCRIPT = """
import sys
import time

from guideplug_images import Images, workers

workers.PATIENCE, workers._cores = 0.0, lambda: 2


def answer(self, worker, names):
    print("decoding", flush=True)
    time.sleep(60)


workers._Workers._answer = answer
Images(sys.argv[1]).data
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_workers_end_with_their_process_and_execute_no_script(
    number: signal.Signals, writers: Any, pixels: Any, tmp_path: Path, store: Path
) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    path = str(writers["zip"](tmp_path, pixels, None))
    process = subprocess.Popen(
        [sys.executable, str(tmp_path / "script.py"), path],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    with process, process.stdout:
        assert process.stdout.readline() == "decoding\n"
        mine = [entry for entry in Path("/proc").iterdir() if entry.name.isdigit() and _is_child(entry, process.pid)]
        assert len(mine) == 2
        process.send_signal(number)
        process.wait()
        assert process.stdout.read() == ""
    until = time.monotonic() + 30
    while any(entry.exists() for entry in mine):
        assert time.monotonic() < until
        time.sleep(0.05)
    left = [file.name for file in (store / "data").iterdir() if file.suffix != ".lock"]
    assert left == [] if number == signal.SIGINT else all(name.endswith(".partial") for name in left)
