"""Programs in children of one warm interpreter, which has imported torch and guideplug.

A fresh interpreter takes seconds to import them; a child that is forked of a warm one has them at once. What a program
changes of its folder, environment and modules ends with it. Warnings are errors, but for those of the imports
beforehand.
"""

import multiprocessing
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path

WARM = multiprocessing.get_context("forkserver")
WARM.set_forkserver_preload(["torch", "guideplug.registry.registry", "guideplug.cli.main"])


def run(program: str, folder: Path, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """A program, run in a folder with an environment; its exit status and standard error."""
    with tempfile.NamedTemporaryFile("r", encoding="utf-8") as errors:
        child = WARM.Process(target=_carry_out, args=(program, str(folder), dict(environment), errors.name))
        child.start()
        child.join()
        return subprocess.CompletedProcess([program], child.exitcode or 0, stderr=errors.read())


def _carry_out(program: str, folder: str, environment: dict[str, str], errors: str) -> None:
    """Run a program in this child, with standard error in a file and without standard output."""
    for place, stream in ((errors, 2), (os.devnull, 1)):
        os.dup2(os.open(place, os.O_WRONLY), stream)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.path.insert(0, "")
    warnings.simplefilter("error")
    exec(compile(program, "<program>", "exec"), {"__name__": "__main__"})
