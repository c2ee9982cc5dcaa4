"""The default number of threads: of the network's size and the machine's cores, never of its load.

Below `FEW_PARAMETERS` one thread, else the physical cores. Small tensors gain little from a second thread and lose
much to one that waits for a busy core. Measured on two cores, 256 iterations of the tree: alone 4.2 s with two threads
and 6.7 s with one; beside one busy process 17.9 s and 7.1 s; beside several, two threads were thirty times slower.
"""

import os
from pathlib import Path

from guideplug.files.opening import read_bytes
from guideplug.recipe import Recipe

__all__ = ["FEW_PARAMETERS", "MOST_THREADS", "busy_note", "default_threads"]

FEW_PARAMETERS = 1_000_000
"""Networks with fewer parameters run on one thread."""
MOST_THREADS = 1024
TOPOLOGY = Path("/sys/devices/system/cpu")
CPU_LIMIT = Path("/sys/fs/cgroup/cpu.max")
MOST_SAID = 4096
"""Bytes of a file of the system."""


def default_threads(main: Recipe) -> int:
    """The threads of a run that names no number, for its main network; at most ``OMP_NUM_THREADS``.

    Cost: none on one core; else the module is built once more, to count its parameters: a billion of them take seconds
    and 4 GB for that moment.
    """
    limit = os.environ.get("OMP_NUM_THREADS", "")
    cores = min(_physical_cores(), MOST_THREADS)
    if limit.isdecimal() and int(limit) > 0:
        cores = min(cores, int(limit))
    return 1 if cores == 1 or _num_parameters(main) < FEW_PARAMETERS else cores


def _num_parameters(recipe: Recipe) -> int:
    """The parameters of a recipe's module; 0 where it cannot be built."""
    try:
        return sum(parameter.numel() for parameter in recipe.build().parameters())
    except Exception:  # preflight says why, with the role
        return 0


def _physical_cores() -> int:
    """The cores that this process may use, hyperthreads of one counted once; logical ones where that cannot be told."""
    processors = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    try:
        lists = [TOPOLOGY / f"cpu{number}/topology/thread_siblings_list" for number in processors]
        siblings = {read_bytes(path, MOST_SAID) for path in lists}
    except OSError:
        return min(len(processors), _cpu_limit())
    return min(len(siblings), _cpu_limit())


def _cpu_limit() -> int:
    """The processors that the control group may use at once, rounded down, at least 1."""
    try:
        quota, period = read_bytes(CPU_LIMIT, MOST_SAID).decode().split()
        return MOST_THREADS if quota == "max" else max(int(quota) // int(period), 1)
    except (OSError, ValueError):
        return MOST_THREADS


def busy_note(threads: int) -> str | None:
    """A line where others keep processors busy that a run's threads need; None on an idle machine.

    The load is the average of the last minute, rounded. It decides nothing.
    """
    try:
        load = round(os.getloadavg()[0])
    except (AttributeError, OSError):  # not on Windows
        return None
    processors = os.cpu_count() or 1
    if load == 0 or load + threads <= processors:
        return None
    busy = f"about {load} other busy {'process' if load == 1 else 'processes'} on {processors} processors"
    advice = "" if threads == 1 else "; a new run with --set threads=1 may be faster"
    return f"note: {busy}: measured seconds will be longer than alone{advice}"
