"""Installed strategies by their expressions, in Python."""

from functools import cache
from typing import TypeVar

from guideplug.config import Reader, Strategy
from guideplug.registry.registry import Registry

__all__ = ["strategy"]

S = TypeVar("S", bound=Strategy)


def strategy(expression: str, kind: type[S]) -> S:
    """The strategy of an expression, out of what is installed: ``strategy("cfg(weight=3)", Guider)``.

    Args:
        expression: as on the command line.
        kind: the abstract class of its kind, such as `guideplug.Guider`.

    Raises:
        UsageError: there is no such strategy, or an option is refused.
    """
    instance = _installed().expression(expression, kind)
    assert isinstance(instance, kind)
    return instance


@cache
def _installed() -> Reader:
    """What was installed when first asked: plugins ask for the defaults of their options, often."""
    return Reader(Registry.installed())
