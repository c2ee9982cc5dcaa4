"""A log that grows, read as it grows; one that was cut back, as a resumed run's is, is read anew.

A line counts when it is whole, so the torn last line of a killed run, or of a write under way, is none yet. Nothing is
assumed of the file system but that a file's bytes can be read: whether the log is still the one that was read is seen
by the bytes before the place where reading goes on.
"""

import json
from pathlib import Path
from typing import Any

from guideplug.files.opening import open_file

__all__ = ["Tail"]

ANCHOR = 4096
"""Number of last bytes that are compared at the next reading."""


class Tail:
    """The new events of a log since its last reading."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset, self._anchor = 0, b""

    def read(self) -> tuple[list[dict[str, Any]], bool]:
        """The events since the last reading, and whether they are all there are, for the log was cut back."""
        try:
            with open_file(self._path, self._path.parent) as file:
                start = self._offset - len(self._anchor)
                file.seek(start)
                data = file.read()
                anew = not data.startswith(self._anchor)
                if anew:
                    file.seek(0)
                    data, self._offset, self._anchor = file.read(), 0, b""
        except (OSError, ValueError):
            return [], False  # replaced this very moment, or a file system that lags: next time
        text = data[len(self._anchor) :]
        whole = text[: text.rfind(b"\n") + 1]
        self._offset += len(whole)
        self._anchor = (self._anchor + whole)[-ANCHOR:]
        return [event for line in whole.splitlines() if (event := _event(line)) is not None], anew


def _event(line: bytes) -> dict[str, Any] | None:
    """The event of a line; None where it is damaged."""
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return event if isinstance(event, dict) and isinstance(event.get("event"), str) else None
