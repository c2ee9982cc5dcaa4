"""Networks built by the user's own code, named by module and function: ``python("mypkg:build")``.

As a network (``--denoiser``) it is an architecture, to be trained or filled from a checkpoint; as a recipe
(``--model main=...``) it is a finished denoiser with the weights set by the function. The function is called with the
task, or another `guideplug.Domain`, and returns a new `guideplug.Leaf` per call, for instance from `guideplug.wrap`. It
runs as code.
"""

import contextlib
import functools
import hashlib
import importlib
import importlib.util
import sys
import traceback
import weakref
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, final

from attrs import field, frozen
from torch import nn

from guideplug.config import option
from guideplug.denoise import Domain, Leaf, NoiseDomain
from guideplug.errors import PluginError, RecipeError
from guideplug.files.import_guard import ImportGuard
from guideplug.files.tensors import tensors_digest
from guideplug.files.trust import FUNCTION, allow
from guideplug.recipe import Builder, Recipe
from guideplug.store.source import Reach, core_scope, own_scope
from guideplug.task import Network, Task, seeded_build

__all__ = ["ImportedDenoiser", "ImportedNetwork", "PythonRef", "raised"]

HELP = "the function that builds the denoiser, as module:function or FILE.py:function; it is code and runs as such"

_handed_out: "weakref.WeakSet[nn.Parameter]" = weakref.WeakSet()
"""The parameters of denoisers returned by builders: roles must not share any."""


def _located(text: str) -> str:
    """The text with the path of a file made absolute."""
    place, colon, name = text.rpartition(":")
    return f"{Path(place).absolute()}:{name}" if colon and place.endswith(".py") else text


@final
@frozen
class PythonRef:
    """A function of the user's own code, named ``module:function`` or ``FILE.py:function``. It runs as code.

    Args:
        place: its name; the path of a file may be relative to the current folder.
        who: the beginning of messages, such as ``python("mypkg:build")``.
    """

    place: str = field(converter=_located)
    who: str = field(default="", eq=False)

    @staticmethod
    def checked(text: str, name: str) -> str:
        """The text with the path of a file made absolute.

        Raises:
            ValueError: the text is not of this form; ``name`` is its option, for the message.
        """
        if not FUNCTION.fullmatch(text):
            raise ValueError(f"{name} is {text!r}: write module:function or FILE.py:function")
        return _located(text)

    def load(self) -> Callable[..., Any]:
        """The function.

        Raises:
            RecipeError: it cannot be imported, or is not a function.
            TrustError: in a command, the user has neither named nor trusted its file.
        """
        function, module = self.place.rpartition(":")[2], self._module()
        attribute = getattr(module, function, None)
        if not callable(attribute):
            raise RecipeError(f"{self.who}: {module.__name__} ({module.__file__}) has no function {function!r}")
        loaded: Callable[..., Any] = attribute
        return loaded

    def digest(self) -> str:
        """The hash of the function, with the code it reaches in its file and in imported files beside it."""
        place, _, function = self.place.rpartition(":")
        file = self._module().__file__
        return "no source" if file is None else _source_digest(Path(file), place, function)

    def _module(self) -> ModuleType:
        """The module of the function: installed, in the current folder, or a file."""
        place = self.place.rpartition(":")[0]
        allow(place, self.who or self.place)
        try:
            with _current_folder():
                return _from_file(Path(place)) if place.endswith(".py") else _imported(place)
        except (Exception, SystemExit) as error:
            raise RecipeError(f"{self.who} cannot be imported: {raised(error)}") from error


