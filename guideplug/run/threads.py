"""The default number of threads: of the network's size and the machine's cores, never of its load.

Below `FEW_PARAMETERS` one thread, else the physical cores. Small tensors gain little from a second thread and lose
much to one that waits for a busy core. Measured on two cores, 256 iterations of the tree: alone 4.2 s with two threads
and 6.7 s with one; beside one busy process 17.9 s and 7.1 s; beside several, two threads were thirty times slower.
"""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from guideplug.recipe import Recipe, architecture
from guideplug.recipes.python_ref import ImportedNetwork

__all__ = ["FEW_PARAMETERS", "MOST_THREADS", "busy_note", "default_threads", "num_parameters", "physical_cores"]

FEW_PARAMETERS = 1_000_000
"""Networks with fewer parameters run on one thread."""
MOST_THREADS = 1024
TOPOLOGY = Path("/sys/devices/system/cpu")
CPU_LIMIT = Path("/sys/fs/cgroup/cpu.max")


def default_threads(main: Recipe) -> int:
    """The threads of a run that names no number, for its main network; at most ``OMP_NUM_THREADS``."""
    limit = os.environ.get("OMP_NUM_THREADS", "")
    cores = min(physical_cores(), MOST_THREADS)
    if limit.isdecimal() and int(limit) > 0:
        cores = min(cores, int(limit))
    return 1 if cores == 1 or (num_parameters(main) or 0) < FEW_PARAMETERS else cores


def num_parameters(recipe: Recipe) -> int | None:
    """The parameters of a recipe's module; None where it cannot be built.

    The module is built without weights. A network that cannot be built so is built whole, and so is one of the user's
    own code (`ImportedNetwork`), which may keep what it builds.
    """
    try:
        own_code = isinstance(architecture(recipe), ImportedNetwork)
        module = recipe.build() if own_code else _outline(recipe)
        return sum(parameter.numel() for parameter in module.parameters())
    except Exception:  # preflight says why, with the role
        return None


def _outline(recipe: Recipe) -> nn.Module:
    with suppress(Exception), _no_weights():
        return recipe.build()
    return recipe.build()


@contextmanager
def _no_weights() -> Iterator[None]:
    """Move each parameter to the meta device when its layer registers it, before it is initialised.

    Other tensors stay where they are: code may keep them for later.
    """

    def moved(module: nn.Module, name: str, parameter: nn.Parameter) -> nn.Parameter | None:
        return None if parameter.is_meta else nn.Parameter(parameter.to("meta"), parameter.requires_grad)

    hook = register_module_parameter_registration_hook(moved)  # type: ignore[arg-type]  # typed as returning None
    try:
        with warnings.catch_warnings(action="ignore"):  # weights that are copied go nowhere
            yield
    finally:
        hook.remove()


def physical_cores() -> int:
    """The cores that this process may use, hyperthreads of one counted once; logical ones where that cannot be told."""
    processors = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    try:
        siblings = {(TOPOLOGY / f"cpu{number}/topology/thread_siblings_list").read_text() for number in processors}
    except OSError:
        return min(len(processors), _cpu_limit())
    return min(len(siblings), _cpu_limit())


def _cpu_limit() -> int:
    """The processors that the control group may use at once, rounded down, at least 1."""
    try:
        quota, period = CPU_LIMIT.read_text().split()
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
    need, advice = f"{threads} threads of this run need", "; a new run with --set threads=1 may be faster"
    if threads == 1:
        need, advice = "this run needs one", ""
    return f"note: a load of {load} on {processors} processors, and {need}: it takes longer than alone{advice}"
