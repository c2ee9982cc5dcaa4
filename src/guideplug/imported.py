"""Networks that the user's own code builds, named by module and function: ``python("mypkg:build")``.

As a network (``--denoiser``) it is an architecture to be trained, or whose weights a checkpoint holds; as a recipe
(``--model main=...``) it is a denoiser that is ready, with the weights that the function gave it. The function is
called with the task and returns a `guideplug.Leaf`, for instance by `guideplug.wrap`. It is code, and runs as such.
"""

import importlib
import importlib.util
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, final

from attrs import frozen
from torch import nn

from guideplug.config import option
from guideplug.denoise import Leaf
from guideplug.digest import module_digest
from guideplug.errors import RecipeError
from guideplug.recipe import Recipe, Workshop
from guideplug.task import Network, Task, seeded_build
from guideplug.tensors import tensors_digest

__all__ = ["ImportedDenoiser", "ImportedNetwork"]

HELP = "the function that builds the denoiser, as module:function or FILE.py:function; it is code and runs as such"


def _located(text: str) -> str:
    """The text with the path of a file made absolute."""
    place, colon, name = text.rpartition(":")
    return f"{Path(place).absolute()}:{name}" if colon and place.endswith(".py") else text


@final
@frozen
class ImportedNetwork(Network):
    """An architecture that your own code builds."""

    name = "python"
    builder: str = option(help=HELP, converter=_located)

    def __attrs_post_init__(self) -> None:
        place, _, function = self.builder.rpartition(":")
        if not place or not function.isidentifier():
            raise ValueError(f"builder is {self.builder!r}: write module:function or FILE.py:function")

    def build(self, task: Task) -> Leaf:
        """What the function returns for the task.

        Raises:
            RecipeError: it cannot be imported, is no function, raises, or returns something else than a denoiser of
                the task's data.
        """
        module, function = _module(self.builder), self.builder.rpartition(":")[2]
        build = getattr(module, function, None)
        if not callable(build):
            raise RecipeError(f"{_called(self.builder)}: {module.__name__} has no function {function!r}")
        try:
            built = build(task)
        except Exception as error:
            raise RecipeError(f"{_called(self.builder)} raised {_reason(error)}") from error
        if not isinstance(built, Leaf):
            raise RecipeError(
                f"{_called(self.builder)} returned a {type(built).__name__}: return a denoiser, as "
                "guideplug.wrap(network, shape, predicts=...) makes from any network"
            )
        if built.space.shape != task.space.shape:
            raise RecipeError(
                f"{_called(self.builder)} returned a denoiser of shape {built.space.shape}, and task {task.name!r} has "
                f"samples of shape {task.space.shape}"
            )
        return built

    def content(self) -> str:
        """The hash of the source that the function lies in: its file, or its whole top-level package."""
        name = _module(self.builder).__name__
        return module_digest(sys.modules[name.partition(".")[0]])


@final
@frozen
class ImportedDenoiser(Recipe):
    """A denoiser that your own code builds, with its weights."""

    name = "python"
    stored = False
    builder: str = option(help=HELP, converter=_located)
    task: Task = option(help="the data that the denoiser is for")

    def __attrs_post_init__(self) -> None:
        _ = self.denoiser

    @property
    def denoiser(self) -> ImportedNetwork:
        """What builds it."""
        return ImportedNetwork(self.builder)

    def build(self) -> Leaf:
        return seeded_build(self.denoiser, self.task, 0)

    def make(self, module: nn.Module, workshop: Workshop) -> Mapping[str, Any]:
        """It has its weights already."""
        return {"path": self.builder}

    def content(self) -> str:
        """The hash of its code and of its weights."""
        return tensors_digest(self.build().state_dict(), self.denoiser.content())

    def check(self) -> None:
        """Build it once."""
        self.build()


def _module(builder: str) -> ModuleType:
    """The module that holds the function: installed, in the current folder, or a file."""
    place = builder.rpartition(":")[0]
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        return _from_file(Path(place)) if place.endswith(".py") else importlib.import_module(place)
    except Exception as error:
        raise RecipeError(f"{_called(builder)} cannot be imported: {_reason(error)}") from error
    finally:
        sys.path.remove(here)


def _from_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise FileNotFoundError("no such file")
    name = f"guideplug_local_{path.stem}"
    known = sys.modules.get(name)
    if known is not None and known.__file__ == str(path):
        return known
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None  # by the suffix .py
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _called(builder: str) -> str:
    return f'python("{builder}")'


def _reason(error: Exception) -> str:
    """What was raised, and the line of the user's code that it came from."""
    said = " ".join(f"{type(error).__name__}: {error}".split())
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename) != Path(__file__)]
    own = [frame for frame in frames if "importlib" not in frame.filename]
    return f"{said}, in {Path(own[-1].filename).name}, line {own[-1].lineno}" if own else said
