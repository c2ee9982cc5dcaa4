"""The event log on a disk that is full for a while: no line is torn, none is missing."""

import errno
import json
import os
from pathlib import Path

import pytest

from guideplug.run.folder import EventLog


def test_lines_that_a_full_disk_refuses_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, write, room = tmp_path / "events.jsonl", os.write, [True]

    def half(handle: int, data: bytes) -> int:
        if room[0]:
            return write(handle, data)
        if len(data) > 100:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(handle, data[: len(data) // 2])

    monkeypatch.setattr("guideplug.run.folder.os.write", half)
    log = EventLog(path, now=lambda: 0.0)
    for step in range(8):
        room[0] = step not in (2, 3, 4, 7)
        log.on_event("step", {"role": "main", "step": step})
        assert path.read_text().endswith("\n")
    room[0] = True
    log.close()
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == list(range(8))
