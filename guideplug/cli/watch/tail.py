"""A log that grows, read as it grows; one that was cut back, as a resumed run's is, is read anew.

A line counts when it is whole, so the torn last line of a killed run, or of a write under way, is none yet. Nothing is
assumed of the file system but that a file's bytes can be read: whether the log is still the one that was read is seen
by the bytes before the place where reading goes on.

Of much that is new, as of a long log at first, the beginning and the end are read. What lies between is one event,
``unread``, with its number of bytes; where a decision depends on it, `Tail.last_unread` searches it.
"""

import json
import os
from pathlib import Path
from typing import Any, BinaryIO

from guideplug.files.opening import open_file

__all__ = ["Tail"]

ANCHOR = 4096
"""Number of last bytes that are compared at the next reading."""
HEAD, LAST = 256 * 1024, 4 * 1024**2
"""Most bytes that are read of the beginning and of the end of what is new."""
BLOCK = 1024**2


class Tail:
    """The new events of a log since its last reading."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset, self._anchor = 0, b""
        self._unread = (0, 0)

    def read(self) -> tuple[list[dict[str, Any]], bool]:
        """The events since the last reading, and whether they are all there are, for the log was cut back."""
        try:
            with open_file(self._path, self._path.parent) as file:
                file.seek(self._offset - len(self._anchor))
                anew = file.read(len(self._anchor)) != self._anchor
                if anew:
                    self._offset, self._anchor, self._unread = 0, b"", (0, 0)
                return self._new(file, file.seek(0, os.SEEK_END)), anew
        except (OSError, ValueError):
            return [], False  # replaced this very moment, or a file system that lags: next time

    def _new(self, file: BinaryIO, end: int) -> list[dict[str, Any]]:
        """The events between the last reading and the end of the file."""
        if end - self._offset <= HEAD + LAST:
            return _events(self._whole_lines(file, end))
        first = _events(self._whole_lines(file, self._offset + HEAD))
        begin = self._offset
        self._offset, self._anchor = end - LAST, b""
        file.seek(self._offset)
        self._offset += len(file.readline(LAST))  # a part of a line
        self._unread = (begin, self._offset)
        time = first[-1].get("time", 0.0) if first else 0.0
        between = {"event": "unread", "time": time, "bytes": self._offset - begin}
        return [*first, between, *_events(self._whole_lines(file, end))]

    def _whole_lines(self, file: BinaryIO, end: int) -> bytes:
        """The whole lines from where reading goes on to a place, from where it then goes on."""
        file.seek(self._offset)
        text = file.read(end - self._offset)
        whole = text[: text.rfind(b"\n") + 1]
        self._offset += len(whole)
        self._anchor = (self._anchor + whole)[-ANCHOR:]
        return whole

    def last_unread(self, name: str) -> dict[str, Any] | None:
        """The last event of a name in what was not read, or None; the second time there is none."""
        begin, end = self._unread
        self._unread = (0, 0)
        start = b'\n{"event": "%b",' % name.encode()
        after = b""
        try:
            with open_file(self._path, self._path.parent) as file:
                while end > begin:
                    first = max(begin - 1, end - BLOCK)
                    file.seek(first)
                    block = file.read(end - first)
                    if (place := (block + after).rfind(start)) >= 0:
                        file.seek(first + place + 1)
                        return _event(file.readline(BLOCK))
                    after, end = block[: len(start)], first
        except (OSError, ValueError):
            pass
        return None


def _events(lines: bytes) -> list[dict[str, Any]]:
    return [event for line in lines.splitlines() if (event := _event(line)) is not None]


def _event(line: bytes) -> dict[str, Any] | None:
    """The event of a line; None where it is damaged."""
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return event if isinstance(event, dict) and isinstance(event.get("event"), str) else None
