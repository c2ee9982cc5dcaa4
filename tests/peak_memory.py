"""The most memory that this process has had, by Linux.

Unlike ``ru_maxrss`` it does not begin with that of the process which started it.
"""

import re
from pathlib import Path

__all__ = ["peak_memory"]


def peak_memory() -> int:
    """In bytes."""
    (kibibytes,) = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return 1024 * int(kibibytes)
