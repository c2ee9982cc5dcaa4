"""What is written is read back with TensorBoard's own reader."""

import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from guideplug import RunInfo
from guideplug.testing import check_observer, events_of_a_run
from guideplug_tensorboard import TensorBoard

CONFIG = {"task": "made-up", "samples": 8, "train": {"lr": 0.01, "ema": [0.1]}}


def follow(folder: Path, *, first: int = 0, last: int = 4, stop: str = "", resumed: bool = False) -> None:
    """Open, tell a made-up run up to an event, and close, or leave it as a killed process would."""
    folder.mkdir(exist_ok=True)
    listener: Any = TensorBoard().open(RunInfo(folder, "run", CONFIG, resumed))
    for event, data in events_of_a_run(folder, first=first, last=last):
        listener.on_event(event, data)
        if event == stop:
            break
    listener.close()


def read(folder: Path, part: str = "") -> EventAccumulator:
    found = EventAccumulator(
        str(folder / "tensorboard" / part), size_guidance={"scalars": 0, "images": 0, "tensors": 0}
    )
    return found.Reload()


def test_its_laws() -> None:
    check_observer(TensorBoard())


def test_everything_is_where_it_is_looked_for(tmp_path: Path) -> None:
    follow(tmp_path / "run")
    curves, root = read(tmp_path / "run", "training/main"), read(tmp_path / "run")
    assert set(curves.Tags()["scalars"]) == {
        "loss", "learning_rate", "selected_share", "metrics/raw/distance",
        *(f"seconds/{phase}" for phase in ("total", "data", "score", "select", "learn")),
    }  # fmt: skip
    assert [(point.step, point.value) for point in curves.Scalars("loss")] == [
        (32 * number, pytest.approx(1 / number)) for number in (1, 2, 3, 4)
    ]
    assert [(point.step, point.width) for point in curves.Images("preview")] == [(32 * n, 1) for n in (1, 2, 3, 4)]
    assert [(point.step, point.value) for point in root.Scalars("metrics/guided/distance")] == [(128, 0.5)]
    assert "metrics/guided/no value" not in root.Tags()["scalars"]
    (image,) = root.Images("made-up")
    assert (image.step, image.width, image.height) == (128, 1, 1)
    (text,) = root.Tensors("config/text_summary")
    assert b'"lr": 0.01' in text.tensor_proto.string_val[0]
    assert "_hparams_/session_start_info" in root.summary_metadata
    cells = read(tmp_path / "run", "arms/cfg, none, seed 0").Scalars("distance")
    assert [(point.step, point.value) for point in cells] == [(32, 0.5)]


@pytest.mark.parametrize("first", [1, 0])
def test_a_run_that_goes_on_has_every_point_once(first: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    follow(tmp_path / "run", last=3)  # told everything, but killed before the run knew it
    now = time.time
    monkeypatch.setattr("time.time", lambda: now() + 5)  # files are read in the order of the seconds in their names
    follow(tmp_path / "run", first=first, last=4, resumed=True)
    assert [point.step for point in read(tmp_path / "run", "training/main").Scalars("loss")] == [32, 64, 96, 128]
    assert [point.step for point in read(tmp_path / "run").Scalars("metrics/truth/distance")] == [128]


def test_what_a_killed_run_resumes_from_is_on_disk(tmp_path: Path) -> None:
    listener: Any = TensorBoard(flush=3600.0).open(RunInfo(tmp_path, "run", CONFIG))
    for event, data in events_of_a_run(tmp_path):
        listener.on_event(event, data)
        if event == "checkpoint" and data["step"] == 64:
            break
    assert [point.step for point in read(tmp_path, "training/main").Scalars("loss")] == [32, 64]
    listener.close()


def test_a_role_may_have_any_name(tmp_path: Path) -> None:
    listener: Any = TensorBoard().open(RunInfo(tmp_path / "run", "run", CONFIG))
    for role in ("../../out", "..", "a/b", "jest(ratio=0.2), seed 0"):
        listener.on_event("train", {"role": role, "step": 0, "total": 1.0, "unit": "it", "reached": 0, "seconds": 0.0})
        listener.on_event("train", {"role": role, "step": 0, "total": 1.0, "unit": "it", "reached": 0, "seconds": 0.0})
    listener.close()
    assert {path.name for path in tmp_path.iterdir()} == {"run"}
    folders = {path.name for path in (tmp_path / "run" / "tensorboard" / "training").iterdir()}
    assert folders == {"_._.._out", "_.", "a_b", "jest(ratio=0.2), seed 0"}
    assert len(threading.enumerate()) == 1


def test_tensorboard_is_imported_by_nobody_who_did_not_ask() -> None:
    code = "import sys, guideplug_tensorboard\nprint({'torch', 'tensorboard'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
