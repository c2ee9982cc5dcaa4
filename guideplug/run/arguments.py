"""The arguments of a call from Python as the texts of a configuration, and as the record of the call."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from guideplug.config import Strategy, format_value, short, walk, write
from guideplug.errors import ConfigError
from guideplug.registry.registry import Registry

__all__ = ["call_text", "check_classes", "expression_of", "option_text"]


def expression_of(value: Any) -> Any:
    """A strategy as its expression with every option; a path as text; other values unchanged."""
    if isinstance(value, Strategy):
        return format_value(write(value))
    return str(value) if isinstance(value, Path) else value


def option_text(key: str, value: Any) -> str:
    """The value of a single option as its text."""
    if isinstance(value, str):
        return value
    try:
        return format_value(write(value))
    except (TypeError, ValueError) as error:
        raise ConfigError(f"sets[{key!r}] is {value!r}: {error}") from None


def check_classes(value: Any, registry: Registry) -> None:
    """Refuse a strategy whose expression names another class, which would be run in its place."""
    for strategy in walk(value, Strategy):
        offered = registry.find(strategy.kind, strategy.name)
        if offered is not type(strategy):
            raise ConfigError(
                f"{strategy.kind} {short(strategy)} is of the class {type(strategy).__module__}."
                f"{type(strategy).__qualname__}, and the plugins of this run have another of its name: give the "
                "expression as a text, and code of your own by plugins=[FILE]"
            )


def call_text(function: str, values: Mapping[str, Any]) -> str:
    """A call of a public function as Python source, for the record."""
    written = {key: value for key, value in values.items() if value is not None and value != {}}
    return f"guideplug.{function}({', '.join(f'{key}={expression_of(value)!r}' for key, value in written.items())})"
