"""What classes that were written for plugin API 1 still get: their signatures, and a warning.

In API 1 a weight was asked ``forward(condition, sigma, toward)`` and ``zero_at(sigma, toward)``, a schedule
``at(sigma, space)``; in API 2 each takes one `WeightInput`. A denoiser was not told the ``step`` of a sampler. Such
classes are adapted where they are defined, and noted, so that the registry can say so of a plugin that claims to be
written for 2.
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
"""Where a module keeps them: as long as it is there itself."""

_noted: dict[str, None] = {}
"""The names of modules that have kept some."""


def notes(module: str) -> list[str]:
    """What is of API 1 in the classes of a module, and of those in it where it is a package."""
    inside = [name for name in _noted if name in sys.modules and f"{name}.".startswith(f"{module}.")]
    return [text for name in inside for text in vars(sys.modules[name]).get(_NOTES, ())]


def note(cls: type, method: FunctionType, text: str) -> None:
    """Note a method that is of API 1 where its class is, and warn where it is written."""
    what, code = f"{cls.__qualname__}.{method.__name__} {text}", method.__code__
    if module := sys.modules.get(cls.__module__):
        vars(module).setdefault(_NOTES, []).append(what)
        _noted[cls.__module__] = None
    warnings.warn_explicit(f"plugin API 1: {what}", DeprecationWarning, code.co_filename, code.co_firstlineno)


def adapt_weight(cls: type) -> None:
    """Let a subclass of `Weight` that is written for API 1 be asked as in API 2.

    Raises:
        TypeError: a method takes neither.
    """
    _adapt(cls, "forward", ("condition", "sigma", "toward"), lambda at: (at.condition, at.sigma, at.toward))
    _adapt(cls, "zero_at", ("sigma", "toward"), lambda at: (at.sigma, at.toward))


def adapt_schedule(cls: type) -> None:
    """Let a weight schedule that is written for API 1 be asked as in API 2.

    Raises:
        TypeError: its method takes neither.
    """
    _adapt(cls, "at", ("sigma", "space"), lambda at: (at.sigma, at.space))


def adapt_denoiser(cls: type) -> None:
    """Let a denoiser with a ``forward`` of its own that knows no ``step`` be asked without it."""
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
    """Let a method that takes the arguments ``before`` take one value."""
    method = own(cls, name)
    if method is None:
        return
    first = [*inspect.signature(method).parameters, ""][1]  # of its own name it is what API 1 gave, and not all of it
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
    """A method that a class itself defines."""
    method = cls.__dict__.get(name)
    return method if inspect.isfunction(method) and not getattr(method, "__isabstractmethod__", False) else None


def put(cls: type, name: str, adapter: Callable[..., Any]) -> None:
    """Put an adapter in a method's place, with a signature of its own: a class that is made twice is adapted once."""
    functools.update_wrapper(adapter, cls.__dict__[name])
    del adapter.__wrapped__  # type: ignore[attr-defined]
    setattr(cls, name, adapter)


def _takes(method: Callable[..., Any], count: int) -> bool:
    """Whether a method can be called with so many arguments by place, itself apart."""
    try:
        inspect.signature(method).bind(None, *[None] * count)
    except TypeError:
        return False
    return True
