"""What the names in modules and classes stand for, where a plugin could replace one for all other code.

Looked at are guideplug, plugins that were loaded before, torch, numpy, and modules of Python that all others use.
"""

import builtins
import contextlib
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import chain
from types import ModuleType
from typing import Any, TypeAlias

__all__ = ["ModuleNames"]

OTHERS = (
    "builtins", "copy", "functools", "hashlib", "importlib", "io", "itertools", "json", "math", "operator", "os",
    "os.path", "pathlib", "pickle", "random", "secrets", "shutil", "statistics", "struct", "tempfile", "time",
    "numpy", "numpy.fft", "numpy.linalg", "numpy.random", "safetensors", "safetensors.torch",
    "torch", "torch._C._nn", "torch._tensor", "torch.autograd", "torch.fft", "torch.func", "torch.linalg",
    "torch.nn", "torch.nn.functional", "torch.nn.init", "torch.nn.modules.module", "torch.optim", "torch.random",
    "torch.special",
)  # fmt: skip
UNWATCHED = {
    "__abstractmethods__", "__annotations__", "__attrs_types_resolved__", "__doc__", "__signature__",
    "__warningregistry__", "_abc_impl",
}  # fmt: skip
"""Names that Python itself and attrs set when a module or a class is used."""
OFFERS = ("torch", "torch.nn", "torch.optim", "torch.autograd")
"""Modules of torch whose classes are defined elsewhere in it."""
LOCAL = ("guideplug_local_", "guideplug_network_")
"""Beginnings of the modules of local files, of which a second one of a name replaces the first."""
FIXED = 1 << 8
"""The flag of classes that cannot be changed."""
ABSENT: Any = object()


Change: TypeAlias = tuple[str, Callable[[], object]]
"""A name that stands for something else, and what puts it back."""


class _Owner:
    """A module or a class, and what its names stood for."""

    __slots__ = ("_before", "_owner", "now")

    def __init__(self, owner: Any) -> None:
        self._owner, self._before = owner, dict(vars(owner))
        self.now: Iterable[Any] = vars(owner).values()  # a view

    @property
    def values(self) -> Iterable[Any]:
        """What its names stood for."""
        return self._before.values()

    def changed(self) -> Iterator[Change]:
        """Each name that stands for something else."""
        owner, before = self._owner, self._before
        now, is_module = dict(vars(owner)), isinstance(owner, ModuleType)
        place = owner.__name__ if is_module else f"{owner.__module__}.{owner.__qualname__}"
        for key in {**before, **now}:
            old, new = before.get(key, ABSENT), now.get(key, ABSENT)
            if old is new or key in UNWATCHED:
                continue
            if old is ABSENT and is_module and (isinstance(new, ModuleType) or not _hides(place, key)):
                continue  # a submodule, or a name that nobody has looked up before
            if is_module and _is_of_library(place, key, new):
                continue
            yield f"{place}.{key}", self._restored(key, old)

    def anew(self) -> "_Owner":
        """The same module or class as it is now."""
        return _Owner(self._owner)

    def _restored(self, key: str, before: Any) -> Callable[[], object]:
        return lambda: delattr(self._owner, key) if before is ABSENT else setattr(self._owner, key, before)


class ModuleNames:
    """What all names stand for, from one look to the next."""

    def __init__(self) -> None:
        with contextlib.suppress(OSError):
            tempfile.gettempdir()  # Python looks it up once and keeps it: who happens to be first changes nothing
        self._owners: list[_Owner] = []
        self._modules: dict[str, ModuleType] = {}
        self._views: list[Iterable[Any]] = []
        self._values: list[Any] = []
        self._loaded = 0
        self._stale = False
        self.note()

    def note(self) -> None:
        """Take in the modules that are new since the last look."""
        if self._loaded == len(sys.modules):
            return
        self._loaded = len(sys.modules)
        own = [name for name in sys.modules.copy() if name.startswith("guideplug") and not name.startswith(LOCAL)]
        for name in (*own, *OTHERS):
            module = sys.modules.get(name)
            if isinstance(module, ModuleType) and name not in self._modules:
                self._modules[name] = module
                self._add(module)
                for value in vars(module).copy().values():
                    if isinstance(value, type) and _is_of(value, name):
                        self._add(value)

    def _add(self, value: Any) -> None:
        owner = _Owner(value)
        self._owners.append(owner)
        self._views.append(owner.now)
        self._values += owner.values

    def changed(self) -> Iterator[Change]:
        """Each name that stands for something else than at the last look."""
        for name, module in self._modules.items():
            if sys.modules.get(name) is not module:
                yield f"the module {name}", partial(sys.modules.__setitem__, name, module)
        self._stale = not _are(chain.from_iterable(self._views), self._values)
        if self._stale:
            for owner in self._owners:
                if not _are(owner.now, [*owner.values]):
                    yield from owner.changed()

    def settle(self) -> None:
        """Compare with what names stand for now from here on."""
        if not self._stale:
            return
        self._owners = [owner if _are(owner.now, [*owner.values]) else owner.anew() for owner in self._owners]
        self._values = [value for owner in self._owners for value in owner.values]


def _are(now: Iterable[Any], before: list[Any]) -> bool:
    """Whether values are the same ones; lists compare identities first."""
    try:
        return [*now] == before
    except Exception:  # a value that cannot be compared, and is no longer the same object
        return False


def _is_of_library(module: str, key: str, new: Any) -> bool:
    """Whether a library replaced a function by its own of the same name, as torch does once it compiles."""
    library, origin = module.partition(".")[0], str(getattr(new, "__module__", None)).partition(".")[0]
    return library == origin != "guideplug" and getattr(new, "__name__", "") == key


def _hides(module: str, key: str) -> bool:
    """Whether a new name in a module is one that code may have looked up elsewhere before."""
    return module.startswith("guideplug") or hasattr(builtins, key)


def _is_of(value: type, module: str) -> bool:
    """Whether a class in a module is defined there, or of torch offered there, and can be changed."""
    if value.__flags__ & FIXED:
        return False
    return value.__module__ == module or (module in OFFERS and value.__module__.startswith("torch."))
