"""Modules made of `guideplug.files.code.Code`: its bytes compiled and executed, whatever the disk holds by now.

Each piece of code has modules of its own, kept under its name in ``sys.modules`` and not under theirs: two folders
with a ``model.py`` each do not meet. So an import statement in such a module asks its own code first
(``__builtins__["__import__"]``), also when it is executed late, within a function. ``importlib.import_module`` of a
file beside is refused: it would read the file anew.
"""

import builtins
import functools
import importlib.abc
import importlib.machinery
import importlib.util
import linecache
import sys
import threading
from collections.abc import Mapping, Sequence
from types import FrameType, ModuleType
from typing import Any

from guideplug.files.code import Code

__all__ = ["Modules", "code_of"]


class Modules:
    """The modules of some code.

    Args:
        code: the sources.
        name: the name of the main module in ``sys.modules``; the others are beneath it.
    """

    def __init__(self, code: Code, name: str) -> None:
        self.code, self.name = code, name
        self._modules: dict[str, ModuleType] = {}
        self._lock = threading.RLock()

    def main(self) -> ModuleType:
        """The module of the file; executed at the first call.

        Raises:
            BaseException: whatever its code raises.
        """
        with self._lock:
            if self.code.main not in self._modules:
                for known in [one for one in sys.modules if one == self.name or one.startswith(f"{self.name}.")]:
                    del sys.modules[known]  # of an earlier version, which keeps its own
            return self._module(self.code.main)

    @property
    def executed(self) -> bool:
        """Whether the module of the file is there."""
        return self.code.main in self._modules

    def forget(self) -> None:
        """Execute everything anew at the next call."""
        with self._lock:
            for name in [one for one in sys.modules if one == self.name or one.startswith(f"{self.name}.")]:
                del sys.modules[name]
            self._modules.clear()

    def _module(self, name: str) -> ModuleType:
        """A module, and before it the packages that it lies in."""
        with self._lock:
            if name not in self._modules:
                package, _, last = name.rpartition(".")
                above = self._module(package) if package else None
                if name not in self._modules:  # its package has not imported it
                    self._execute(name)
                if above is not None:
                    setattr(above, last, self._modules[name])
            return self._modules[name]

    def _execute(self, name: str) -> None:
        known = self.name if name == self.code.main else f"{self.name}.{name}"
        module = self._modules[name] = sys.modules[known] = ModuleType(known)
        module.__package__ = known if self.code.is_package(name) else known.rpartition(".")[0]
        if self.code.is_package(name):
            module.__path__ = []
        if name not in self.code.sources:  # a folder without __init__.py
            return
        source = self.code.sources[name]
        file = str(source.path)
        module.__file__ = file
        module.__loader__ = loader = _Loader(self.code, name)
        module.__spec__ = importlib.machinery.ModuleSpec(known, loader, origin=file)
        vars(module)["__builtins__"] = {**vars(builtins), "__import__": functools.partial(self._import, name)}
        try:
            compiled = compile(source.content, file, "exec", dont_inherit=True)
            lines = importlib.util.decode_source(source.content).splitlines(keepends=True)
            linecache.cache[file] = (len(source.content), None, lines, file)
            exec(compiled, vars(module))
        except BaseException:
            del self._modules[name]
            sys.modules.pop(known, None)
            raise

    def _import(
        self,
        importer: str,
        name: str,
        globals: Mapping[str, object] | None = None,
        locals: Mapping[str, object] | None = None,
        fromlist: Sequence[str] = (),
        level: int = 0,
    ) -> ModuleType:
        """What an import statement in a module means: a file beside it, or else what it means anywhere."""
        if not level and not self.code.beside(name):
            _refuse_unread(self.code, name, *(f"{name}.{item}" for item in fromlist or ()))
            return builtins.__import__(name, globals, locals, fromlist or (), level)
        target = self.code.relative(importer, level, name) if level else name
        if target and not self.code.has(target):
            _refuse_compiled(self.code, target)
            raise ModuleNotFoundError(f"No module named {target!r} beside {self.code.source.path.name}", name=target)
        module = self._module(target) if target else ModuleType(self.name)
        for item in fromlist or ():
            inner = f"{target}.{item}" if target else item
            if not hasattr(module, item):
                if self.code.has(inner):
                    setattr(module, item, self._module(inner))
                else:
                    _refuse_compiled(self.code, inner)
        return module if fromlist else self._module(name.partition(".")[0])


def code_of(module: ModuleType | None) -> Code | None:
    """The code that a module was made of; None of a module that Python imported."""
    loader = getattr(module, "__loader__", None)
    return loader.code if isinstance(loader, _Loader) else None


def _refuse_compiled(code: Code, name: str) -> None:
    if (path := code.compiled(name)) is not None:
        raise ImportError(f"{path} is compiled, and what it does cannot be read: put its source there, or install it")


def _refuse_unread(code: Code, *names: str) -> None:
    """Refuse a file beside some code that none of its import statements names."""
    top = names[0].partition(".")[0]
    for name in () if top in sys.modules or not code.importable(top) else (top, *names):
        if (path := code.file(name)) is not None:
            raise ImportError(
                f"{path} is imported by a computed name, or was written after {code.source.path.name} was read: write "
                f"import {name}, and start anew"
            )
        _refuse_compiled(code, name)


class _Loader(importlib.abc.InspectLoader):
    """What `inspect` and `linecache` ask for the text of a module."""

    def __init__(self, code: Code, name: str) -> None:
        self.code, self.name = code, name

    def get_source(self, fullname: str) -> str:
        """The text of the executed bytes."""
        return importlib.util.decode_source(self.code.sources[self.name].content)


class _ByName(importlib.abc.MetaPathFinder):
    """Refuses `importlib.import_module` of a file beside the code that calls it."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> None:
        """Nothing, for whatever is not beside."""
        code = None if path is not None else _importing(sys._getframe(1))
        if code is None:
            return
        if code.beside(fullname):
            raise ImportError(f"{code.source.path.name} imports {fullname} by a computed name: write import {fullname}")
        _refuse_unread(code, fullname)


def _importing(frame: FrameType | None) -> Code | None:
    """The code that an import is executed in."""
    while frame is not None and "importlib" in frame.f_code.co_filename:
        frame = frame.f_back
    loader = None if frame is None else frame.f_globals.get("__loader__")
    return loader.code if isinstance(loader, _Loader) else None


sys.meta_path.insert(0, _ByName())
