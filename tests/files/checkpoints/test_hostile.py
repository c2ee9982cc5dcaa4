"""Malicious and damaged checkpoints: refused in one line each, nothing executed, within memory."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import peak_memory
import pytest

pytestmark = pytest.mark.slow

HARMLESS = "snapshot with byte"
"""Variants that may be read: a changed byte within a name or a weight is another snapshot."""


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("hostile")
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("hostile.py")), str(folder)],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path(peak_memory.__file__).parent)},
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert not [path for path in folder.iterdir() if path.suffix != ".pkl"]  # what the variants would have left
    return found


def test_there_are_many_of_each_kind(outcome: dict[str, Any]) -> None:
    answers = outcome["answers"]
    assert len(answers) >= 130
    assert sum(name.startswith("call of") for name in answers) >= 45


def test_each_is_refused_in_one_line(outcome: dict[str, Any]) -> None:
    for name, (answer, _) in outcome["answers"].items():
        assert answer.startswith("refused: ") or name.startswith(HARMLESS), f"{name}: {answer}"
        assert "\n" not in answer, name
        assert "printed" not in answer, name


def test_nothing_is_executed_and_nothing_written(outcome: dict[str, Any]) -> None:
    assert outcome["seen"] == []


def test_memory_is_bounded(outcome: dict[str, Any]) -> None:
    assert outcome["megabytes"] < 300  # of the longest pickles; the files have at most 1 MB
