"""Pictures: drawn under a style of their own, appearing whole or not at all, listed as failures where they cannot be.

Every picture of the package, and of plugins that it calls, is drawn in a `drawing` block: matplotlib has its own
defaults there, whatever a ``matplotlibrc``, ``MPLBACKEND`` or the calling program has set, and afterwards what it had
before. Figures that a block leaves open in pyplot are closed.
"""

import importlib.util
import os
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import chdir, contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

from guideplug.files.atomic import drawn_whole
from guideplug.files.opening import open_file
from guideplug.run.failure import Failures, collected

__all__ = ["draw", "drawing"]

BACKEND = "MPLBACKEND"
PNG = b"\x89PNG\r\n\x1a\n"
_ONE = threading.RLock()
"""matplotlib's settings belong to the process."""


def draw(
    path: Path, part: Literal["figure", "animation"], name: str, paint: Callable[[Path], Any], to: Failures
) -> bool:
    """Draw a picture to a path; whether it is there. One that cannot be drawn is listed as a failure.

    Args:
        path: of the picture, a PNG for a figure and a GIF for an animation.
        part, name: what it is called in a failure.
        paint: draws to the path that it is given; an answer that is false says that there is nothing to draw.
        to: the list of failures.

    Raises:
        WriteError: the disk refuses it.
    """
    with drawn_whole(path) as aside:
        before = len(to.listed)
        drew = False
        with collected(to, part, name), drawing():
            answer = paint(aside)
            drew = part == "figure" if answer is None else bool(answer)
        if len(to.listed) == before and drew and (fault := _fault(aside, part)):
            to.add(part, name, fault)
        if len(to.listed) > before or not drew:
            drew = False
            _removed(aside)
    return drew


@contextmanager
def drawing() -> Iterator[None]:
    """A block that draws with matplotlib's own defaults, without a window; one at a time."""
    with _ONE:
        matplotlib = _imported()
        pyplot = sys.modules.get("matplotlib.pyplot")
        opened = set(pyplot.get_fignums()) if pyplot is not None else set()
        backend = dict.__getitem__(matplotlib.rcParams, "backend")  # reading it otherwise would choose one
        try:
            with matplotlib.rc_context():
                matplotlib.rcdefaults()
                if pyplot is None:
                    matplotlib.rcParams["backend"] = "agg"
                yield
        finally:
            if pyplot := sys.modules.get("matplotlib.pyplot"):
                for number in set(pyplot.get_fignums()) - opened:
                    pyplot.close(number)
            dict.__setitem__(matplotlib.rcParams, "backend", backend)


def _imported() -> Any:
    """matplotlib, also where the environment or a file of settings makes its import fail."""
    if "matplotlib" in sys.modules:
        return sys.modules["matplotlib"]
    backend = os.environ.pop(BACKEND, None)  # an unknown one fails the import
    try:
        import matplotlib  # half a second, and only pictures need it
    except Exception:
        matplotlib = _without_settings()
    finally:
        if backend is not None:
            os.environ[BACKEND] = backend
    if backend is not None:
        with suppress(ValueError):
            matplotlib.rcParams["backend"] = backend
    return matplotlib


def _without_settings() -> Any:
    """matplotlib, imported anew with its own file of settings in place of one that it cannot read."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        del sys.modules[name]
    package = importlib.util.find_spec("matplotlib")
    with chdir(Path(str(package and package.origin)).parent / "mpl-data"):  # the first place of settings
        import matplotlib
    return matplotlib


def _fault(path: Path, part: str) -> str:
    """Why a file is no picture; empty if it is one."""
    try:
        with open_file(path) as file:
            start = file.read(len(PNG))
    except (OSError, ValueError):
        return "nothing was drawn"
    if not start:
        return "the file is empty"
    return "the file is no PNG" if part == "figure" and start != PNG else ""


def _removed(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
