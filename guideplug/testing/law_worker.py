"""The worker whose jobs the laws of executors run; imported without torch, as each of their processes imports it."""

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from guideplug.executors.interrupt import handle_signals
from guideplug.files.atomic import whole_file

__all__ = ["LawWorker"]


class LawWorker:
    """A worker whose jobs return, fail, die, or write until they are stopped."""

    def square(self, number: int) -> dict[str, Any]:
        """Plain data of each type, and the process that it is from."""
        values = np.arange(3) * number
        return {"square": number**2, "values": values, "text": f"n{number}", "nested": [None, True, 0.5, b"bytes"]}

    def place(self) -> dict[str, Any]:
        """The process that the job runs in, and whether it is in the main thread."""
        return {"process": os.getpid(), "main thread": threading.current_thread() is threading.main_thread()}

    def fail(self, message: str) -> None:
        """Raise an error."""
        raise LookupError(message)

    def die(self) -> None:
        """Kill the process that the job runs in."""
        os.kill(os.getpid(), signal.SIGKILL)

    def write(self, folder: str) -> None:
        """Write whole files again and again until a stop is requested."""
        with handle_signals() as stop:
            while True:
                with whole_file(Path(folder) / "state") as file:
                    file.write(bytes(4096))
                time.sleep(0.01)
                stop()
