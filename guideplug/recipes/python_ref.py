"""Networks built by the user's own code, named by module and function: ``python("mypkg:build")``.

As a network (``--denoiser``) it is an architecture, to be trained or filled from a checkpoint; as a recipe
(``--model main=...``) it is a finished denoiser with the weights set by the function. The function is called with the
task, or another `guideplug.Domain`, and returns a new `guideplug.Leaf` per call, for instance from `guideplug.wrap`. It
runs as code.
"""

import functools
import importlib
import sys
import traceback
import weakref
from collections.abc import Callable, Hashable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, cast, final

from attrs import field, frozen
from torch import nn

from guideplug.config import option
from guideplug.denoise import Domain, Leaf, NoiseDomain
from guideplug.denoise.domain import DEFAULT_SAMPLER
from guideplug.errors import GuideplugError, PluginError, RecipeError, TrustError
from guideplug.files import modules
from guideplug.files.code import Code, is_installed
from guideplug.files.function_name import FUNCTION, absolute
from guideplug.files.import_guard import ImportGuard
from guideplug.files.modules import code_of
from guideplug.files.opened import code_of_file, code_of_module, modules_at
from guideplug.files.reading import file_digest
from guideplug.files.tensors import tensors_digest
from guideplug.files.trust import allow, module_file
from guideplug.recipe import Builder, Recipe
from guideplug.store.source import Reach, core_scope, scope_of, scope_of_code
from guideplug.task import Network, Task, seeded_build

__all__ = ["ImportedDenoiser", "ImportedNetwork", "PythonRef", "raised"]

HELP = "the function that builds the denoiser, as module:function or FILE.py:function; it is code and runs as such"

LOADERS = (__file__, modules.__file__)
"""Files whose lines say nothing of what is wrong in the user's code."""

_handed_out: "weakref.WeakSet[nn.Parameter]" = weakref.WeakSet()
"""The parameters of denoisers returned by builders: roles must not share any."""


@final
@frozen
class PythonRef:
    """A function of the user's own code, named ``module:function`` or ``FILE.py:function``. It runs as code.

    Args:
        place: its name; the path of a file may be relative to the current folder.
        who: the beginning of messages, such as ``python("mypkg:build")``.
    """

    place: str = field(converter=absolute)
    who: str = field(default="", eq=False)

    @staticmethod
    def checked(text: str, name: str) -> str:
        """The text with the path of a file made absolute.

        Raises:
            ValueError: the text is not of this form; ``name`` is its option, for the message.
        """
        if not FUNCTION.fullmatch(text):
            raise ValueError(f"{name} is {text!r}: write module:function or FILE.py:function")
        return absolute(text)

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
        function, module = self.place.rpartition(":")[2], self._module()
        code = code_of(module)
        if code is not None:
            return _digest(code, function)
        return "no source" if module.__file__ is None else _installed_digest(module, function)

    def code(self) -> Code | None:
        """The file of the function, with what it imports from beside it; None in an installed package.

        Raises:
            RecipeError: it cannot be read.
            TrustError: in a command, the user has neither named nor trusted it.
        """
        place, who = self.place.rpartition(":")[0], self.who or self.place
        try:
            if place.endswith(".py"):
                return code_of_file(Path(place), who, Path.cwd())
            folder, slash, name = place.rpartition("/")
            root = Path(folder) if slash else _folder_of(name)
            return None if root is None else code_of_module(name, root, who)
        except (OSError, ValueError) as error:
            reason = "no such file" if isinstance(error, FileNotFoundError) else error
            raise RecipeError(f"{self.who} cannot be imported: {type(error).__name__}: {reason}") from error

    def _module(self) -> ModuleType:
        """The module of the function: installed, in the current folder, or a file."""
        code = self.code()
        try:
            if code is not None:
                return _executed(code)
            name = self.place.rpartition(":")[0]
            file = module_file(name)
            allow(name if file is None else str(file), None if file is None else file_digest(file), self.who or name)
            return _imported(name)
        except TrustError:
            raise
        except (Exception, SystemExit) as error:
            raise RecipeError(f"{self.who} cannot be imported: {raised(error)}") from error


