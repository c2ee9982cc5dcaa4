"""Whether the methods of a plugin's class can be called as their kind's are, found when it is loaded."""

import inspect
from collections.abc import Callable
from typing import Any

from guideplug.config import Strategy
from guideplug.errors import PluginError

__all__ = ["check_signatures"]


def check_signatures(cls: type[Strategy], kind: type[Strategy]) -> None:
    """Refuse a class with a method that cannot be called as the abstract class of its kind says.

    Raises:
        PluginError: the class, the method, how it is called and how it would have to be.
    """
    for name in dir(kind):
        declared, defined = (inspect.getattr_static(one, name) for one in (kind, cls))
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
    """Whether a method takes what the declared one takes: all of it, and no more than that must be given."""
    parameters = list(inspect.signature(declared).parameters.values())
    named = [one for one in parameters if one.kind is inspect.Parameter.KEYWORD_ONLY]
    placed = [one for one in parameters if one not in named]
    for given in (parameters, [one for one in parameters if one.default is inspect.Parameter.empty]):
        try:
            inspect.signature(method).bind(
                *[None for one in placed if one in given], **{one.name: None for one in named if one in given}
            )
        except TypeError:
            return False
    return True


def _arguments(method: Callable[..., Any]) -> str:
    """The arguments of a method without itself and without types, as in ``(base, models)``."""
    parameters = list(inspect.signature(method).parameters.values())[1:]
    plain = [one.replace(annotation=inspect.Parameter.empty) for one in parameters]
    return str(inspect.Signature(plain))
