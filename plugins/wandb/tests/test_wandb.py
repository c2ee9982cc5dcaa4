"""Offline: what is written is read back, record by record, and nothing is left of the library when a run has ended."""

import importlib
import json
import os
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from guideplug import RunInfo
from guideplug.testing import check_observer, events_of_a_run
from guideplug_wandb import WeightsAndBiases

CONFIG = {"task": "made-up", "train": {"lr": 0.01}}
BLOCK, HEADER = 32768, 7


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No settings of the user's, and no key."""
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    return home


def records(path: Path) -> Iterator[Any]:
    """The records of an offline file: blocks of 32 KiB; chunks with checksum, length and kind (1 whole, 4 last)."""
    record = importlib.import_module("wandb.proto.wandb_internal_pb2").Record
    data, at, parts = path.read_bytes(), HEADER, b""
    assert data[:4] == b":W&B"
    while at + HEADER <= len(data):
        if BLOCK - at % BLOCK < HEADER:
            at += BLOCK - at % BLOCK
            continue
        _, length, kind = struct.unpack("<IHB", data[at : at + HEADER])
        parts += data[at + HEADER : at + HEADER + length]
        at += HEADER + length
        if kind in (1, 4):
            yield record.FromString(parts)
            parts = b""


def values(items: Any) -> dict[str, Any]:
    return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}


def read(folder: Path) -> dict[str, Any]:
    """What all offline files of a run say."""
    found: dict[str, Any] = {"history": [], "summary": {}, "config": {}, "runs": [], "metrics": set()}
    for path in sorted(folder.glob("wandb/offline-run-*/*.wandb")):
        for one in records(path):
            kind = one.WhichOneof("record_type")
            if kind == "run":
                found["runs"].append((one.run.run_id, one.run.project, one.run.display_name))
                found["config"] |= {item.key: json.loads(item.value_json) for item in one.run.config.update}
            elif kind == "history":
                row = {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in one.history.item}
                found["history"].append(row)
            elif kind == "summary":
                update = one.summary.update
                found["summary"] |= {
                    item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in update
                }
            elif kind == "metric":
                found["metrics"].add((one.metric.name or one.metric.glob_name, one.metric.step_metric))
    return found


def follow(folder: Path, *, first: int = 0, last: int = 4, resumed: bool = False, **options: Any) -> None:
    folder.mkdir(exist_ok=True)
    listener = WeightsAndBiases(**options).open(RunInfo(folder, "run", CONFIG, resumed))
    for event, data in events_of_a_run(folder, first=first, last=last):
        listener.on_event(event, data)
    listener.close()


@pytest.mark.slow
def test_its_laws() -> None:
    check_observer(WeightsAndBiases())


@pytest.mark.slow
def test_a_run_and_one_that_goes_on_are_one_run(tmp_path: Path, home: Path) -> None:
    folder = tmp_path / "trees"
    hooks = sys.excepthook, sys.exit
    follow(folder, last=3, project="mine")
    follow(folder, first=1, last=4, resumed=True, project="mine")
    assert (sys.excepthook, sys.exit) == hooks
    found = read(folder)
    assert len(found["runs"]) == 2
    assert len(set(found["runs"])) == 1
    assert found["runs"][0][1:] == ("mine", "trees")
    assert found["config"]["train"] == {"lr": 0.01}
    steps = [(row["main/step"], row["main/loss"]) for row in found["history"] if "main/loss" in row]
    assert steps == [(32 * number, pytest.approx(1 / number)) for number in (1, 2, 3, 4)]
    measured = [(row["main/step"], row["main/raw/distance"]) for row in found["history"] if "main/raw/distance" in row]
    assert measured == steps
    assert found["summary"]["guided/distance"] == 0.5
    assert found["summary"]["status"] == "finished"
    assert ("main/*", "main/step") in found["metrics"]
    assert [row["_step"] for row in found["history"]] == list(range(len(found["history"])))
    assert found["summary"]["made-up/_type"] == "image-file"
    assert len(list(folder.glob("wandb/offline-run-*/files/media/images/made-up_*.png"))) == 2
    assert not list(home.iterdir())
    children = Path(f"/proc/{os.getpid()}/task/{threading.get_native_id()}/children")
    if children.is_file():
        alive = [Path(f"/proc/{child}/comm").read_text() for child in children.read_text().split()]
        assert not [name for name in alive if "wandb" in name]
    assert len(threading.enumerate()) == 1


def test_the_environment_is_respected_and_put_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    before = dict(os.environ)
    follow(tmp_path / "run")
    assert dict(os.environ) == before
    assert not list((tmp_path / "run" / "wandb").glob("offline-run-*"))


def test_wandb_is_imported_by_nobody_who_did_not_ask() -> None:
    code = "import sys, guideplug_wandb\nprint({'torch', 'wandb'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