@final
@frozen
class ImportedNetwork(Network):
    """An architecture built by your own code."""

    name = "python"
    builder: str = option(help=HELP, converter=absolute)

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

    def sampler(self, domain: Domain) -> str:
        """That of the function's denoiser if it names one, as flows do, and else the domain's.

        The domain's as well where nothing can be built: `build` raises where the network is needed.
        """
        try:
            own = _sampler(self, cast(Hashable, domain), self.content())
        except (GuideplugError, ValueError):
            own = DEFAULT_SAMPLER
        return domain.sampler() if own == DEFAULT_SAMPLER else own

    @property
    def _code(self) -> PythonRef:
        return PythonRef(self.builder, f'python("{self.builder}")')


@final
@frozen
class ImportedDenoiser(Recipe):
    """A denoiser built by your own code, with its weights."""

    name = "python"
    stored = False
    builder: str = option(help=HELP, converter=absolute)
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
        return _content(self, self.denoiser.content())

    def check(self) -> None:
        """Build it twice, and check that both networks are equal."""
        if _weights_digest(self) != _weights_digest(self):
            raise RecipeError(
                f'python("{self.builder}") returned other weights at its second call: load them from a file, or draw '
                "them from torch's generator, which is seeded here"
            )


@functools.lru_cache(maxsize=64)
def _sampler(network: ImportedNetwork, domain: Hashable, code: str) -> str:
    return seeded_build(network, cast(Domain, domain), 0).sampler()


@functools.cache
def _content(recipe: ImportedDenoiser, code: str) -> str:
    return f"{code} {_weights_digest(recipe)}"


def _weights_digest(recipe: ImportedDenoiser) -> str:
    """The hash of all tensors of a denoiser, including buffers that are not saved in checkpoints."""
    built = recipe.build()
    return tensors_digest({**dict(built.named_parameters()), **dict(built.named_buffers())}, repr(built))


@functools.lru_cache(maxsize=64)
def _digest(code: Code, function: str) -> str:
    scope, reach = scope_of_code(code, code.source.path.stem), Reach(core_scope())
    reach.start(scope, code.source.path, function)
    return reach.scopes[scope].digest


@functools.cache
def _installed_digest(module: ModuleType, function: str) -> str:
    at = scope_of(module)
    if at is None:
        return "no source"
    reach = Reach(core_scope())
    reach.start(*at, function)
    return reach.scopes[at[0]].digest


def _folder_of(name: str) -> Path | None:
    """The folder of a dotted name's top module if it is the user's own; None if it is installed, or nowhere."""
    file = module_file(name)
    if file is None:
        return None
    root = file.parents[name.count(".") + (file.name == "__init__.py")]
    return None if is_installed(name.partition(".")[0], root) else root


def _executed(code: Code) -> ModuleType:
    """The module of the user's own code, executed at the first call, and at each after a refusal."""
    loaded = modules_at(code, "guideplug_network")
    if loaded.executed:
        return loaded.main()
    try:
        with ImportGuard().watch():
            return loaded.main()
    except PluginError:
        loaded.forget()
        raise


def _imported(name: str) -> ModuleType:
    if name in sys.modules:
        return sys.modules[name]
    try:
        with ImportGuard().watch(name):
            return importlib.import_module(name)
    except PluginError:  # it is refused at each try, not at the first alone
        sys.modules.pop(name, None)
        raise


def raised(error: BaseException) -> str:
    """The text of an exception, with its line in the user's code."""
    message = " ".join(f"{type(error).__name__}: {error}".split())
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename not in LOADERS and "importlib" not in frame.filename]
    return f"{message}, in {Path(own[-1].filename).name}, line {own[-1].lineno}" if own else message
