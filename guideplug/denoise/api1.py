"""Support of classes written for plugin API 1: the old signatures, with a warning.

In API 1 a weight had ``forward(condition, sigma, toward)`` and ``zero_at(sigma, toward)``, a schedule
``at(sigma, space)``; in API 2 each takes one `WeightInput`. A denoiser's ``forward`` had no ``step``. Such classes are
adapted when they are defined, and recorded, so that the registry can report a plugin that declares API 2 but uses
API 1.
"""

import functools
import inspect
import sys
import warnings
from collections.abc import Callable
from types import FunctionType
from typing import Any

from guideplug.denoise.weight_input import WeightInput

__all__ = ["adapt_denoiser", "adapt_schedule", "adapt_weight", "note", "notes", "own", "put"]

_NOTES = "_guideplug_api_1"
"""The attribute of a module that holds its notes, for as long as the module exists."""

_noted: dict[str, None] = {}
"""The names of modules with notes."""


def notes(module: str) -> list[str]:
    """The uses of API 1 in the classes of a module, submodules of a package included."""
    inside = [name for name in _noted if name in sys.modules and f"{name}.".startswith(f"{module}.")]
    return [text for name in inside for text in vars(sys.modules[name]).get(_NOTES, ())]


def note(cls: type, method: FunctionType, text: str) -> None:
    """Record a method of API 1 in its class's module, and warn at its definition."""
    what, code = f"{cls.__qualname__}.{method.__name__} {text}", method.__code__
    if module := sys.modules.get(cls.__module__):
        vars(module).setdefault(_NOTES, []).append(what)
        _noted[cls.__module__] = None
    warnings.warn_explicit(f"plugin API 1: {what}", DeprecationWarning, code.co_filename, code.co_firstlineno)


def adapt_weight(cls: type) -> None:
    """Adapt a subclass of `Weight` written for API 1 to API 2.

    Raises:
        TypeError: a method has neither signature.
    """
    _adapt(cls, "forward", ("condition", "sigma", "toward"), lambda at: (at.condition, at.sigma, at.toward))
    _adapt(cls, "zero_at", ("sigma", "toward"), lambda at: (at.sigma, at.toward))


def adapt_schedule(cls: type) -> None:
    """Adapt a weight schedule written for API 1 to API 2.

    Raises:
        TypeError: its method has neither signature.
    """
    _adapt(cls, "at", ("sigma", "space"), lambda at: (at.sigma, at.space))


def adapt_denoiser(cls: type) -> None:
    """Adapt a denoiser with its own ``forward`` without ``step``: calls omit it."""
    forward = own(cls, "forward")
    if forward is None:
        return
    parameters = inspect.signature(forward).parameters.values()
    if any(one.name == "step" or one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters):
        return
    note(cls, forward, "takes no step: add the keyword step=None, and pass it on")

    def without_step(self: Any, *args: Any, step: object = None, **options: Any) -> Any:
        return forward(self, *args, **options)

    put(cls, "forward", without_step)


def _adapt(cls: type, name: str, before: tuple[str, ...], arguments: Callable[[WeightInput], tuple[Any, ...]]) -> None:
    """Adapt a method with the arguments ``before`` to take one value."""
    method = own(cls, name)
    if method is None:
        return
    first = [*inspect.signature(method).parameters, ""][1]  # a name of API 1 is one of its arguments, not the value
    if _takes(method, 1) and first not in before:
        return
    if not _takes(method, len(before)):
        raise TypeError(
            f"{cls.__qualname__}.{name}{inspect.signature(method)} cannot be asked: write {name}(self, at), which gets "
            "a guideplug.WeightInput"
        )
    note(cls, method, f"takes ({', '.join(before)}): write {name}(self, at), a guideplug.WeightInput")

    def of_one(self: Any, at: Any, *others: Any) -> Any:
        return method(self, *(arguments(at) if isinstance(at, WeightInput) else (at, *others)))

    put(cls, name, of_one)


def own(cls: type, name: str) -> FunctionType | None:
    """A method defined by a class itself, not inherited."""
    method = cls.__dict__.get(name)
    return method if inspect.isfunction(method) and not getattr(method, "__isabstractmethod__", False) else None


def put(cls: type, name: str, adapter: Callable[..., Any]) -> None:
    """Replace a method by an adapter with its own signature, so that a class that is created twice is adapted once."""
    functools.update_wrapper(adapter, cls.__dict__[name])
    del adapter.__wrapped__  # type: ignore[attr-defined]
    setattr(cls, name, adapter)


def _takes(method: Callable[..., Any], count: int) -> bool:
    """Whether a method takes ``count`` positional arguments besides ``self``."""
    try:
        inspect.signature(method).bind(None, *[None] * count)
    except TypeError:
        return False
    return True