@final
@frozen
class ImportedNetwork(Network):
    """An architecture built by your own code."""

    name = "python"
    builder: str = option(help=HELP, converter=_located)

    def __attrs_post_init__(self) -> None:
        if not FUNCTION.fullmatch(self.builder):
            raise ValueError(f"builder is {self.builder!r}: write module:function or FILE.py:function")

    def build(self, domain: Domain) -> Leaf:
        """The function's denoiser for the domain.

        Raises:
            RecipeError: the function cannot be imported, is not a function, raises, or returns something else than a
                new denoiser of the domain's samples.
        """
        who, build = self._code.who, self._code.load()
        try:
            with _current_folder():
                built = build(domain)
        except (Exception, SystemExit) as error:
            raise RecipeError(f"{who} raised {raised(error)}") from error
        if not isinstance(built, Leaf):
            raise RecipeError(
                f"{who} returned a {type(built).__name__}: return a denoiser, as guideplug.wrap(network, shape, "
                "predicts=...) makes from any network"
            )
        if built.space.shape != domain.space.shape:
            of = f"task {domain.name!r}" if isinstance(domain, Task) else "the domain"
            raise RecipeError(
                f"{who} returned a denoiser of shape {built.space.shape}, and {of} has samples of shape "
                f"{domain.space.shape}"
            )
        parameters = list(built.parameters())
        if any(parameter in _handed_out for parameter in parameters):
            raise RecipeError(
                f"{who} returned weights that it had returned before, so two roles would be one network: build a new "
                "one at each call"
            )
        _handed_out.update(parameters)
        return built

    def content(self) -> str:
        """The hash of the function, with the code it reaches in its file and in imported files beside it."""
        return self._code.digest()

    @property
    def _code(self) -> PythonRef:
        return PythonRef(self.builder, f'python("{self.builder}")')


@final
@frozen
class ImportedDenoiser(Recipe):
    """A denoiser built by your own code, with its weights."""

    name = "python"
    stored = False
    builder: str = option(help=HELP, converter=_located)
    task: Task | NoiseDomain = option(help="what the denoiser is for: a task, or in Python a domain without data")

    def __attrs_post_init__(self) -> None:
        _ = self.denoiser

    @property
    def denoiser(self) -> ImportedNetwork:
        """The architecture of the same function."""
        return ImportedNetwork(self.builder)

    def build(self) -> Leaf:
        return seeded_build(self.denoiser, self.task, 0)

    def make(self, module: nn.Module, builder: Builder) -> Mapping[str, Any]:
        """Nothing to do: the function has set the weights."""
        return {"path": self.builder}

    def content(self) -> str:
        """The hash of its code and of its weights."""
        return _content(self)

    def check(self) -> None:
        """Build it twice, and check that both networks are equal."""
        if _weights_digest(self) != _weights_digest(self):
            raise RecipeError(
                f'python("{self.builder}") returned other weights at its second call: load them from a file, or draw '
                "them from torch's generator, which is seeded here"
            )


@functools.cache
def _content(recipe: ImportedDenoiser) -> str:
    return f"{recipe.denoiser.content()} {_weights_digest(recipe)}"


def _weights_digest(recipe: ImportedDenoiser) -> str:
    """The hash of all tensors of a denoiser, including buffers that are not saved in checkpoints."""
    built = recipe.build()
    return tensors_digest({**dict(built.named_parameters()), **dict(built.named_buffers())}, repr(built))


@functools.cache
def _source_digest(file: Path, place: str, function: str) -> str:
    # The root is the folder of the top-level package of a dotted name.
    root = file.parents[0 if place.endswith(".py") else place.count(".") + (file.name == "__init__.py")]
    scope, reach = own_scope(file.stem, file, root), Reach(core_scope())
    reach.start(scope, file, function)
    return reach.scopes[scope].digest


@contextlib.contextmanager
def _current_folder() -> Iterator[None]:
    """A context in which modules are importable from the current folder."""
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):  # the import may have changed the path
            sys.path.remove(here)


def _imported(name: str) -> ModuleType:
    if name in sys.modules:
        return sys.modules[name]
    try:
        with ImportGuard().watch(name):
            return importlib.import_module(name)
    except PluginError:  # it is refused at each try, not at the first alone
        sys.modules.pop(name, None)
        raise


def _from_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise FileNotFoundError("no such file")
    name = f"guideplug_network_{hashlib.sha256(str(path).encode()).hexdigest()[:12]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None  # by the suffix .py
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        with ImportGuard().watch():
            spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def raised(error: BaseException) -> str:
    """The text of an exception, with its line in the user's code."""
    message = " ".join(f"{type(error).__name__}: {error}".split())
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename) != Path(__file__)]
    own = [frame for frame in frames if "importlib" not in frame.filename]
    return f"{message}, in {Path(own[-1].filename).name}, line {own[-1].lineno}" if own else message
