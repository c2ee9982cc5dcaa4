"""Check at loading that the methods of a plugin's class accept the calls of their kind."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

from guideplug.config import Strategy
from guideplug.errors import PluginError

__all__ = ["check_signatures"]


@functools.lru_cache(maxsize=1024)  # every registry of a process asks the same of the same classes
def check_signatures(cls: type[Strategy], kind: type[Strategy]) -> None:
    """Refuse a class with a method that does not accept the calls of the abstract class of its kind.

    Raises:
        PluginError: the class, the method, its signature and the required one.
    """
    for name in dir(kind):
        declared, defined = (inspect.getattr_static(owner, name) for owner in (kind, cls))
        if name.startswith("_") or defined is declared:
            continue
        where = f"{cls.__qualname__}.{name}"
        if isinstance(declared, property) and inspect.isfunction(defined):
            raise PluginError(f"{where} is a method, and it is read as a value: put @property above it")
        if not inspect.isfunction(declared):
            continue
        if isinstance(defined, property):
            raise PluginError(f"{where} is a property, and it is called: take @property away")
        if inspect.isfunction(defined) and not _takes(defined, declared):
            raise PluginError(
                f"{where}{_arguments(defined)} is called as {name}{_arguments(declared)}: let it take that"
            )


def _takes(method: Callable[..., Any], declared: Callable[..., Any]) -> bool:
    """Whether a method accepts the declared arguments, with and without the optional ones."""
    parameters = list(inspect.signature(declared).parameters.values())
    named = [parameter for parameter in parameters if parameter.kind is inspect.Parameter.KEYWORD_ONLY]
    placed = [parameter for parameter in parameters if parameter not in named]
    for passed in (parameters, [parameter for parameter in parameters if parameter.default is inspect.Parameter.empty]):
        try:
            inspect.signature(method).bind(
                *[None for parameter in placed if parameter in passed],
                **{parameter.name: None for parameter in named if parameter in passed},
            )
        except TypeError:
            return False
    return True


def _arguments(method: Callable[..., Any]) -> str:
    """The arguments of a method without itself and without types, as in ``(base, models)``."""
    parameters = list(inspect.signature(method).parameters.values())[1:]
    plain = [parameter.replace(annotation=inspect.Parameter.empty) for parameter in parameters]
    return str(inspect.Signature(plain))
