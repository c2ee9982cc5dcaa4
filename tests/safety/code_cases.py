"""Every way in which a command is given code, and what may have happened to the code's file: cases of one law.

The law: what a command executes is what lay in the files when it began. Each version of a file notes itself where
``RAN`` points to as it is executed; versions that no file holds any more must not show up there.
"""

import itertools
import os
import py_compile
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs

from guideplug.registry.registry import Registry

NOTES = 'import os as _os\nwith open(_os.environ["RAN"], "a") as _f:\n    _f.write("{version}\\n")\n'
CODE = """
import torch
from guideplug import Leaf, hook

class Mine(Leaf):
    def __init__(self, space):
        super().__init__(space)
        self.weight = torch.nn.Parameter(torch.zeros(()))
    def denoise(self, x, sigma, condition):
        return x / (1 + sigma.view(-1, *[1] * (x.ndim - 1)) ** 2) + self.weight

def f(*arguments):
    if not torch.is_tensor(arguments[0]):
        return Mine(arguments[0].space)
    if arguments[0].dtype == torch.uint8 and arguments[0].ndim == 3:
        return arguments[0]
    return arguments[0].flatten(1)[:, :1].float() if len(arguments) == 1 else -arguments[0].flatten(1).square().sum(1)

@hook
def guideplug_presets():
    return {"sampler": {"mine-steps": "euler(num_steps=2)"}}
"""


def text(version: str, neighbour: str = "") -> str:
    """The code of a version; ``neighbour`` is a module beside that it imports."""
    return NOTES.format(version=version) + (f"import {neighbour}\n" if neighbour else "") + CODE


# What may have happened to a file


def _replace(file: Path, content: str) -> None:
    before = file.stat()
    file.write_text(content)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def _stale(file: Path, content: str) -> None:
    py_compile.compile(str(file), doraise=True)
    _replace(file, content)


def _unchecked(file: Path, content: str) -> None:
    py_compile.compile(str(file), doraise=True, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
    file.write_text(content)


def _beside(file: Path, content: str) -> None:
    py_compile.compile(str(file), f"{file}c", doraise=True)
    file.write_text(content)


def _alone(file: Path, content: str) -> None:
    py_compile.compile(str(file), f"{file}c", doraise=True)
    py_compile.compile(str(file), doraise=True)
    file.unlink()


def _linked(file: Path, content: str) -> None:
    elsewhere = file.parent / "elsewhere.txt"
    elsewhere.write_text(content)
    file.unlink()
    file.symlink_to(elsewhere)


CHANGES: dict[str, Callable[[Path, str], None]] = {
    "a stale pyc": _stale,
    "an unchecked pyc": _unchecked,
    "a pyc beside": _beside,
    "the same size and time": _replace,
    "a pyc alone": _alone,
    "a link": _linked,
}


# How code is named


def options() -> Iterator[tuple[str, str, str]]:
    """The options of all strategies that name functions: kind, strategy, option."""
    for plugin in Registry.installed().plugins:
        for offer in plugin.offers:
            if isinstance(offer.what, type):
                for field in attrs.fields(offer.what):
                    if "module:function or FILE.py:function" in field.metadata.get("help", ""):
                        yield offer.kind, offer.name, field.name


LINES: dict[tuple[str, str, str], tuple[str, ...]] = {
    ("recipe", "python", "builder"): ("explain", "autoguidance", "--model", "main=python(builder='{}')"),
    ("denoiser", "python", "builder"): ("explain", "autoguidance", "--denoiser", "python(builder='{}')"),
    ("guider", "classifier", "function"): ("explain", "classifier(function='{}')"),
    ("guider", "posterior", "operator"): ("explain", "posterior(operator='{}', measurement=[0.2])"),
    ("features", "python", "function"): (
        "evaluate",
        "images.npy",
        "--features",
        "python(function='{}')",
        "--reference",
        "images.npy",
    ),
    ("task", "images", "augment"): ("explain", "autoguidance", "--task", "images(images.npz, augment='{}')"),
    ("recipe", "fit", "reward"): (
        "run",
        "--guider",
        "learned(guider=autoguidance)",
        "--model",
        "weights=fit(guider=autoguidance, reward='{}')",
        "--dry-run",
    ),
}
"""A command for each option that names a function, which calls it."""


@attrs.frozen
class Case:
    """A command that is given code; ``config`` and ``project`` are the texts of ``c.toml`` and ``guideplug.toml``."""

    name: str
    line: tuple[str, ...]
    config: str = ""
    project: str = ""


def cases() -> Iterator[Case]:
    """A case for each way to name a file ``mine.py``."""
    for plugin in ("explain autoguidance", "plugins list", "plugins show mine-steps"):
        yield Case(f"{plugin} --plugin", (*plugin.split(), "--plugin", "mine.py"))
    yield Case("plugins in a configuration", ("run", "c.toml", "--trust", "--dry-run"), 'plugins = ["mine.py"]\n')
    yield Case("a project", ("explain", "autoguidance", "--trust"), project='plugins = ["mine.py"]\n')
    for kind, strategy, option in options():
        line = LINES[kind, strategy, option]
        for place in ("./mine.py:f", "mine:f", "{cwd}/mine.py:f"):
            named = tuple(part.replace("{}", place) for part in line)
            yield Case(f"{kind} {strategy}.{option} = {place}", named)


def every() -> Iterator[tuple[Case, str, str]]:
    """Each case, what has happened, and to which file."""
    yield from itertools.product(cases(), CHANGES, ("mine.py", "neighbour.py"))


def versions_there(folder: Path) -> set[str]:
    """The versions that files of code in a folder hold."""
    found = set()
    for path in folder.rglob("*"):
        if path.suffix in (".py", ".txt") and path.is_file():
            found |= set(re.findall(r'write\("(\w+)\\n"\)', path.read_text()))
    return found


def prepare(folder: Path, change: str, target: str) -> set[str]:
    """Write the files of a case, and change one; the versions that are left."""
    (folder / "mine.py").write_text(text("old_mine", "neighbour"))
    (folder / "neighbour.py").write_text(text("old_neighbour"))
    CHANGES[change](folder / target, (folder / target).read_text().replace("old_", "new_"))
    return versions_there(folder)


def ran(folder: Path) -> list[str]:
    """The versions that were executed."""
    return (folder / "ran").read_text().split() if (folder / "ran").exists() else []
